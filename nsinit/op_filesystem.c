/* The file system of a sandbox.  Sources are paths of the host without symlinks: they were
 * resolved when the plan was made, and a symlink that appeared since must not redirect us.
 * Targets are resolved below the new root and used by descriptor, never by path
 * (runc CVE-2021-30465, CVE-2024-45310). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

int open_below(const struct run *run, const char *path, uint64_t flags)
{
	return sys_openat2(run->root_fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static int open_source(const char *path)
{
	return sys_openat2(AT_FDCWD, path, O_PATH, RESOLVE_NO_SYMLINKS);
}

static int open_directory(const struct run *run, const char *path, mode_t mode);

/* Open the directory in which `path` lies, made with its parents where it is absent; `*name` becomes
 * the last component.  Opening the root itself gives a copy of its descriptor. */
static int open_parent(const struct run *run, const char *path, const char **name)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash || !slash[1] || (size_t)(slash - path) >= sizeof(parent)) {
		errno = EINVAL;
		return -1;
	}
	*name = slash + 1;
	if (slash == path)
		return fcntl(run->root_fd, F_DUPFD_CLOEXEC, 0);
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = 0;
	return open_directory(run, parent, 0755);
}

/* Open the directory `path` below the new root, made with its parents where it is absent.  mkdirat(2) does not
 * follow a symlink in the last component: a dangling one is refused. */
static int open_directory(const struct run *run, const char *path, mode_t mode)
{
	const char *name;

	int fd = open_below(run, path, O_PATH | O_DIRECTORY);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	cleanup_fd int parent_fd = open_parent(run, path, &name);
	if (parent_fd < 0 || mkdirat(parent_fd, name, mode) < 0)
		return -1;
	return open_below(run, path, O_PATH | O_DIRECTORY);
}

/* Open the mount point `target`, made where it is absent, with the type that `kind` has. */
static int open_place(const struct run *run, const char *target, mode_t kind, mode_t mode)
{
	const char *name;

	if (S_ISDIR(kind))
		return open_directory(run, target, mode);
	int fd = open_below(run, target, O_PATH);
	if (fd >= 0) {
		struct stat status;

		if (!fstat(fd, &status) && !S_ISDIR(status.st_mode))
			return fd;
		close(fd);
		errno = EISDIR;
		return -1;
	}
	if (errno != ENOENT)
		return -1;
	cleanup_fd int parent_fd = open_parent(run, target, &name);
	if (parent_fd < 0)
		return -1;
	fd = openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	close(fd);
	return openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int attach(struct run *run, int tree_fd, int place_fd, const char *target)
{
	if (sys_move_mount(tree_fd, place_fd, "", MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return refuse(run, "move_mount", target);
	return 0;
}

/* A detached new file system. */
static int new_filesystem(struct run *run, const char *fstype, const struct plan_texts *options, uint64_t attributes)
{
	char key[512];
	cleanup_fd int fs_fd = sys_fsopen(fstype);

	if (fs_fd < 0)
		return refuse(run, "fsopen", fstype);
	for (uint32_t i = 0; options && i < options->count; i++) {
		const char *option = plan_item(run->plan, *options, i);
		const char *equals = strchr(option, '=');
		size_t length = equals ? (size_t)(equals - option) : strlen(option);

		if (length >= sizeof(key))
			return refuse_with(run, ENAMETOOLONG, "fsconfig", option);
		memcpy(key, option, length);
		key[length] = 0;
		if (sys_fsconfig(fs_fd, equals ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key,
				 equals ? equals + 1 : NULL) < 0)
			return refuse(run, "fsconfig", option);
	}
	if (sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
		return refuse(run, "fsconfig", fstype);
	int mount_fd = sys_fsmount(fs_fd, attributes);
	if (mount_fd < 0)
		return refuse(run, "fsmount", fstype);
	return mount_fd;
}

static int attach_root(struct run *run, int root_fd, const char *staging)
{
	if (sys_move_mount(root_fd, AT_FDCWD, staging, 0) < 0) {
		int error = errno;

		close(root_fd);
		return refuse_with(run, error, "move_mount", staging);
	}
	run->root_fd = root_fd;
	return 0;
}

int op_fresh_root(struct run *run, const struct plan_fresh_root *op)
{
	int root_fd = new_filesystem(run, "tmpfs", &op->options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);

	if (root_fd < 0)
		return -1;
	return attach_root(run, root_fd, plan_text(run->plan, op->staging));
}

/* What becomes of the attributes of a tree of mounts: first of all of them, then of the one at its top. */
struct change {
	struct mount_attributes all, top;
};

/* A detached copy of the host's tree at `source`.  Attributes are set while it is detached:
 * attached first, it would be writable for a moment to anyone already inside the namespace. */
static int copy_tree(struct run *run, int source_fd, const char *source, bool recursive, const struct change *change)
{
	int tree_fd = sys_open_tree(source_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0));

	if (tree_fd < 0)
		return refuse(run, "open_tree", source);
	if (sys_mount_setattr(tree_fd, recursive, &change->all) < 0 ||
	    sys_mount_setattr(tree_fd, false, &change->top) < 0) {
		int error = errno;

		close(tree_fd);
		return refuse_with(run, error, "mount_setattr", source);
	}
	return tree_fd;
}

int op_bind_root(struct run *run, const struct plan_bind_root *op)
{
	const char *source = plan_text(run->plan, op->source);
	const struct change change = { .all.propagation = op->propagation, .top.set = op->set_attributes };
	cleanup_fd int source_fd = open_source(source);

	if (source_fd < 0)
		return refuse(run, "openat2", source);
	int root_fd = copy_tree(run, source_fd, source, true, &change);
	if (root_fd < 0)
		return -1;
	return attach_root(run, root_fd, plan_text(run->plan, op->staging));
}

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

int op_bind_mount(struct run *run, const struct plan_bind_mount *op)
{
	const char *source = plan_text(run->plan, op->source);
	const char *target = plan_text(run->plan, op->target);
	const struct change change = {
		.all = { .set = op->set_recursive, .clear = op->clear_recursive, .propagation = op->propagation },
		.top = { .set = op->set_attributes, .clear = op->clear_attributes },
	};
	struct stat status;

	cleanup_fd int source_fd = open_source(source);
	if (source_fd < 0 || fstat(source_fd, &status) < 0)
		return refuse(run, "openat2", source);
	cleanup_fd int tree_fd = copy_tree(run, source_fd, source, op->recursive, &change);
	if (tree_fd < 0)
		return -1;
	cleanup_fd int place_fd = open_place(run, target, status.st_mode, 0755);
	if (place_fd < 0)
		return refuse(run, "openat2", target);
	return attach(run, tree_fd, place_fd, target);
}

/* Graft one file of the host's, and nothing that is mounted on it, onto `target`. */
static int graft_file(struct run *run, int source_fd, const char *source, const char *target,
		      uint64_t attributes)
{
	const struct change change = { .all = { .set = attributes, .propagation = MS_PRIVATE } };
	cleanup_fd int tree_fd = copy_tree(run, source_fd, source, false, &change);

	if (tree_fd < 0)
		return -1;
	cleanup_fd int place_fd = open_place(run, target, S_IFREG, 0644);
	if (place_fd < 0)
		return refuse(run, "openat2", target);
	return attach(run, tree_fd, place_fd, target);
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

int op_new_mount(struct run *run, const struct plan_new_mount *op)
{
	const char *target = plan_text(run->plan, op->target);
	cleanup_fd int tree_fd =
		new_filesystem(run, plan_text(run->plan, op->fstype), &op->options, op->attributes);

	if (tree_fd < 0)
		return -1;
	cleanup_fd int place_fd = open_place(run, target, S_IFDIR, op->mode);
	if (place_fd < 0)
		return refuse(run, "openat2", target);
	return attach(run, tree_fd, place_fd, target);
}

/* The node must be the device that it is named after: a directory that somebody could write
 * might hold another one (runc CVE-2025-31133). */
int op_bind_device(struct run *run, const struct plan_bind_device *op)
{
	const char *source = plan_text(run->plan, op->source);
	const char *target = plan_text(run->plan, op->target);
	struct stat status;

	cleanup_fd int source_fd = open_source(source);
	if (source_fd < 0 || fstat(source_fd, &status) < 0)
		return refuse(run, "openat2", source);
	if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(op->major, op->minor))
		return refuse_with(run, ENODEV, "fstat", source);
	return graft_file(run, source_fd, source, target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
}

int op_mask(struct run *run, const struct plan_mask *op)
{
	const char *target = plan_text(run->plan, op->target);
	const uint64_t set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
	const struct change change = { .all = { .set = set, .propagation = MS_PRIVATE } };
	struct stat status;

	cleanup_fd int place_fd = open_below(run, target, O_PATH);
	if (place_fd < 0 || fstat(place_fd, &status) < 0)
		return refuse(run, "openat2", target);
	cleanup_fd int tree_fd = -1;
	if (S_ISDIR(status.st_mode)) {
		tree_fd = new_filesystem(run, "tmpfs", NULL, set | MOUNT_ATTR_NODEV);
		if (tree_fd < 0)
			return -1;
	} else {
		tree_fd = copy_tree(run, run->null_fd, "/dev/null", false, &change);
		if (tree_fd < 0)
			return -1;
	}
	return attach(run, tree_fd, place_fd, target);
}

int op_make_read_only(struct run *run, const struct plan_make_read_only *op)
{
	const char *target = plan_text(run->plan, op->target);
	const struct change change = { .all = { .set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE } };

	cleanup_fd int place_fd = open_below(run, target, O_PATH);
	if (place_fd < 0)
		return refuse(run, "openat2", target);
	cleanup_fd int tree_fd = copy_tree(run, place_fd, target, true, &change);
	if (tree_fd < 0)
		return -1;
	return attach(run, tree_fd, place_fd, target);
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
