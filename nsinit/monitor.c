/* The host's side of a run: passes bytes and signals, waits.  It stays as
 * long as the sandbox does, and the sandbox no longer than it. */
#define _GNU_SOURCE
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "listener.h"
#include "notify.h"
#include "passing.h"
#include "signals.h"
#include "state.h"
#include "sys.h"
#include "use.h"

#define COLLECT_TRIES 20
#define COLLECT_LOOK_MS 100

void monitor_fail_at(struct monitor *monitor, const struct plan_op *op, const char *call, const char *subject)
{
	int error = errno;

	monitor->failed = true;
	monitor->failure = (struct sync_message){ .number = (uint32_t)error };
	monitor->failure.failed_index = op ? plan_index(monitor->plan, op) : 0;
	strncpy(monitor->failure.call, call, sizeof(monitor->failure.call) - 1);
	strncpy(monitor->failure.subject, subject, sizeof(monitor->failure.subject) - 1);
}

void monitor_fail(struct monitor *monitor, enum plan_opcode code, const char *call, const char *subject)
{
	monitor_fail_at(monitor, plan_find(monitor->plan, code), call, subject);
}

/* Answer the process that waits for it.  One that is gone is noticed by its EOF; one that cannot be told is to see ours,
 * as it would wait for ever. */
void monitor_answer(struct monitor *monitor, const struct sync_message *answer, const char *subject)
{
	if (sync_send(monitor->sync_fd, answer) == 0 || errno == EPIPE || errno == ECONNRESET)
		return;
	monitor_fail(monitor, OP_ISOLATE, "sendmsg", subject);
	shutdown(monitor->sync_fd, SHUT_WR);
}

/* --- while it runs ---------------------------------------------------------------------------------- */

/* Is there a process 1 of ours, which starts the command and waits for it?  Not for one that joins. */
bool monitor_has_reaper(const struct monitor *monitor)
{
	return monitor->process_fd < 0 && plan_find(monitor->plan, OP_REAPER);
}

/* A pipe of the command's ends when the command closes it, not only when we end. */
static void release_streams(const struct relay *relay)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 2 && null_fd >= 0; fd++)
		if (!((relay->replaced | relay->piped) >> fd & 1))
			dup2(null_fd, fd);
}

/* The host's number of the container's first process. */
pid_t monitor_first_process(const struct monitor *monitor)
{
	return monitor->init > 0 ? monitor->init : monitor->container->pid;
}

/* The terminal is the caller's to hold, by the relay or by a socket that it gave us. */
static bool take_terminal(struct monitor *monitor, int fd)
{
	if (!monitor->relay.replaced || monitor->relay.master_fd >= 0 || fd < 0 || !isatty(fd))
		return false;
	if (monitor->keeper)
		return keeper_terminal(monitor->keeper, fd);
	if (!monitor->console_socket) {
		relay_start(&monitor->relay, fd);
		return true;
	}
	if (pass_fd(monitor->console_socket, fd, "/dev/ptmx", sizeof("/dev/ptmx") - 1) < 0) {
		monitor_fail(monitor, OP_TERMINAL, "sendmsg", monitor->console_socket);
		kill(monitor->init, SIGKILL);
	}
	return false;
}

/* false: the other end is gone. */
static bool take_message(struct monitor *monitor)
{
	struct sync_message message;
	int fd = -1;

	int received = sync_receive(monitor->sync_fd, &message, &fd);
	if (received < 0 && !monitor->failed)
		monitor_fail(monitor, OP_ISOLATE, "recvmsg", "");
	if (received <= 0)
		return false;
	switch ((enum sync_type)message.type) {
	case SYNC_TERMINAL:
		if (take_terminal(monitor, fd))
			fd = -1;
		break;
	case SYNC_HOOKS:
		monitor_run_runtime_hooks(monitor);
		break;
	case SYNC_COMPANION:
		companion_wish(monitor, message.number);
		break;
	case SYNC_CREATED:
		monitor->created = true;
		break;
	case SYNC_LISTENER:
		listener_pass(monitor, fd);
		break;
	case SYNC_STARTING:
		if (monitor->keeper)
			keeper_starting(monitor->keeper, fd);
		if (!monitor->readiness.mode)
			break;
		/* fall through */
	case SYNC_NOTIFY:
		if (monitor->notify_fd < 0)
			monitor->notify_fd = fd, fd = -1;
		break;
	case SYNC_READY:
		monitor->ready = true;
		deadline_start(monitor);
		report_begin(monitor);
		if (monitor->registered.fd >= 0)
			state_admit(&monitor->registered, monitor->plan, monitor->plan_fd);
		release_streams(&monitor->relay);
		break;
	case SYNC_FAILURE:
		if (!monitor->failed)
			monitor->failure = message;
		monitor->failed = true;
		break;
	case SYNC_EXIT:
		monitor->exited = true;
		monitor->status = (int)message.number;
		break;
	case SYNC_STOPPED:
		signals_stopped(monitor);
		break;
	case SYNC_HELLO:
	case SYNC_MAPPED:
	case SYNC_SIGNAL:
	case SYNC_RESUME:
	case SYNC_START:
	case SYNC_FORKED:
		break;
	}
	close_fd(&fd);
	return true;
}

/* Has the command, where it is process 1, come to its end?  It may have been quicker than we: what it said before still
 * counts. */
static bool has_ended(struct monitor *monitor)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)monitor->init, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
		return false;
	while (!monitor->running && take_message(monitor))
		;
	monitor->running = monitor->ready && !monitor->failed;
	return true;
}

static bool reached(const struct monitor *monitor, enum monitor_goal goal)
{
	return (goal == GOAL_CREATED && monitor->created) || (goal == GOAL_RUNNING && monitor->running) ||
	       (goal == GOAL_NOTIFIED && monitor->notified);
}

/* Until the goal is reached, or the sandbox has ended or, where the command is process 1, until that has. */
void monitor_attend(struct monitor *monitor, enum monitor_goal goal)
{
	enum { SIGNALS, SYNC, NOTIFY, WATCHED, DEADLINE, COMPANION, USE, RELAY = USE + USE_EVENTS, KEEPER = RELAY + RELAY_EVENTS,
	       EVENTS = KEEPER + KEEPER_EVENTS };
	const bool reaped = monitor_has_reaper(monitor);
	const nfds_t count = monitor->keeper ? EVENTS : KEEPER;
	struct pollfd events[EVENTS] = {
		[SIGNALS] = { .fd = monitor->signals_fd, .events = POLLIN },
		[SYNC] = { .fd = monitor->running && !reaped ? -1 : monitor->sync_fd, .events = POLLIN },
		[NOTIFY] = { .events = POLLIN },
		[WATCHED] = { .fd = monitor->watched_fd, .events = POLLIN },
		[DEADLINE] = { .fd = monitor->deadline.fd, .events = POLLIN },
	};

	oom_watch(monitor);
	/* Its end may have been noticed on the way to the goal before. */
	if (!reaped && has_ended(monitor))
		return;
	while (!reached(monitor, goal)) {
		int patience = readiness_patience(monitor);

		relay_events(&monitor->relay, &events[RELAY]);
		events[COMPANION] = (struct pollfd){ .fd = monitor->companion.fd, .events = POLLIN };
		events[NOTIFY].fd = readiness_fd(monitor);
		if (relay_waits(&monitor->relay) && (patience < 0 || patience > RELAY_LOOK_MS))
			patience = RELAY_LOOK_MS;
		if (monitor->keeper)
			patience = keeper_events(monitor->keeper, &events[KEEPER], patience);
		use_events(monitor, &events[USE]);
		if (poll(events, count, patience) < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EINVAL) /* more descriptors than we may have, poll(2) */
				errno = EMFILE;
			monitor_fail(monitor, OP_ISOLATE, "poll", "");
			return;
		}
		use_pass(monitor, &events[USE]); /* before the end that it may be told of */
		relay_resume(&monitor->relay);
		relay_pass(&monitor->relay, &events[RELAY]);
		if (monitor->keeper)
			keeper_pass(monitor->keeper, &events[KEEPER]);
		/* What was said before a signal came is heard before it: whoever stops us has seen the command run. */
		if (events[SIGNALS].revents && (monitor->ready || !events[SYNC].revents)) {
			signals_pass(monitor);
			if (!reaped && has_ended(monitor))
				return;
		}
		if (events[COMPANION].revents)
			companion_hear(monitor);
		if (events[DEADLINE].revents)
			deadline_pass(monitor);
		if (monitor->readiness.due && !events[SYNC].revents)
			readiness_settle(monitor);
		if (events[NOTIFY].revents && monitor->readiness.mode)
			readiness_pass(monitor);
		else if (events[NOTIFY].revents && notify_pass(monitor->notify_fd, monitor->plan, monitor_first_process(monitor)))
			monitor->notified = true;
		if (events[WATCHED].revents && !events[SYNC].revents)
			return;
		if (events[SYNC].revents && !take_message(monitor)) {
			if (reaped || !monitor->ready || monitor->failed)
				return;
			monitor->running = true;
			events[SYNC].fd = -1; /* it has become the command */
		}
	}
}

/* Did the command end?  It may not have become one yet when it was sent a signal; an end of another kind is ours. */
static bool command_ended(const struct monitor *monitor)
{
	const int status = monitor->status;

	return monitor->exited &&
	       (monitor->ready || (WIFSIGNALED(status) && monitor->passed >> (WTERMSIG(status) - 1) & 1));
}

/* Wait for the first process.  It cannot end before all inside has been collected, pid_namespaces(7), and what has joined
 * is its parent's to collect, who may be stopped, or not care: the command's end is not put off for that. */
static void collect(struct monitor *monitor, int *status)
{
	struct pollfd event = { .fd = monitor->signals_fd, .events = POLLIN };
	const bool known = monitor->exited && monitor_has_reaper(monitor);
	struct signalfd_siginfo info;

	for (int tries = 0; !known || tries < COLLECT_TRIES; tries++) {
		pid_t pid = wait4(monitor->init, status, known ? WNOHANG : 0, &monitor->report.usage);

		if (pid > 0 || (pid < 0 && errno != EINTR))
			return;
		/* By SIGCHLD, hardly ever by the time. */
		if (known && poll(&event, 1, COLLECT_LOOK_MS) > 0 && read(monitor->signals_fd, &info, sizeof(info)) == sizeof(info))
			relay_hurry(&monitor->relay, info.ssi_signo);
	}
}

void monitor_finish(struct monitor *monitor)
{
	int status = 0;

	if (monitor->init > 0) {
		if (monitor->failed)
			kill(monitor->init, SIGKILL);
		collect(monitor, &status);
		oom_end(monitor);
		report_end(monitor);
		while (take_message(monitor))
			;
		readiness_end(monitor);
	}
	relay_drain(&monitor->relay, monitor->signals_fd);
	relay_restore(&monitor->relay);
	companion_end(monitor);
	stubs_release(&monitor->stubs);
	if (!monitor->keeper) /* which leaves something there */
		state_remove(&monitor->registered);
	if (command_ended(monitor) || monitor->failed)
		return;
	/* Its first process may have been killed when the time was over, or the memory. */
	if (monitor->deadline.reached || (monitor->ready && (monitor->oom.limit || !monitor_has_reaper(monitor)))) {
		monitor->exited = true;
		monitor->status = status;
		return;
	}
	/* An end without a report is never a success. */
	if (monitor->exited)
		status = monitor->status;
	errno = 0;
	monitor_fail(monitor, OP_ISOLATE, "init", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exited");
}

int monitor_exit_status(const struct monitor *monitor)
{
	return WIFSIGNALED(monitor->status) ? 128 + WTERMSIG(monitor->status) : WEXITSTATUS(monitor->status);
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

/* The exit status to end with, or an end as that of the command. */
int monitor_end(const struct monitor *monitor)
{
	end_as_interrupted(monitor);
	return monitor_exit_status(monitor);
}
