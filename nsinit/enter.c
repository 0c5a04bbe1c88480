#define _GNU_SOURCE
#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "exit.h"
#include "sources.h"
#include "sys.h"

static int write_file(struct run *run, const char *path, const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return refuse(run, "open", path);
	if (write(fd, text, strlen(text)) < 0)
		return refuse(run, "write", path);
	return 0;
}

/* A process may map its own id for itself, once it has given up setgroups(2), user_namespaces(7). */
static int map_own_ids(struct run *run, const struct plan_map_ids *op)
{
	if (write_file(run, "/proc/self/setgroups", "deny") < 0 ||
	    write_file(run, "/proc/self/uid_map", plan_text(run->plan, op->uid_map)) < 0 ||
	    write_file(run, "/proc/self/gid_map", plan_text(run->plan, op->gid_map)) < 0)
		return -1;
	return 0;
}

/* Whoever comes from an id that the namespace does not know could make no file in it, and not even be itself. */
static int become_root(struct run *run)
{
	/* The bare calls: libc's would look for threads to tell. */
	if (syscall(SYS_setresgid, 0, 0, 0) < 0)
		return refuse(run, "setresgid", "");
	if (syscall(SYS_setresuid, 0, 0, 0) < 0)
		return refuse(run, "setresuid", "");
	/* Changed credentials have cleared it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_PDEATHSIG", "");
	return 0;
}

static int await_mapping(struct run *run)
{
	struct sync_message message;

	if (sync_receive(run->sync_fd, &message, NULL) <= 0 || message.type != SYNC_MAPPED)
		_exit(EXIT_OWN_FAILURE); /* the monitor is gone, or has a failure of its own to report */
	return 0;
}

int enter_keep_capabilities(struct run *run)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];

	if (syscall(SYS_capget, &header, sets) < 0)
		return refuse(run, "capget", "");
	for (int word = 0; word < 2; word++)
		sets[word].inheritable = sets[word].effective = sets[word].permitted;
	if (syscall(SYS_capset, &header, sets) < 0)
		return refuse(run, "capset", "");
	for (unsigned int capability = 0; capability < 64; capability++)
		if (sets[capability / 32].permitted >> (capability % 32) & 1 &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
			return refuse(run, "PR_CAP_AMBIENT", "");
	return 0;
}

static bool same_file(int left_fd, int right_fd)
{
	struct stat left, right;

	return !fstat(left_fd, &left) && !fstat(right_fd, &right) && left.st_dev == right.st_dev &&
	       left.st_ino == right.st_ino;
}

/* A read-only mount of our image that is attached nowhere: nobody can make it writable again. */
static int mounted_image(int own_fd)
{
	char path[PATH_MAX];
	struct mount_attributes attributes = { .set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
					       .propagation = MS_PRIVATE };
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length < 0)
		return -1;
	path[length] = 0;
	int tree_fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);
	if (tree_fd < 0)
		return -1;
	/* The name may mean another file by now (the program was upgraded while it runs). */
	if (!same_file(tree_fd, own_fd) || sys_mount_setattr(tree_fd, false, &attributes) < 0) {
		close(tree_fd);
		return -1;
	}
	return tree_fd;
}

static int sealed_image(struct run *run, int own_fd)
{
	struct stat status;
	off_t at = 0;

	if (fstat(own_fd, &status) < 0)
		return refuse(run, "fstat", "/proc/self/exe");
	int image_fd = memfd_create("sandbox-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (image_fd < 0)
		return refuse(run, "memfd_create", "");
	while (at < status.st_size)
		if (sendfile(image_fd, own_fd, &at, (size_t)(status.st_size - at)) <= 0)
			return refuse(run, "sendfile", "/proc/self/exe");
	if (fcntl(image_fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return refuse(run, "F_ADD_SEALS", "");
	return image_fd;
}

static int self_image(struct run *run)
{
	cleanup_fd int own_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (own_fd < 0)
		return refuse(run, "open", "/proc/self/exe");
	int image_fd = mounted_image(own_fd);
	return image_fd >= 0 ? image_fd : sealed_image(run, own_fd);
}

/* Give `fd` the number `wanted`, open across exec. */
static int place_fd(int fd, int wanted)
{
	if (fd == wanted)
		return fcntl(fd, F_SETFD, 0);
	return dup2(fd, wanted) < 0 ? -1 : 0;
}

int enter_identity(struct run *run, const struct plan_map_ids *ids, bool joined)
{
	bool others = ids && (ids->by_monitor || *plan_text(run->plan, ids->uid_helper));

	if (ids && !joined && (others ? await_mapping(run) : map_own_ids(run, ids)) < 0)
		return -1;
	/* With what is the caller's yet, and what is the container's already. */
	if (!joined && sources_open(run) < 0)
		return -1;
	return ids && ids->become_root ? become_root(run) : 0;
}

int enter_as_root(struct run *run)
{
	return become_root(run) < 0 && errno != EINVAL ? -1 : 0;
}

/* The copies that are executed with are close-on-exec, and out of the way of the numbers that they get. */
static int place_all(struct run *run, const struct entry *entry, int *image_fd)
{
	const int first = run->first_fd, free_from = first + INIT_FDS + run->source_count;
	const int sources[INIT_FDS] = {
		[INIT_PLAN_FD] = entry->plan_fd,
		[INIT_SYNC_FD] = entry->sync_fd,
		[INIT_GATE_FD] = entry->gate_fd,
		[INIT_PROCESS_FD] = entry->process_fd,
	};
	int copies[INIT_FDS];

	*image_fd = fcntl(*image_fd, F_DUPFD_CLOEXEC, free_from);
	if (*image_fd < 0)
		return refuse(run, "F_DUPFD", "");
	for (int i = 0; i < INIT_FDS; i++) {
		copies[i] = sources[i] < 0 ? -1 : fcntl(sources[i], F_DUPFD_CLOEXEC, free_from);
		if (sources[i] >= 0 && copies[i] < 0)
			return refuse(run, "F_DUPFD", "");
	}
	for (int i = 0; i < INIT_FDS; i++)
		if (copies[i] >= 0 && place_fd(copies[i], first + i) < 0)
			return refuse(run, "dup2", "");
	if (sources_place(run, first + INIT_FDS) < 0)
		return -1;
	run->sync_fd = first + INIT_SYNC_FD;
	for (int fd = 3; fd < first; fd++)
		fcntl(fd, F_SETFD, 0);
	return 0;
}

static int execute(struct run *run, const struct entry *entry, int image_fd)
{
	if (image_fd < 0 || place_all(run, entry, &image_fd) < 0)
		return -1;
	sys_execveat(image_fd, entry->argv, entry->envp);
	return refuse(run, "execveat", entry->argv[0]);
}

/* A copy of the mount tree within one user namespace still tells the original what becomes of it: what we mount would
 * appear outside, and what we let go of go there too. */
int enter_keep_mounts(struct run *run)
{
	const struct plan_isolate *op = (const struct plan_isolate *)plan_find(run->plan, OP_ISOLATE);

	if (!op || (op->flags & (CLONE_NEWNS | CLONE_NEWUSER)) != CLONE_NEWNS)
		return 0;
	return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? refuse(run, "mount", "/") : 0;
}

static int enter(struct run *run, const struct entry *entry, const struct plan_map_ids *ids)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_PDEATHSIG", "");
	if (enter_identity(run, ids, false) < 0)
		return -1;
	if (entry->late_namespaces && unshare((int)entry->late_namespaces) < 0)
		return refuse(run, "unshare", "");
	if (enter_keep_mounts(run) < 0)
		return -1;
	if (relay_enter(entry->relay) < 0)
		return refuse(run, "dup2", "/dev/null");
	if (enter_keep_capabilities(run) < 0)
		return -1;
	return execute(run, entry, self_image(run));
}

_Noreturn void enter_sandbox(const struct entry *entry)
{
	const struct plan_op *op = plan_find(entry->plan, OP_MAP_IDS);
	struct run run = { .plan = entry->plan, .sync_fd = entry->sync_fd, .first_fd = 3 + (int)entry->descriptors };

	run.current = op ? plan_index(entry->plan, op) : 0;
	enter(&run, entry, (const struct plan_map_ids *)op);
	report_failure(&run);
	_exit(EXIT_OWN_FAILURE);
}

static int leave_for(struct run *run, const struct entry *entry)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_PDEATHSIG", "");
	if (entry->cgroup && cgroup_enter(entry->cgroup, entry->cgroup_inode) < 0)
		return refuse(run, "cgroup.procs", entry->cgroup);
	if (relay_enter(entry->relay) < 0)
		return refuse(run, "dup2", "/dev/null");
	cleanup_fd int own_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (own_fd < 0)
		return refuse(run, "open", "/proc/self/exe");
	return execute(run, entry, sealed_image(run, own_fd));
}

_Noreturn void enter_from_outside(const struct entry *entry)
{
	const struct plan_op *op = plan_find(entry->plan, OP_ISOLATE);
	struct run run = { .plan = entry->plan, .sync_fd = entry->sync_fd, .first_fd = 3 + (int)entry->descriptors };

	run.current = op ? plan_index(entry->plan, op) : 0;
	leave_for(&run, entry);
	report_failure(&run);
	_exit(EXIT_OWN_FAILURE);
}
