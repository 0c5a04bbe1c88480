/* The monitor's side of a program beside the sandbox. */
#define _GNU_SOURCE
#include "companion.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "minder.h"
#include "monitor.h"
#include "sys.h"

static const struct plan_companion *wanted(const struct monitor *monitor)
{
	return (const struct plan_companion *)plan_find(monitor->plan, OP_COMPANION);
}

static void fail(struct monitor *monitor, int error, const char *call, const char *subject)
{
	errno = error;
	if (!monitor->failed)
		monitor_fail(monitor, OP_COMPANION, call, subject);
	kill(monitor->init, SIGKILL);
}

static void start(struct monitor *monitor)
{
	struct minder minder = { .plan = monitor->plan, .op = wanted(monitor), .error_fd = -1, .ready_fd = -1 };
	int pair[2];

	if (!minder.op || monitor->companion.pid || monitor->companion.fd >= 0)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		fail(monitor, errno, "socketpair", "");
		return;
	}
	monitor->companion.fd = pair[0];
	minder.fd = pair[1];
	pid_t between = fork();
	if (between == 0)
		minder_go_between(&minder, monitor->init);
	close(pair[1]);
	if (between < 0)
		fail(monitor, errno, "fork", "");
	while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	/* What it has to say lies there by now. */
	companion_hear(monitor);
}

static void resume(struct monitor *monitor)
{
	const struct sync_message go_on = { .type = SYNC_RESUME };

	monitor->companion.awaited = false;
	monitor_answer(monitor, &go_on, "resume");
}

void companion_wish(struct monitor *monitor, enum companion_wish wish)
{
	if (wish == COMPANION_START) {
		start(monitor);
		return;
	}
	monitor->companion.awaited = true;
	if (monitor->companion.ready)
		resume(monitor);
}

void companion_hear(struct monitor *monitor)
{
	struct companion *companion = &monitor->companion;
	struct sync_message message;

	if (sync_receive(companion->fd, &message, NULL) <= 0) {
		close_fd(&companion->fd);
		companion->fd = -1;
		companion->lost = true;
		if (!companion->ready)
			fail(monitor, 0, "companion", "");
	} else if (message.type == SYNC_FORKED) {
		companion->pid = (pid_t)message.number;
	} else if (message.type == SYNC_FAILURE && message.number == ESRCH) {
		/* The sandbox's first process is no more.  Why, it has said itself. */
		close_fd(&companion->fd);
		companion->fd = -1;
	} else if (message.type == SYNC_FAILURE) {
		fail(monitor, (int)message.number, message.call, message.subject);
	} else if (message.type == SYNC_READY) {
		companion->ready = true;
		if (companion->awaited)
			resume(monitor);
	}
}

void companion_end(struct monitor *monitor)
{
	struct companion *companion = &monitor->companion;

	close_fd(&companion->fd);
	companion->fd = -1;
	if (companion->pid <= 0)
		return;
	kill(companion->pid, SIGKILL);
	while (waitpid(companion->pid, NULL, 0) < 0 && errno == EINTR)
		;
	companion->pid = 0;
	if (companion->lost && !monitor->failed)
		dprintf(2, "sandbox: %s\n", plan_text(monitor->plan, wanted(monitor)->lost));
}
