/* Processes and their rights: tracing, signals, capabilities, programs that give rights. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void need_init(void)
{
	if (!(around.promised & INIT))
		not_here("process 1 is this program's");
}

static void traced(void)
{
	need_init();
	must_fail(ptrace(PTRACE_ATTACH, 1, 0, 0), "attached to process 1");
	must_fail(ptrace(PTRACE_SEIZE, 1, 0, 0), "seized process 1");
}

static void memory_of_init(void)
{
	char byte;
	struct iovec own = { &byte, 1 }, other = { (void *)0x400000, 1 };

	need_init();
	must_fail(process_vm_readv(1, &own, 1, &other, 1, 0), "read the memory of process 1");
	must_fail(process_vm_writev(1, &own, 1, &other, 1, 0), "wrote the memory of process 1");
	must_fail(syscall(SYS_kcmp, getpid(), 1, 0, 0, 0), "compared files with process 1");
	int process = (int)syscall(SYS_pidfd_open, 1, 0);
	if (process >= 0) {
		for (int fd = 0; fd < 16; fd++)
			must_fail(syscall(SYS_pidfd_getfd, process, fd, 0), "took a descriptor of process 1");
		must_fail(syscall(SYS_process_madvise, process, &other, 1, 21, 0), "paged out process 1");
	}
	must_fail(syscall(SYS_move_pages, 1, 0, NULL, NULL, NULL, 0), "moved the pages of process 1");
	must_fail(syscall(SYS_get_robust_list, 1, &own, &other), "read the list of process 1");
}

static void settings_of_init(void)
{
	unsigned long nodes = 1;

	need_init();
	must_fail(setpriority(PRIO_PROCESS, 1, getpriority(PRIO_PROCESS, 1) - 1), "hurried process 1");
	must_fail(syscall(SYS_migrate_pages, 1, 64, &nodes, &nodes), "moved process 1");
}

/* Of the same user, process 1 can be limited, and with it the sandbox be ended: nobody else's. */
static void limits_of_init(void)
{
	struct rlimit few = { 64, 64 };

	need_init();
	must_fail(prlimit(1, RLIMIT_NOFILE, &few, NULL), "limited process 1");
}

/* It is still there afterwards, or nothing of this would be printed. */
static void signals_to_init(void)
{
	need_init();
	for (int number = 1; number <= SIGRTMAX; number++)
		if (number != SIGCHLD)
			kill(1, number);
	usleep(20000);
	if (kill(1, 0) < 0 && errno == ESRCH)
		broke("process 1 has gone");
	char state[2048];
	char *line;
	if (read_file("/proc/1/status", state, sizeof(state)) > 0 && (line = strstr(state, "State:\t")) && strchr("TtZX", line[7]))
		broke("process 1 is in state %c", line[7]);
}

/* The host side sees whether SIGURG arrives. */
static void signals_outside(void)
{
	if (!getpgrp() || !getsid(0))
		broke("the process group is one of outside");
	kill(0, SIGURG);
	kill(-1, SIGURG);
	for (pid_t pid = around.outside - 3; around.outside && pid < around.outside + 4; pid++) {
		if (pid < 64)
			continue;
		siginfo_t about = { .si_code = SI_QUEUE };
		must_fail(kill(pid, SIGURG), "signalled a process outside");
		must_fail(kill(-pid, SIGURG), "signalled a group outside");
		must_fail(syscall(SYS_tgkill, pid, pid, SIGURG), "signalled a thread outside");
		must_fail(syscall(SYS_rt_sigqueueinfo, pid, SIGURG, &about), "queued a signal outside");
		must_fail(syscall(SYS_pidfd_open, pid, 0), "held a process outside");
		must_fail(ptrace(PTRACE_SEIZE, pid, 0, 0), "traced a process outside");
	}
	int process = (int)syscall(SYS_pidfd_open, getppid(), 0);
	if (process >= 0 && getppid() == 0)
		broke("held the monitor");
}

static void by_owner(void)
{
	int ends[2];
	struct { int type; pid_t pid; } owner = { 1, around.outside };

	/* SIGIO for whoever owns a descriptor. */
	if (!around.outside || pipe(ends))
		not_here("nobody is outside");
	if (!fcntl(ends[0], F_SETOWN_EX, &owner))
		broke("a process outside owns a pipe");
}

static void capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		not_here("capget: %s", strerror(errno));
	if (data[0].effective | data[1].effective | data[0].permitted | data[1].permitted | data[0].inheritable)
		broke("capabilities %08x", data[0].permitted);
	for (int capability = 0; capability < 41; capability++) {
		if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1)
			broke("capability %d could be had", capability);
		must_fail(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "an ambient capability");
	}
	data[0].effective = data[0].permitted = data[0].inheritable = 0xffffffff;
	must_fail(syscall(SYS_capset, &header, data), "all capabilities");
}

static void new_privileges(void)
{
	must_fail(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), "new privileges allowed again");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		broke("programs may give rights");
}

/* Programs of the system that give rights, to see what they end up with. */
static void privileged_programs(void)
{
	static const char *const programs[] = { "/usr/bin/su", "/usr/bin/mount", "/usr/bin/newuidmap", "/usr/bin/passwd", "/usr/bin/ping",
		"/usr/bin/chfn", "/usr/bin/sudo", "/usr/bin/fusermount3", "/usr/lib/openssh/ssh-keysign", "/usr/bin/newgrp" };
	int tried = 0;

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		char status[4096];
		siginfo_t about;
		unsigned long long permitted = 0, before = 0;
		unsigned real, effective = geteuid();

		if (access(programs[i], X_OK))
			continue;
		read_file("/proc/self/status", status, sizeof(status));
		sscanf(strstr(status, "CapPrm:"), "CapPrm: %llx", &before);
		pid_t child = fork();
		if (!child) {
			int nothing = open("/dev/null", O_RDWR);

			for (int fd = 0; fd < 3; fd++)
				dup2(nothing, fd);
			execl(programs[i], programs[i], (char *)NULL);
			_exit(99);
		}
		/* A process that has ended keeps its credentials until somebody waits for it. */
		waitid(P_PID, (id_t)child, &about, WEXITED | WNOWAIT);
		snprintf(status, sizeof(status), "/proc/%d/status", child);
		if (read_file(status, status, sizeof(status)) > 0 && strstr(status, "CapPrm:")) {
			sscanf(strstr(status, "Uid:"), "Uid: %u %u", &real, &effective);
			sscanf(strstr(status, "CapPrm:"), "CapPrm: %llx", &permitted);
			tried += about.si_status != 99;
		}
		waitpid(child, NULL, 0);
		if (effective != geteuid() || (permitted & ~before))
			broke("%s ran as %u with capabilities %llx", programs[i], effective, permitted);
	}
	if (!tried)
		not_here("no such program is shown");
}

/* A program that is no file, with a mode that would give rights. */
static void program_in_memory(void)
{
	char line[128];
	int memory = memfd_create("hostile", 0), own = open(around.program, O_RDONLY | O_CLOEXEC), ends[2];
	struct stat about;

	if (own < 0 || fstat(own, &about) || memory < 0 || pipe(ends))
		not_here("%s: %s", around.program, strerror(errno));
	for (off_t left = about.st_size; left > 0;) {
		ssize_t copied = sendfile(memory, own, NULL, (size_t)left);
		if (copied <= 0)
			not_here("sendfile: %s", strerror(errno));
		left -= copied;
	}
	fchmod(memory, 06755);
	pid_t child = fork();
	if (!child) {
		dup2(ends[1], 1);
		execveat(memory, "", (char *[]){ "hostile", "capabilities", "promise=powerless", NULL }, (char *[]){ NULL }, AT_EMPTY_PATH);
		_exit(1);
	}
	close(ends[1]);
	ssize_t got = read(ends[0], line, sizeof(line) - 1);
	waitpid(child, NULL, 0);
	if (got > 0) {
		line[got] = 0;
		if (strstr(line, "BROKE"))
			broke("%s", line);
	}
}

static void filter_loosened(void)
{
	must_fail(prctl(PR_SET_SECCOMP, SECCOMP_MODE_DISABLED, 0, 0, 0), "switched the filter off");
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		broke("there is no filter");
}

#ifdef __x86_64__
/* A tracer changes a harmless call into one that is refused. */
static void filter_by_tracing(void)
{
	struct user_regs_struct registers;
	int status;
	pid_t child = fork();

	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(98);
		raise(SIGSTOP);
		/* The number of a harmless call; what is asked for stands in its arguments. */
		_exit(syscall(SYS_getppid, CLONE_NEWUSER, 0, 0) == 0 ? 77 : 0);
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status))
		return;
	for (int stops = 0; stops < 64; stops++) {
		if (ptrace(PTRACE_SYSCALL, child, 0, 0) || waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
			break;
		if (!ptrace(PTRACE_GETREGS, child, 0, &registers) && registers.orig_rax == SYS_getppid) {
			registers.orig_rax = SYS_unshare;
			ptrace(PTRACE_SETREGS, child, 0, &registers);
		}
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		broke("a traced process made a namespace");
}
#else
static void filter_by_tracing(void) { not_here("written for x86-64"); }
#endif

static void hurried(void)
{
	struct sched_param soon = { .sched_priority = 50 };
	struct rlimit limit;

	/* Some hosts give these to their users. */
	if (!getrlimit(RLIMIT_NICE, &limit) && !limit.rlim_cur)
		must_fail(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 1), "hurried itself");
	if (!getrlimit(RLIMIT_RTPRIO, &limit) && !limit.rlim_cur) {
		must_fail(sched_setscheduler(0, SCHED_FIFO, &soon), "real-time priority");
		must_fail(sched_setscheduler(0, SCHED_RR, &soon), "real-time priority");
	}
	for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
		getrlimit((__rlimit_resource_t)resource, &limit);
		if (limit.rlim_max == RLIM_INFINITY)
			continue;
		limit.rlim_max++;
		must_fail(setrlimit((__rlimit_resource_t)resource, &limit), "raised a hard limit");
	}
}

static void exhausted_descriptors(void)
{
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	for (int fd = 100; fd < 1 << 20 && close(fd) == 0; fd++)
		;
}

const struct attack process_attacks[] = {
	{ "trace-init", ALWAYS, traced },
	{ "memory-of-init", ALWAYS, memory_of_init },
	{ "settings-of-init", ALWAYS, settings_of_init },
	{ "limits-of-init", NEVER, limits_of_init },
	{ "signals-outside", ALWAYS, signals_outside },
	{ "signals-by-owner", ALWAYS, by_owner },
	{ "capabilities", POWERLESS, capabilities },
	{ "new-privileges", POWERLESS, new_privileges },
	{ "privileged-programs", ALWAYS, privileged_programs },
	{ "program-in-memory", POWERLESS, program_in_memory },
	{ "filter-loosened", FILTER, filter_loosened },
	{ "filter-by-tracing", NESTED, filter_by_tracing },
	{ "hurried", ALWAYS, hurried },
	{ "descriptors-exhausted", ALWAYS, exhausted_descriptors },
	{ "signals-to-init", ALWAYS, signals_to_init },
	{ 0 },
};
