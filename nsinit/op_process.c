/* Who the command is: credentials, label, keyring, and process 1 beside it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
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
	/* From here on a process of the same user inside may have no fewer rights, and would take our descriptors of the
	 * host's (CVE-2016-9962).  The command's exec undoes it. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_DUMPABLE", "");
	/* Changed credentials have cleared it, others have not. */
	const bool stays = run->joining && run->hello.options & SYNC_OUTLIVES;
	if ((getpid() == 1 || run->joining) && prctl(PR_SET_PDEATHSIG, stays ? 0 : SIGKILL, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_PDEATHSIG", "");
	return 0;
}

/* Let the command's exec give it the label: by the kernel's own procfs, whatever the image shows as /proc (runc
 * CVE-2019-19921, CVE-2023-28642, CVE-2025-52881). */
int op_set_label(struct run *run, const struct plan_set_label *op)
{
	const char *value = plan_text(run->plan, op->value);
	const bool apparmor = op->kind == LABEL_APPARMOR;
	const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
	char command[PATH_MAX];

	/* The file that is AppArmor's own is newer than the one that it shares. */
	int opened = apparmor ? sys_openat2(run->proc_fd, "self/attr/apparmor/exec", O_WRONLY, resolve) : -1;
	if (!apparmor || (opened < 0 && errno == ENOENT))
		opened = sys_openat2(run->proc_fd, "self/attr/exec", O_WRONLY, resolve);
	cleanup_fd int fd = opened;
	if (fd < 0)
		return refuse(run, "openat2", "/proc/self/attr/exec");
	int length = snprintf(command, sizeof(command), "%s%s", apparmor ? "exec " : "", value);
	if (length < 0 || (size_t)length >= sizeof(command))
		return refuse_with(run, ENAMETOOLONG, "write", value);
	if (write(fd, command, (size_t)length) < 0)
		return refuse(run, "write", value);
	return 0;
}

/* --- keyring ---------------------------------------------------------------------------------------- */

/* What the keyring's owner, or in a user namespace anybody, may do with it: look for it, keyctl_setperm(3). */
enum { KEY_USER_SEARCH = 0x00080000, KEY_OTHER_SEARCH = 0x00000008 };

static bool in_user_namespace(const struct plan *plan)
{
	for (const struct plan_op *op = plan_next(plan, NULL); op; op = plan_next(plan, op))
		if (op->code == OP_MAP_IDS ||
		    (op->code == OP_JOIN_NAMESPACE && ((const struct plan_join_namespace *)op)->flag == CLONE_NEWUSER))
			return true;
	return false;
}

static int let_search(struct run *run, long keyring)
{
	char description[512];
	unsigned int permissions;

	long size = syscall(SYS_keyctl, KEYCTL_DESCRIBE, keyring, description, sizeof(description));
	if (size < 0)
		return refuse(run, "KEYCTL_DESCRIBE", "");
	/* type;uid;gid;permissions;description */
	if ((size_t)size > sizeof(description) || sscanf(description, "%*[^;];%*d;%*d;%x;", &permissions) != 1)
		return refuse_with(run, EBADMSG, "KEYCTL_DESCRIBE", "");
	permissions |= in_user_namespace(run->plan) ? KEY_OTHER_SEARCH : KEY_USER_SEARCH;
	if (syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, permissions) < 0)
		return refuse(run, "KEYCTL_SETPERM", "");
	return 0;
}

/* A kernel without keyrings has none of the caller's to keep from the container. */
int op_join_keyring(struct run *run, const struct plan_join_keyring *op)
{
	char name[512];

	(void)op;
	if (run->hello.options & SYNC_KEEP_KEYRING)
		return 0;
	snprintf(name, sizeof(name), "_ses.%s", run->id);
	const struct timespec pause = { .tv_nsec = 20000000 };
	long keyring = -1;
	/* The kernel takes its time to collect the keyrings of those that have ended, which count until then. */
	for (int tries = 0; tries < 250; tries++) {
		keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
		if (keyring >= 0 || errno != EDQUOT)
			break;
		nanosleep(&pause, NULL);
	}
	if (keyring < 0)
		return errno == ENOSYS ? 0 : refuse(run, "KEYCTL_JOIN_SESSION_KEYRING", "");
	/* A process that joins finds what the first has made. */
	return run->joining ? 0 : let_search(run, keyring);
}

/* Process 1 leads the session, so that the command can be stopped from the terminal: a group whose parents are all
 * outside of its session never is, setpgid(2). */
static int lead_group(struct run *run)
{
	sigset_t output, before;
	int result = 0;

	if (setpgid(0, 0) < 0)
		return refuse(run, "setpgid", "");
	if (run->slave_fd < 0 || !(run->hello.number & 1))
		return 0;
	/* From the background that would stop us. */
	sigemptyset(&output);
	sigaddset(&output, SIGTTOU);
	sigprocmask(SIG_BLOCK, &output, &before);
	if (tcsetpgrp(run->slave_fd, getpid()) < 0)
		result = refuse(run, "tcsetpgrp", "");
	sigprocmask(SIG_SETMASK, &before, NULL);
	return result;
}

int op_reaper(struct run *run, const struct plan_reaper *op)
{
	sigset_t children;

	(void)op;
	/* Nobody inside traces process 1 or opens its files, unless with CAP_SYS_PTRACE in the sandbox's namespace. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_DUMPABLE", "");
	/* Before there is a command, so that it can still be refused; the command gets the caller's mask. */
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	cleanup_fd int children_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (children_fd < 0)
		return refuse(run, "signalfd", "");
	pid_t child = fork();
	if (child < 0)
		return refuse(run, "fork", "");
	if (child > 0)
		reap(run, child, children_fd);
	return lead_group(run);
}

