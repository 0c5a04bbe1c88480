#define _GNU_SOURCE
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

/* Sources are paths of the host without symlinks: they were resolved when the plan was made, and a symlink that appeared
 * since must not redirect us. */
int mount_source(const char *path)
{
	return sys_openat2(AT_FDCWD, path, O_PATH, RESOLVE_NO_SYMLINKS);
}

static int set_attributes(int fd, bool recursive, struct mount_attributes attributes)
{
	if (!attributes.set && !attributes.clear && !attributes.propagation)
		return 0;
	/* They are a number, not bits: it is set as a whole, mount_setattr(2). */
	if (attributes.set & MOUNT_ATTR__ATIME)
		attributes.clear |= MOUNT_ATTR__ATIME;
	return sys_mount_setattr(fd, recursive, &attributes);
}

int mount_change(struct run *run, int tree_fd, const char *subject, const struct change *change)
{
	const struct mount_attributes propagation = { .propagation = change->all.propagation };
	const struct mount_attributes all = { .set = change->all.set, .clear = change->all.clear };

	/* What is asked of all mounts wins over what is asked of the topmost, as in runc. */
	if (set_attributes(tree_fd, true, propagation) < 0 || set_attributes(tree_fd, false, change->top) < 0 ||
	    set_attributes(tree_fd, true, all) < 0)
		return refuse(run, "mount_setattr", subject);
	return 0;
}

/* A detached copy of the host's tree at `source`.  Attributes are set while it is detached: attached first, it would be
 * writable for a moment to anyone already inside the namespace. */
int mount_copy(struct run *run, int source_fd, const char *source, bool recursive, const struct change *change)
{
	int tree_fd = sys_open_tree(source_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0));

	if (tree_fd < 0)
		return refuse(run, "open_tree", source);
	if (mount_change(run, tree_fd, source, change) < 0) {
		close(tree_fd);
		return -1;
	}
	return tree_fd;
}

/* One file, and nothing that is mounted on it. */
int mount_file(struct run *run, int source_fd, const char *source, uint64_t attributes)
{
	const struct change change = { .all = { .set = attributes, .propagation = MS_PRIVATE } };

	return mount_copy(run, source_fd, source, false, &change);
}

static int set_option(struct run *run, int fs_fd, const char *option, const char *subject)
{
	char key[512];
	const char *equals = strchr(option, '=');
	size_t length = equals ? (size_t)(equals - option) : strlen(option);

	if (length >= sizeof(key))
		return refuse_with(run, ENAMETOOLONG, "fsconfig", subject);
	memcpy(key, option, length);
	key[length] = 0;
	if (sys_fsconfig(fs_fd, equals ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, equals ? equals + 1 : NULL) < 0)
		return refuse(run, "fsconfig", subject);
	return 0;
}

/* A detached new file system; the option `first`, if any, gives way to the others. */
int mount_new(struct run *run, const char *fstype, const char *first, const struct plan_texts *options,
	      uint64_t attributes)
{
	cleanup_fd int fs_fd = sys_fsopen(fstype);

	if (fs_fd < 0)
		return refuse(run, "fsopen", fstype);
	if (first && set_option(run, fs_fd, first, fstype) < 0)
		return -1;
	for (uint32_t i = 0; options && i < options->count; i++) {
		const char *option = plan_item(run->plan, *options, i);

		if (set_option(run, fs_fd, option, option) < 0)
			return -1;
	}
	if (sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
		return refuse(run, "fsconfig", fstype);
	int mount_fd = sys_fsmount(fs_fd, attributes);
	if (mount_fd < 0)
		return refuse(run, "fsmount", fstype);
	return mount_fd;
}

int mount_attach(struct run *run, int tree_fd, int place_fd, const char *target)
{
	if (sys_move_mount(tree_fd, place_fd, "", MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return refuse(run, "move_mount", target);
	return 0;
}

int mount_place(struct run *run, int tree_fd, const char *target, mode_t kind, mode_t mode)
{
	cleanup_fd int place_fd = open_place(run, target, kind, mode);

	return place_fd < 0 ? refuse(run, "openat2", target) : mount_attach(run, tree_fd, place_fd, target);
}

/* --- id-mapped mounts ------------------------------------------------------------------------------- */

/* In a user namespace of its own: hand out our directory in procfs, whose name nobody here knows (the procfs is that of
 * the host's processes), and stay until we are not needed any more.
 *
 * Our files there are not the parent's to write unless we may be dumped, which others inside might do: we keep nothing
 * that they could take (CVE-2016-9962). */
static _Noreturn void hold_namespace(const struct run *run, int out_fd, pid_t parent)
{
	struct sync_message message = { .type = SYNC_MAPPED };
	int self_fd = sys_openat2(run->proc_fd, "self", O_PATH | O_DIRECTORY,
				  RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);

	if (self_fd < 0 || dup2(self_fd, 0) < 0 || dup2(out_fd, 1) < 0 || syscall(SYS_close_range, 2, ~0u, 0) < 0)
		_exit(1);
	/* The parent may have ended before it could take us along. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 ||
	    sync_send_fd(1, &message, 0) < 0)
		_exit(1);
	for (;;)
		pause();
}

static int write_map(struct run *run, int process_fd, const char *name, const char *map)
{
	cleanup_fd int fd = openat(process_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return refuse(run, "openat", name);
	if (write(fd, map, strlen(map)) < 0)
		return refuse(run, "write", name);
	return 0;
}

static int map_namespace(struct run *run, int in_fd, const char *uid_map, const char *gid_map)
{
	struct sync_message message;
	int received_fd = -1;

	if (sync_receive(in_fd, &message, &received_fd) <= 0)
		return refuse_with(run, ESRCH, "clone3", "");
	cleanup_fd int process_fd = received_fd;
	if (write_map(run, process_fd, "uid_map", uid_map) < 0 || write_map(run, process_fd, "gid_map", gid_map) < 0)
		return -1;
	int namespace_fd = openat(process_fd, "ns/user", O_RDONLY | O_CLOEXEC);
	return namespace_fd < 0 ? refuse(run, "openat", "ns/user") : namespace_fd;
}

/* A user namespace with these maps, in which there is nobody. */
static int new_namespace(struct run *run, const char *uid_map, const char *gid_map)
{
	int pair[2];
	pid_t parent = getpid();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return refuse(run, "socketpair", "");
	cleanup_fd int in_fd = pair[0], out_fd = pair[1];
	pid_t child = sys_clone(CLONE_NEWUSER, -1, false);
	if (child < 0)
		return refuse(run, "clone3", "");
	if (child == 0)
		hold_namespace(run, out_fd, parent);
	close_fd(&out_fd);
	out_fd = -1;
	int namespace_fd = map_namespace(run, in_fd, uid_map, gid_map);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return namespace_fd;
}

/* Show the owners of files by these maps; the tree is still attached nowhere, as the kernel demands. */
int mount_map_ids(struct run *run, int tree_fd, const char *subject, bool recursive, const char *uid_map,
		  const char *gid_map)
{
	if (!*uid_map && !*gid_map)
		return 0;
	cleanup_fd int namespace_fd = new_namespace(run, uid_map, gid_map);
	if (namespace_fd < 0)
		return -1;
	const struct mount_attributes attributes = { .set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)namespace_fd };
	if (sys_mount_setattr(tree_fd, recursive, &attributes) < 0)
		return refuse(run, "mount_setattr", subject);
	return 0;
}
