/* What is mounted in the new root. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount.h"
#include "place.h"
#include "sources.h"

int op_bind_mount(struct run *run, const struct plan_bind_mount *op)
{
	const char *source = plan_text(run->plan, op->source);
	const char *target = plan_text(run->plan, op->target);
	const struct change change = {
		.all = { .set = op->set_recursive, .clear = op->clear_recursive, .propagation = op->propagation },
		.top = { .set = op->set_attributes, .clear = op->clear_attributes },
	};
	struct stat status;

	cleanup_fd int source_fd = source_take(run, &op->head, op->early, source);
	if (source_fd < 0 || fstat(source_fd, &status) < 0)
		return refuse(run, "openat2", source);
	cleanup_fd int tree_fd = op->early == EARLY_COPY ? fcntl(source_fd, F_DUPFD_CLOEXEC, 0)
							 : mount_copy(run, source_fd, source, op->recursive, &change);
	if (tree_fd < 0)
		return -1;
	if (op->early == EARLY_COPY && mount_change(run, tree_fd, source, &change) < 0)
		return -1;
	if (mount_map_ids(run, tree_fd, source, op->map_recursive, plan_text(run->plan, op->uid_map),
			  plan_text(run->plan, op->gid_map)) < 0)
		return -1;
	return mount_place(run, tree_fd, target, status.st_mode, 0755);
}

/* procfs and sysfs are taken for the kernel's word: what a symlink of the image's led to would be elsewhere. */
static bool is_kernels(const char *fstype)
{
	return !strcmp(fstype, "proc") || !strcmp(fstype, "sysfs");
}

/* Into it, before it is read-only and its ids are mapped. */
static int fill(struct run *run, int tree_fd, int place_fd, const char *target)
{
	cleanup_fd int from_fd = openat(place_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (from_fd < 0)
		return refuse(run, "openat", target);
	return copy_up(run, from_fd, tree_fd);
}

int op_new_mount(struct run *run, const struct plan_new_mount *op)
{
	const char *fstype = plan_text(run->plan, op->fstype);
	const char *target = plan_text(run->plan, op->target);
	const uint64_t late = op->copy_up ? op->attributes & MOUNT_ATTR_RDONLY : 0;
	const struct change change = { .all = { .set = late, .propagation = op->propagation } };
	char mode[32];
	struct stat status;

	/* One that is made for it has no mode that anybody chose. */
	cleanup_fd int there_fd = op->take_mode ? open_below(run, target, O_PATH | O_DIRECTORY) : -1;
	cleanup_fd int place_fd = is_kernels(fstype) ? open_plain_place(run, target, S_IFDIR, op->mode)
						     : open_place(run, target, S_IFDIR, op->mode);
	if (place_fd < 0 || fstat(place_fd, &status) < 0)
		return refuse(run, "openat2", target);
	snprintf(mode, sizeof(mode), "mode=%04o", status.st_mode & 07777);
	cleanup_fd int tree_fd =
		mount_new(run, fstype, there_fd >= 0 ? mode : NULL, &op->options, op->attributes & ~late);
	if (tree_fd < 0)
		return -1;
	if (op->copy_up && fill(run, tree_fd, place_fd, target) < 0)
		return -1;
	if (mount_map_ids(run, tree_fd, target, false, plan_text(run->plan, op->uid_map),
			  plan_text(run->plan, op->gid_map)) < 0)
		return -1;
	if (mount_change(run, tree_fd, target, &change) < 0)
		return -1;
	return mount_attach(run, tree_fd, place_fd, target);
}

int op_change_mount(struct run *run, const struct plan_change_mount *op)
{
	const char *target = plan_text(run->plan, op->target);
	const bool all = op->propagation_recursive;
	const struct change change = {
		.all = { .set = op->set_recursive, .clear = op->clear_recursive, .propagation = all ? op->propagation : 0 },
		.top = { .set = op->set_attributes, .clear = op->clear_attributes, .propagation = all ? 0 : op->propagation },
	};

	cleanup_fd int mount_fd = open_below(run, target, O_PATH);
	if (mount_fd < 0)
		return refuse(run, "openat2", target);
	return mount_change(run, mount_fd, target, &change);
}

int op_mask(struct run *run, const struct plan_mask *op)
{
	const char *target = plan_text(run->plan, op->target);
	const uint64_t set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
	struct stat status;

	cleanup_fd int place_fd = open_below(run, target, O_PATH);
	if (place_fd < 0 || fstat(place_fd, &status) < 0)
		return refuse(run, "openat2", target);
	cleanup_fd int tree_fd = S_ISDIR(status.st_mode) ? mount_new(run, "tmpfs", NULL, NULL, set | MOUNT_ATTR_NODEV)
							 : mount_file(run, run->null_fd, "/dev/null", set);
	if (tree_fd < 0)
		return -1;
	return mount_attach(run, tree_fd, place_fd, target);
}

int op_make_read_only(struct run *run, const struct plan_make_read_only *op)
{
	const char *target = plan_text(run->plan, op->target);
	const struct change change = { .all = { .set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE } };

	cleanup_fd int place_fd = open_below(run, target, O_PATH);
	if (place_fd < 0)
		return refuse(run, "openat2", target);
	cleanup_fd int tree_fd = mount_copy(run, place_fd, target, true, &change);
	if (tree_fd < 0)
		return -1;
	return mount_attach(run, tree_fd, place_fd, target);
}
