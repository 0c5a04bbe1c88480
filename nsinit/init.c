/* The first process of the sandbox: executes the plan's operations in order, then either
 * becomes the command or stays as process 1.
 *
 * It runs from a copy of our own image that nobody can write (see self_image() in enter.c),
 * so that /proc/1/exe and `#!/proc/self/exe` lead nowhere (runc CVE-2019-5736). */
#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exit.h"
#include "run.h"
#include "sys.h"

#define PROC_ROOT_INODE 1

int refuse_with(struct run *run, int error, const char *call, const char *subject)
{
	run->failure = (struct failure){ call, subject, error };
	errno = error;
	return -1;
}

int refuse(struct run *run, const char *call, const char *subject)
{
	return refuse_with(run, errno, call, subject);
}

void report_failure(const struct run *run)
{
	struct sync_message message = {
		.type = SYNC_FAILURE,
		.number = (uint32_t)run->failure.error,
		.failed_index = run->current,
	};

	strncpy(message.call, run->failure.call, sizeof(message.call) - 1);
	strncpy(message.subject, run->failure.subject, sizeof(message.subject) - 1);
	if (run->sync_fd < 0)
		return;
	sync_send(run->sync_fd, &message);
}

/* Everything that is needed of the host's tree later, opened while it is still there. */
int init_open_host(struct run *run)
{
	struct statfs filesystem;
	struct stat status;

	run->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (run->proc_fd < 0 || fstatfs(run->proc_fd, &filesystem) < 0 || fstat(run->proc_fd, &status) < 0)
		return refuse(run, "open", "/proc");
	if (filesystem.f_type != PROC_SUPER_MAGIC || status.st_ino != PROC_ROOT_INODE)
		return refuse_with(run, ENODEV, "fstatfs", "/proc");
	run->null_fd = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (run->null_fd < 0 || fstat(run->null_fd, &status) < 0)
		return refuse(run, "open", "/dev/null");
	if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3))
		return refuse_with(run, ENODEV, "fstat", "/dev/null");
	return 0;
}

/* A refusal may pass; a lack (of memory, of descriptors) never does: it would show what was to be covered. */
static bool is_refusal(int error)
{
	return error == EPERM || error == EACCES || error == EROFS || error == EXDEV || error == ENODEV || error == ENOENT;
}

static bool tolerated(const struct plan_op *op, int error)
{
	if (op->flags & PLAN_MAY_FAIL && is_refusal(error))
		return true;
	if (op->flags & PLAN_UNLESS_PRESENT && error == EEXIST)
		return true;
	return op->flags & PLAN_IF_PRESENT && (error == ENOENT || error == ENOTDIR);
}

static int execute(struct run *run)
{
	bool failed = false;

	run->current = 0;
	for (const struct plan_op *op = plan_next(run->plan, NULL); op; op = plan_next(run->plan, op), run->current++) {
		enum plan_stage stage = plan_schemas[op->code].stage;

		if (stage < STAGE_INIT || (run->joining && stage != STAGE_PROCESS) || (op->flags & PLAN_OTHERWISE && !failed) ||
		    (op->flags & PLAN_JOINED && !run->joining) || (op->code == OP_SET_OOM_SCORE && run->has_oom_score))
			continue;
		failed = plan_dispatch(run, op) < 0;
		if (failed && !tolerated(op, run->failure.error))
			return -1;
	}
	return 0;
}

static void pass_on(pid_t child, const struct sync_message *wanted)
{
	/* All that we see but ourselves. */
	if (wanted->flag == TO_ALL && kill(-1, (int)wanted->number) == 0)
		return;
	/* A child that leads no group yet holds the signal back until it is the command. */
	if (wanted->flag == TO_COMMAND || kill(-child, (int)wanted->number) < 0)
		kill(child, (int)wanted->number);
}

_Noreturn void reap(struct run *run, pid_t child, int children_fd)
{
	struct sync_message message = { 0 };
	bool held = false;

	close(run->root_fd);
	close(run->proc_fd);
	close(run->null_fd);
	if (run->slave_fd >= 0)
		close(run->slave_fd);
	if (run->start_fd >= 0)
		close(run->start_fd);
	/* A pipe of the command's ends when the command closes it. */
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	struct pollfd events[] = { { .fd = run->sync_fd, .events = POLLIN }, { .fd = children_fd, .events = POLLIN } };

	for (;;) {
		struct signalfd_siginfo ignored;
		int status;
		pid_t pid;

		while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
			/* The monitor has not to hear of what it has asked for. */
			if (pid != child || (WIFSTOPPED(status) && held))
				continue;
			message.type = WIFSTOPPED(status) ? SYNC_STOPPED : SYNC_EXIT;
			message.number = (uint32_t)status;
			sync_send(run->sync_fd, &message);
			if (message.type == SYNC_EXIT)
				_exit(0); /* and the kernel ends whatever is left inside */
		}
		if (poll(events, 2, -1) < 0 && errno != EINTR)
			_exit(EXIT_OWN_FAILURE);
		if (read(children_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
			_exit(EXIT_OWN_FAILURE);
		if (!events[0].revents)
			continue;
		struct sync_message wanted;
		if (sync_receive(run->sync_fd, &wanted, NULL) <= 0)
			_exit(EXIT_OWN_FAILURE); /* without a monitor nothing stays */
		if (wanted.type != SYNC_SIGNAL)
			continue;
		held = wanted.number == SIGSTOP || (held && wanted.number != SIGCONT);
		pass_on(child, &wanted);
	}
}

static void restore_signals(uint64_t mask)
{
	sigset_t set;

	sigemptyset(&set);
	for (int number = 1; number <= 64; number++)
		if (mask >> (number - 1) & 1)
			sigaddset(&set, number);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

/* execvp(3) without what the libcs do differently: no default path, no shell for a file without `#!`. */
static void execute_command(char *const argv[])
{
	char path[PATH_MAX];
	const char *directory = getenv("PATH");
	int error = ENOENT;

	if (strchr(argv[0], '/') || !argv[0][0]) {
		execve(argv[0], argv, environ);
		return;
	}
	while (directory) {
		const char *end = strchrnul(directory, ':');
		int length = snprintf(path, sizeof(path), "%.*s%s%s", (int)(end - directory), directory,
				      end > directory ? "/" : "./", argv[0]);

		if (length > 0 && (size_t)length < sizeof(path)) {
			execve(path, argv, environ);
			if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
				return;
			if (errno == EACCES) /* unless another directory has one that can be executed */
				error = EACCES;
		}
		directory = *end ? end + 1 : NULL;
	}
	errno = error;
}

/* Become the command; returns only if that failed. */
static void become(struct run *run, char *const argv[])
{
	struct sync_message ready = { .type = SYNC_READY };

	umask(run->umask);
	/* As from runc and crun: what an engine ignores, or systemd for it, is no matter of the container's. */
	for (int number = 1; *run->id && number <= 64; number++)
		signal(number, SIG_DFL);
	restore_signals(run->hello.signal_mask);
	if (sync_send(run->sync_fd, &ready) < 0) {
		refuse(run, "sendmsg", "ready");
		return;
	}
	execute_command(argv);
	refuse(run, "exec", argv[0]);
}

/* The arguments: our name, the number of the first of our descriptors, the container's id, the command. */
void init_run(struct run *run, char *const argv[])
{
	*run = (struct run){
		.root_fd = -1, .proc_fd = -1, .null_fd = -1, .slave_fd = -1, .gate_fd = -1, .start_fd = -1,
		.failure = { "plan", "", EBADMSG },
	};
	if (!argv[0] || !argv[1] || !argv[2] || !argv[3])
		_exit(EXIT_OWN_FAILURE);
	run->first_fd = atoi(argv[1]);
	run->id = argv[2];
	run->command = argv[3];
	run->sync_fd = run->first_fd + INIT_SYNC_FD;
	if (run->first_fd < 3 || sys_close_on_exec_from((unsigned int)run->first_fd) < 0)
		_exit(EXIT_OWN_FAILURE);
}

void init_await_hello(struct run *run)
{
	if (sync_receive(run->sync_fd, &run->hello, NULL) <= 0 || run->hello.type != SYNC_HELLO)
		_exit(EXIT_OWN_FAILURE); /* the monitor is gone */
}

/* Report the failure, and return the status to end with. */
int init_fail(const struct run *run)
{
	report_failure(run);
	if (strcmp(run->failure.call, "exec") != 0)
		return EXIT_OWN_FAILURE;
	return exec_exit_status(run->failure.error);
}

/* Hand out one end of a pipe, whose other one the command's exec closes: an exec that fails says so before.  Made here, as
 * limits and filter are those of the command later. */
static int tell_start(struct run *run)
{
	struct sync_message starting = { .type = SYNC_STARTING };
	int ends[2];

	if (!(run->hello.options & SYNC_TELL_START))
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return refuse(run, "pipe2", "");
	run->start_fd = ends[1];
	int sent = sync_send_fd(run->sync_fd, &starting, ends[0]);
	close(ends[0]);
	return sent < 0 ? refuse(run, "sendmsg", "starting") : 0;
}

/* A cgroup namespace shows as its root the cgroup that its maker is in: with a scope that is the right one from HELLO on. */
uint64_t init_late_namespaces(const struct plan *plan)
{
	const struct plan_isolate *isolate = (const struct plan_isolate *)plan_find(plan, OP_ISOLATE);

	return isolate && plan_find(plan, OP_SCOPE) ? isolate->flags & CLONE_NEWCGROUP : 0;
}

static int leave_cgroups(struct run *run)
{
	const struct plan_op *scope = plan_find(run->plan, OP_SCOPE);

	if (run->joining || !init_late_namespaces(run->plan))
		return 0;
	run->current = plan_index(run->plan, scope);
	return unshare(CLONE_NEWCGROUP) < 0 ? refuse(run, "unshare", "") : 0;
}

/* From the host's word on: carry the plan out, and become the command.  Returns only if that failed. */
int init_proceed(struct run *run, char *const argv[])
{
	int error = 0;

	run->umask = umask(0); /* the modes in the plan are meant as they stand */
	if (run->hello.options & SYNC_GATE)
		run->gate_fd = run->first_fd + INIT_GATE_FD;
	if (run->joining) { /* the root is the container's already */
		run->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (run->root_fd < 0)
			error = refuse(run, "open", "/");
	}
	if (error == 0)
		error = tell_start(run);
	if (error == 0)
		error = leave_cgroups(run);
	if (error == 0)
		error = execute(run);
	if (error == 0)
		become(run, argv + 3);
	return init_fail(run);
}

int init_main(char *const argv[])
{
	struct plan plan;
	struct run run;
	int error;

	init_run(&run, argv);
	run.plan = &plan;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
		refuse(&run, "PR_SET_PDEATHSIG", "");
		return init_fail(&run);
	}
	init_await_hello(&run);
	error = plan_read(&plan, run.first_fd + INIT_PLAN_FD) < 0 ? refuse(&run, "plan", "") : 0;
	if (error == 0) {
		close(run.first_fd + INIT_PLAN_FD);
		error = init_open_host(&run);
	}
	return error == 0 ? init_proceed(&run, argv) : init_fail(&run);
}
