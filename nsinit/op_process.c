/* What the command is: credentials, session, limits, filter. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

static int drop_bounding(struct run *run, uint64_t keep)
{
	for (unsigned int capability = 0; capability < 64; capability++) {
		if (keep >> capability & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* the kernel knows no more */
				return 0;
			return refuse(run, "PR_CAPBSET_DROP", "");
		}
	}
	return 0;
}

static int set_capabilities(struct run *run, const struct plan_credentials *op)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];

	for (int word = 0; word < 2; word++)
		sets[word] = (struct __user_cap_data_struct){
			.effective = (uint32_t)(op->effective >> (32 * word)),
			.permitted = (uint32_t)(op->permitted >> (32 * word)),
			.inheritable = (uint32_t)(op->inheritable >> (32 * word)),
		};
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return refuse(run, "PR_CAP_AMBIENT", "");
	if (syscall(SYS_capset, &header, sets) < 0)
		return refuse(run, "capset", "");
	for (unsigned int capability = 0; capability < 64; capability++)
		if (op->ambient >> capability & 1 &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
			return refuse(run, "PR_CAP_AMBIENT", "");
	return 0;
}

int op_credentials(struct run *run, const struct plan_credentials *op)
{
	if (drop_bounding(run, op->bounding) < 0)
		return -1;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_KEEPCAPS", "");
	/* The bare calls: libc's would look for threads to tell. */
	if (op->set_groups &&
	    syscall(SYS_setgroups, op->groups.size / sizeof(gid_t), plan_blob(run->plan, op->groups)) < 0 &&
	    (op->set_groups == 1 || errno != EPERM))
		return refuse(run, "setgroups", "");
	if (syscall(SYS_setresgid, op->gid, op->gid, op->gid) < 0)
		return refuse(run, "setresgid", "");
	if (syscall(SYS_setresuid, op->uid, op->uid, op->uid) < 0)
		return refuse(run, "setresuid", "");
	if (set_capabilities(run, op) < 0)
		return -1;
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	if (op->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_NO_NEW_PRIVS", "");
	/* Changed credentials have cleared it. */
	if (getpid() == 1 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_PDEATHSIG", "");
	return 0;
}

int op_open_terminal(struct run *run, const struct plan_open_terminal *op)
{
	struct sync_message message = { .type = SYNC_TERMINAL };
	struct stat status;
	int unlocked = 0;

	(void)op;
	if (!run->hello.number)
		return 0;
	cleanup_fd int master_fd = open_below(run, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
	if (master_fd < 0 || fstat(master_fd, &status) < 0)
		return refuse(run, "openat2", "/dev/pts/ptmx");
	if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(5, 2))
		return refuse_with(run, ENODEV, "fstat", "/dev/pts/ptmx");
	if (ioctl(master_fd, TIOCSPTLCK, &unlocked) < 0)
		return refuse(run, "TIOCSPTLCK", "/dev/pts/ptmx");
	/* By the master, not by the name: the slave of this very instance. */
	run->slave_fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (run->slave_fd < 0)
		return refuse(run, "TIOCGPTPEER", "/dev/pts/ptmx");
	if (run->hello.flag && (tcsetattr(run->slave_fd, TCSANOW, &run->hello.terminal) < 0 ||
				ioctl(master_fd, TIOCSWINSZ, &run->hello.window) < 0))
		return refuse(run, "tcsetattr", "/dev/pts/ptmx");
	if (sync_send_fd(run->sync_fd, &message, master_fd) < 0)
		return refuse(run, "sendmsg", "terminal");
	return 0;
}

int op_reaper(struct run *run, const struct plan_reaper *op)
{
	(void)op;
	/* Nobody inside traces process 1 or opens its files, unless with CAP_SYS_PTRACE in the sandbox's namespace. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_DUMPABLE", "");
	pid_t child = fork();
	if (child < 0)
		return refuse(run, "fork", "");
	if (child > 0)
		reap(run, child);
	return 0;
}

int op_new_session(struct run *run, const struct plan_new_session *op)
{
	(void)op;
	if (setsid() < 0)
		return refuse(run, "setsid", "");
	if (run->slave_fd < 0)
		return 0;
	/* Where nobody types into it, a password prompt must fail rather than wait: then it is no controlling terminal. */
	if (run->hello.number & 1 && ioctl(run->slave_fd, TIOCSCTTY, 0) < 0)
		return refuse(run, "TIOCSCTTY", "");
	for (int fd = 0; fd < 3; fd++)
		if (run->hello.number >> fd & 1 && dup2(run->slave_fd, fd) < 0)
			return refuse(run, "dup2", "");
	return 0;
}

int op_set_rlimit(struct run *run, const struct plan_set_rlimit *op)
{
	struct rlimit limit = { .rlim_cur = op->soft, .rlim_max = op->hard };

	return setrlimit(op->resource, &limit) < 0 ? refuse(run, "setrlimit", "") : 0;
}

int op_set_umask(struct run *run, const struct plan_set_umask *op)
{
	run->umask = op->mask & 0777;
	return 0;
}

int op_set_nice(struct run *run, const struct plan_set_nice *op)
{
	return setpriority(PRIO_PROCESS, 0, (int)op->value) < 0 ? refuse(run, "setpriority", "") : 0;
}

int op_set_oom_score(struct run *run, const struct plan_set_oom_score *op)
{
	char text[16];
	cleanup_fd int fd = sys_openat2(run->proc_fd, "self/oom_score_adj", O_WRONLY,
					RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);

	if (fd < 0)
		return refuse(run, "openat2", "/proc/self/oom_score_adj");
	int length = snprintf(text, sizeof(text), "%d", (int)op->value);
	if (write(fd, text, (size_t)length) < 0)
		return refuse(run, "write", "/proc/self/oom_score_adj");
	return 0;
}

/* A directory that we were left in from outside shows as "(unreachable)…" (runc CVE-2024-21626). */
int op_working_directory(struct run *run, const struct plan_working_directory *op)
{
	const char *path = plan_text(run->plan, op->path);
	char where[PATH_MAX];

	if (op->again && run->arrived)
		return 0;
	if (chdir(path) < 0)
		return refuse(run, "chdir", path);
	if (syscall(SYS_getcwd, where, sizeof(where)) < 0)
		return refuse(run, "getcwd", path);
	if (where[0] != '/')
		return refuse_with(run, ENOENT, "getcwd", path);
	run->arrived = true;
	return 0;
}

int op_seccomp_filter(struct run *run, const struct plan_seccomp_filter *op)
{
	struct sock_fprog program = {
		.len = (unsigned short)(op->program.size / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(uintptr_t)plan_blob(run->plan, op->program),
	};

	if (op->program.size % sizeof(struct sock_filter) || op->program.size / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return refuse_with(run, EINVAL, "seccomp", "");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, op->flags, &program) < 0)
		return refuse(run, "seccomp", "");
	return 0;
}
