/* Single files of the new root: links, directories, fifos, devices, the command itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mount.h"
#include "notify.h"
#include "place.h"

int op_make_symlink(struct run *run, const struct plan_make_symlink *op)
{
	const char *target = plan_text(run->plan, op->target);
	const char *name;
	cleanup_fd int parent_fd = open_parent(run, target, &name);

	if (parent_fd < 0)
		return refuse(run, "mkdirat", target);
	if (symlinkat(plan_text(run->plan, op->destination), parent_fd, name) < 0)
		return refuse(run, "symlinkat", target);
	return 0;
}

int op_make_directory(struct run *run, const struct plan_make_directory *op)
{
	const char *path = plan_text(run->plan, op->path);
	cleanup_fd int fd = open_directory(run, path, op->mode);

	return fd < 0 ? refuse(run, "mkdirat", path) : 0;
}

/* One that is there already is taken as it is, as long as it is one. */
int op_make_fifo(struct run *run, const struct plan_make_fifo *op)
{
	const char *target = plan_text(run->plan, op->target);
	const char *name;
	struct stat status;
	cleanup_fd int parent_fd = open_parent(run, target, &name);

	if (parent_fd < 0)
		return refuse(run, "mkdirat", target);
	if (mkfifoat(parent_fd, name, op->mode) < 0) {
		if (errno != EEXIST || fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			return refuse(run, "mkfifoat", target);
		return S_ISFIFO(status.st_mode) ? 0 : refuse_with(run, EEXIST, "mkfifoat", target);
	}
	if (fchownat(parent_fd, name, op->uid, op->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return refuse(run, "fchownat", target);
	return 0;
}

/* Graft one file of the host's, and nothing that is mounted on it, onto `target`. */
static int graft_file(struct run *run, int source_fd, const char *source, const char *target, uint64_t attributes)
{
	cleanup_fd int tree_fd = mount_file(run, source_fd, source, attributes);

	return tree_fd < 0 ? -1 : mount_place(run, tree_fd, target, S_IFREG, 0644);
}

/* The node must be the device that it is named after: a directory that somebody could write
 * might hold another one (runc CVE-2025-31133). */
int op_bind_device(struct run *run, const struct plan_bind_device *op)
{
	const char *source = plan_text(run->plan, op->source);
	const char *target = plan_text(run->plan, op->target);
	const mode_t kind = op->block ? S_IFBLK : S_IFCHR;
	struct stat status;

	cleanup_fd int source_fd = mount_source(source);
	if (source_fd < 0 || fstat(source_fd, &status) < 0)
		return refuse(run, "openat2", source);
	if ((status.st_mode & S_IFMT) != kind || status.st_rdev != makedev(op->major, op->minor))
		return refuse_with(run, ENODEV, "fstat", source);
	return graft_file(run, source_fd, source, target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
}

/* Never onto what a symlink of the image's leads to (runc CVE-2025-52565). */
int op_bind_console(struct run *run, const struct plan_bind_console *op)
{
	(void)op;
	if (run->slave_fd < 0)
		return 0;
	cleanup_fd int tree_fd =
		mount_file(run, run->slave_fd, "/dev/console", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	if (tree_fd < 0)
		return -1;
	cleanup_fd int place_fd = open_plain_place(run, "/dev/console", S_IFREG, 0);
	if (place_fd < 0)
		return refuse(run, "openat", "/dev/console");
	return mount_attach(run, tree_fd, place_fd, "/dev/console");
}

/* Whoever names a program to run means it to be seen, and nothing around it. */
int op_show_command(struct run *run, const struct plan_show_command *op)
{
	const char *directory = plan_text(run->plan, op->directory), *name = run->command;
	char target[PATH_MAX];
	struct stat status;

	if (!strchr(name, '/'))
		return 0;
	int length = snprintf(target, sizeof(target), "%s/%s", *name == '/' ? "" : directory, name);
	if (length < 0 || (size_t)length >= sizeof(target))
		return refuse_with(run, ENAMETOOLONG, "openat2", name);
	cleanup_fd int seen_fd = open_below(run, target, O_PATH);
	cleanup_fd int source_fd = sys_openat2(AT_FDCWD, name, O_PATH, 0);
	/* What is there already, or nowhere, is for execve(2) to judge. */
	if (seen_fd >= 0 || source_fd < 0 || fstat(source_fd, &status) < 0 || !S_ISREG(status.st_mode))
		return 0;
	return graft_file(run, source_fd, name, target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

/* It is bound by its directory's descriptor, and no name is resolved that somebody else has chosen. */
int op_readiness_socket(struct run *run, const struct plan_readiness_socket *op)
{
	const char *target = plan_text(run->plan, op->target), *name;
	struct sync_message message = { .type = SYNC_NOTIFY };
	char path[PATH_MAX];

	if (!(run->hello.options & SYNC_TELL_READY))
		return 0;
	cleanup_fd int parent_fd = open_parent(run, target, &name);
	if (parent_fd < 0)
		return refuse(run, "mkdirat", target);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", parent_fd, name);
	cleanup_fd int fd = notify_bind(path);
	if (fd < 0)
		return refuse(run, "bind", target);
	if (sync_send_fd(run->sync_fd, &message, fd) < 0)
		return refuse(run, "sendmsg", target);
	return 0;
}
