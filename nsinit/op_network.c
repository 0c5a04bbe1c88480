/* The network's turns, and the files that tell programs of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "companion.h"
#include "exit.h"
#include "mount.h"
#include "sys.h"

static int wish(struct run *run, enum companion_wish what)
{
	const struct sync_message message = { .type = SYNC_COMPANION, .number = what };

	return sync_send(run->sync_fd, &message) < 0 ? refuse(run, "sendmsg", "companion") : 0;
}

int op_start_companion(struct run *run, const struct plan_start_companion *op)
{
	(void)op;
	return wish(run, COMPANION_START);
}

int op_await_companion(struct run *run, const struct plan_await_companion *op)
{
	struct sync_message message;

	(void)op;
	if (wish(run, COMPANION_AWAIT) < 0)
		return -1;
	/* Whoever is gone wants nothing to go on. */
	if (sync_receive(run->sync_fd, &message, NULL) <= 0 || message.type != SYNC_RESUME)
		_exit(EXIT_OWN_FAILURE);
	return 0;
}

/* A read-only file with this content, by itself: a tmpfs that is taken away again lends it. */
static int make_file(struct run *run, const struct plan_place_file *op, const char *target)
{
	const char *staging = plan_text(run->plan, op->staging), *content = plan_text(run->plan, op->content);
	const struct plan_texts no_options = { 0 };
	const uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	cleanup_fd int mount_fd = mount_new(run, "tmpfs", NULL, &no_options, attributes);

	if (mount_fd < 0)
		return -1;
	if (sys_move_mount(mount_fd, AT_FDCWD, staging, 0) < 0)
		return refuse(run, "move_mount", staging);
	cleanup_fd int file_fd = openat(mount_fd, "file", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int tree_fd = -1;
	if (file_fd < 0)
		refuse(run, "openat", target);
	else if (!write_whole(file_fd, content, strlen(content)))
		refuse(run, "write", target);
	else
		tree_fd = mount_file(run, file_fd, target, attributes | MOUNT_ATTR_RDONLY);
	int error = errno;
	if (sys_detach(staging) < 0) {
		close_fd(&tree_fd);
		return refuse(run, "umount2", staging);
	}
	errno = error;
	return tree_fd;
}

int op_place_file(struct run *run, const struct plan_place_file *op)
{
	const char *target = plan_text(run->plan, op->target);
	cleanup_fd int tree_fd = make_file(run, op, target);

	return tree_fd < 0 ? -1 : mount_place(run, tree_fd, target, S_IFREG, 0644);
}
