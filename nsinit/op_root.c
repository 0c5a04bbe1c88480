/* The new root: made, attached aside, and gone to. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <errno.h>
#include <unistd.h>

#include "mount.h"
#include "sources.h"

/* At the path `staging`, or on the directory `place_fd`. */
static int attach_root(struct run *run, int root_fd, int place_fd, const char *staging)
{
	int error = place_fd < 0 ? sys_move_mount(root_fd, AT_FDCWD, staging, 0)
				 : sys_move_mount(root_fd, place_fd, "", MOVE_MOUNT_T_EMPTY_PATH);

	if (error < 0) {
		error = errno;
		close(root_fd);
		return refuse_with(run, error, "move_mount", staging);
	}
	run->root_fd = root_fd;
	return 0;
}

int op_fresh_root(struct run *run, const struct plan_fresh_root *op)
{
	int root_fd = mount_new(run, "tmpfs", NULL, &op->options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);

	if (root_fd < 0)
		return -1;
	return attach_root(run, root_fd, -1, plan_text(run->plan, op->staging));
}

int op_bind_root(struct run *run, const struct plan_bind_root *op)
{
	const char *source = plan_text(run->plan, op->source);
	const struct change change = { .all.propagation = op->propagation, .top.set = op->set_attributes };
	cleanup_fd int source_fd = source_take(run, &op->head, op->early, source);

	if (source_fd < 0)
		return refuse(run, "openat2", source);
	int root_fd = mount_copy(run, source_fd, source, true, &change);
	if (root_fd < 0)
		return -1;
	/* Who could not go to the source may not come to its place either. */
	return attach_root(run, root_fd, op->early == EARLY_NO ? -1 : source_fd, plan_text(run->plan, op->staging));
}

int op_seal_root(struct run *run, const struct plan_seal_root *op)
{
	struct mount_attributes attributes = { .set = op->set_attributes };

	if (sys_mount_setattr(run->root_fd, false, &attributes) < 0)
		return refuse(run, "mount_setattr", "/");
	return 0;
}

/* The old root ends up on top of the new one, and is let go of there: no directory of the
 * new root is needed to hold it (pivot_root(2), "pivot_root(".", ".")"). */
int op_pivot_root(struct run *run, const struct plan_pivot_root *op)
{
	(void)op;
	if (fchdir(run->root_fd) < 0)
		return refuse(run, "fchdir", "/");
	if (sys_pivot_root(".", ".") < 0)
		return refuse(run, "pivot_root", "/");
	if (sys_detach(".") < 0)
		return refuse(run, "umount2", "/");
	if (chdir("/") < 0)
		return refuse(run, "chdir", "/");
	return 0;
}
