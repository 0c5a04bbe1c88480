/* The host's side of a run: makes the namespaces, passes bytes and signals, waits.  It stays as
 * long as the sandbox does, and the sandbox no longer than it. */
#define _GNU_SOURCE
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter.h"
#include "environment.h"
#include "idmap.h"
#include "python.h"
#include "relay.h"
#include "state.h"
#include "sync.h"
#include "sys.h"

struct monitor {
	const struct plan *plan;
	int plan_fd;
	int sync_fd; /* owned */
	int signals_fd; /* owned */
	pid_t init; /* our child, to be waited for */
	struct relay relay;
	struct registration registration;
	bool ready; /* the command's exec was tried */
	bool exited; /* `status` was reported */
	bool failed; /* `failure` was reported */
	int status;
	struct sync_message failure;
};

static void fail(struct monitor *monitor, enum plan_opcode code, const char *call, const char *subject)
{
	int error = errno;
	const struct plan_op *op = plan_find(monitor->plan, code);

	monitor->failed = true;
	monitor->failure = (struct sync_message){ .number = (uint32_t)error };
	monitor->failure.failed_index = op ? plan_index(monitor->plan, op) : 0;
	strncpy(monitor->failure.call, call, sizeof(monitor->failure.call) - 1);
	strncpy(monitor->failure.subject, subject, sizeof(monitor->failure.subject) - 1);
}

static void print_notices(const struct plan *plan)
{
	for (const struct plan_op *op = plan_next(plan, NULL); op; op = plan_next(plan, op))
		if (op->code == OP_NOTICE)
			dprintf(2, "sandbox: %s\n", plan_text(plan, ((const struct plan_notice *)op)->text));
}

/* --- start ---------------------------------------------------------------------------------------- */

/* All signals arrive by descriptor.  Those that a fault of ours raises keep their way, and those that stop who
 * touches the terminal from the background: to wait for them would be to touch it again and again. */
static int take_signals(sigset_t *before)
{
	static const int left[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTTIN, SIGTTOU };
	sigset_t taken;

	sigfillset(&taken);
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		sigdelset(&taken, left[i]);
	sigprocmask(SIG_BLOCK, &taken, before);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would take the status of our child from us */
	return signalfd(-1, &taken, SFD_CLOEXEC);
}

static void say_hello(struct monitor *monitor, const sigset_t *mask)
{
	struct sync_message hello = { .type = SYNC_HELLO };

	for (int number = 1; number <= 64; number++)
		if (sigismember(mask, number) == 1)
			hello.signal_mask |= 1ull << (number - 1);
	relay_describe(&monitor->relay, &hello);
	sync_send(monitor->sync_fd, &hello); /* a process that is gone already is noticed by its EOF */
}

static void register_sandbox(struct monitor *monitor)
{
	const struct plan_register *op = (const struct plan_register *)plan_find(monitor->plan, OP_REGISTER);

	if (!op)
		return;
	const char *directory = plan_text(monitor->plan, op->directory), *id = plan_text(monitor->plan, op->id);
	switch (state_register(&monitor->registration, directory, id)) {
	case STATE_OK:
		return;
	case STATE_IN_USE:
		errno = EEXIST;
		fail(monitor, OP_REGISTER, "flock", id);
		break;
	case STATE_FAILED:
		fail(monitor, OP_REGISTER, "mkdir", directory);
		break;
	}
	/* Not ours to remove. */
	close_fd(&monitor->registration.fd);
	monitor->registration.fd = -1;
}

static void start(struct monitor *monitor, char *const command[])
{
	const struct plan_isolate *isolate = (const struct plan_isolate *)plan_find(monitor->plan, OP_ISOLATE);
	const char *call, *subject;
	int pair[2];
	sigset_t mask;
	size_t count = 0;

	monitor->signals_fd = take_signals(&mask);
	if (monitor->signals_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		fail(monitor, OP_ISOLATE, "socketpair", "");
		return;
	}
	monitor->sync_fd = pair[0];
	while (command[count])
		count++;
	char **argv = calloc(count + 2, sizeof(*argv)), **envp = command_environment(monitor->plan);
	struct entry entry = {
		.plan = monitor->plan, .plan_fd = monitor->plan_fd, .sync_fd = pair[1], .argv = argv, .envp = envp,
		.relay = &monitor->relay,
	};
	if (!argv || !envp || !isolate) {
		errno = isolate ? ENOMEM : EBADMSG;
		fail(monitor, OP_ISOLATE, "plan", "");
		return;
	}
	argv[0] = (char *)(uintptr_t)"sandbox-init";
	memcpy(argv + 1, command, count * sizeof(*argv));
	monitor->init = sys_clone(isolate->flags);
	if (monitor->init == 0)
		enter_sandbox(&entry);
	if (monitor->init < 0)
		fail(monitor, OP_ISOLATE, "clone3", "");
	close(pair[1]);
	close_fd(&monitor->relay.pipe_fd);
	monitor->relay.pipe_fd = -1;
	free(envp);
	free(argv);
	if (monitor->failed)
		return;
	if (map_ids(monitor->plan, monitor->init, monitor->sync_fd, &call, &subject) < 0) {
		fail(monitor, OP_MAP_IDS, call, subject);
		return;
	}
	say_hello(monitor, &mask);
	if (monitor->registration.fd >= 0 && state_record(&monitor->registration, monitor->init) < 0)
		fail(monitor, OP_REGISTER, "write", "pid");
}

/* --- while it runs ---------------------------------------------------------------------------------- */

static void send_signal(struct monitor *monitor, uint32_t number, bool to_group)
{
	struct sync_message message = { .type = SYNC_SIGNAL, .number = number, .flag = to_group };

	if (plan_find(monitor->plan, OP_REAPER))
		sync_send(monitor->sync_fd, &message);
	else
		kill(monitor->init, (int)number);
}

/* The shell's stop and go: the sandbox stops with us, and the terminal is the shell's meanwhile. */
static void stop(struct monitor *monitor)
{
	send_signal(monitor, SIGSTOP, true);
	relay_restore(&monitor->relay);
	raise(SIGSTOP);
}

static void pass_signal(struct monitor *monitor)
{
	struct signalfd_siginfo info;

	if (read(monitor->signals_fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		break;
	case SIGTSTP:
		stop(monitor);
		break;
	case SIGCONT:
		relay_resume(&monitor->relay);
		send_signal(monitor, SIGCONT, true);
		break;
	case SIGWINCH:
		if (monitor->relay.replaced)
			relay_window(&monitor->relay);
		else
			send_signal(monitor, SIGWINCH, false);
		break;
	default:
		relay_hurry(&monitor->relay, info.ssi_signo);
		/* The terminal signals a whole process group: the command's is another one. */
		send_signal(monitor, info.ssi_signo, info.ssi_code == SI_KERNEL);
	}
}

/* A pipe of the command's ends when the command closes it, not only when we end. */
static void release_streams(const struct relay *relay)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 2 && null_fd >= 0; fd++)
		if (!((relay->replaced | relay->piped) >> fd & 1))
			dup2(null_fd, fd);
}

/* false: the other end is gone. */
static bool take_message(struct monitor *monitor)
{
	struct sync_message message;
	int fd = -1;

	if (sync_receive(monitor->sync_fd, &message, &fd) <= 0)
		return false;
	switch ((enum sync_type)message.type) {
	case SYNC_TERMINAL:
		if (monitor->relay.replaced && monitor->relay.master_fd < 0 && fd >= 0 && isatty(fd)) {
			relay_start(&monitor->relay, fd);
			fd = -1;
		}
		break;
	case SYNC_READY:
		monitor->ready = true;
		release_streams(&monitor->relay);
		break;
	case SYNC_FAILURE:
		monitor->failed = true;
		monitor->failure = message;
		break;
	case SYNC_EXIT:
		monitor->exited = true;
		monitor->status = (int)message.number;
		break;
	case SYNC_HELLO:
	case SYNC_MAPPED:
	case SYNC_SIGNAL:
		break;
	}
	close_fd(&fd);
	return true;
}

/* Until the sandbox has ended or, where the command is process 1, until that has. */
static void attend(struct monitor *monitor)
{
	enum { SIGNALS, SYNC, RELAY, EVENTS = RELAY + RELAY_EVENTS };
	bool has_reaper = plan_find(monitor->plan, OP_REAPER);
	struct pollfd events[EVENTS] = {
		[SIGNALS] = { .fd = monitor->signals_fd, .events = POLLIN },
		[SYNC] = { .fd = monitor->sync_fd, .events = POLLIN },
	};

	for (;;) {
		relay_events(&monitor->relay, &events[RELAY]);
		if (poll(events, EVENTS, relay_waits(&monitor->relay) ? RELAY_LOOK_MS : -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		relay_resume(&monitor->relay);
		relay_pass(&monitor->relay, &events[RELAY]);
		if (events[SIGNALS].revents) {
			pass_signal(monitor);
			siginfo_t info = { 0 };
			if (!has_reaper && !waitid(P_PID, (id_t)monitor->init, &info, WEXITED | WNOHANG | WNOWAIT) &&
			    info.si_pid)
				return;
		}
		if (events[SYNC].revents && !take_message(monitor)) {
			if (has_reaper || !monitor->ready)
				return;
			events[SYNC].fd = -1; /* it has become the command */
		}
	}
}

static void finish(struct monitor *monitor)
{
	int status = 0;

	if (monitor->init > 0) {
		if (monitor->failed)
			kill(monitor->init, SIGKILL);
		while (waitpid(monitor->init, &status, 0) < 0 && errno == EINTR)
			;
		while (take_message(monitor))
			;
	}
	relay_drain(&monitor->relay, monitor->signals_fd);
	relay_restore(&monitor->relay);
	state_remove(&monitor->registration);
	if (monitor->exited || monitor->failed)
		return;
	if (monitor->ready && !plan_find(monitor->plan, OP_REAPER)) {
		monitor->exited = true;
		monitor->status = status;
		return;
	}
	/* An end without a report is never a success. */
	errno = 0;
	fail(monitor, OP_ISOLATE, "init", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exited");
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A shell goes on with its script or loop after a command that ends with 130, and stops after one that died of the
 * interrupt: at a terminal it means the same here. */
static void end_as_interrupted(const struct monitor *monitor)
{
	sigset_t interrupt;

	if (!WIFSIGNALED(monitor->status) || WTERMSIG(monitor->status) != SIGINT || monitor->relay.terminal < 0)
		return;
	signal(SIGINT, SIG_DFL);
	raise(SIGINT);
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_UNBLOCK, &interrupt, NULL);
}

int monitor_run(const struct plan *plan, int plan_fd, const char *self, char *const command[])
{
	const struct plan_terminal *terminal = (const struct plan_terminal *)plan_find(plan, OP_TERMINAL);
	struct monitor monitor = {
		.plan = plan, .plan_fd = plan_fd, .sync_fd = -1, .signals_fd = -1,
		.registration = { .fd = -1, .parent_fd = -1 },
	};

	print_notices(plan);
	if (relay_prepare(&monitor.relay, terminal ? terminal->mode : (uint32_t)TERMINAL_NEVER) < 0)
		fail(&monitor, OP_TERMINAL, "pipe2", "");
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!monitor.failed)
		register_sandbox(&monitor);
	if (!monitor.failed)
		start(&monitor, command);
	if (!monitor.failed)
		attend(&monitor);
	finish(&monitor);
	if (monitor.failed)
		return python_explain(self, plan_fd, &monitor.failure, command);
	end_as_interrupted(&monitor);
	return exit_status(monitor.status);
}
