/* The time limit of a command: first everything inside is asked to end, then the first process is killed, and with it
 * all of them.
 *
 * The clock is the monitor's: nothing inside can reach it, stop the monitor, or outlive the first process. */
#define _GNU_SOURCE
#include "deadline.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "monitor.h"
#include "signals.h"

static const struct plan_time_limit *limit(const struct monitor *monitor)
{
	return (const struct plan_time_limit *)plan_find(monitor->plan, OP_TIME_LIMIT);
}

/* 0 would disarm the timer. */
static struct itimerspec after(uint64_t milliseconds)
{
	return (struct itimerspec){ .it_value = { .tv_sec = (time_t)(milliseconds / 1000),
						  .tv_nsec = (long)(milliseconds % 1000 * 1000000) + (milliseconds == 0) } };
}

static void set(const struct monitor *monitor, const struct itimerspec *when)
{
	timerfd_settime(monitor->deadline.fd, 0, when, NULL);
}

/* Before anything runs: a limit for which there is no timer is not in force. */
int deadline_prepare(struct monitor *monitor)
{
	if (!limit(monitor))
		return 0;
	monitor->deadline.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return monitor->deadline.fd < 0 ? -1 : 0;
}

void deadline_start(struct monitor *monitor)
{
	if (monitor->deadline.fd < 0)
		return;
	struct itimerspec when = after(limit(monitor)->milliseconds);
	set(monitor, &when);
}

/* The time is over, or the time of grace behind it. */
void deadline_pass(struct monitor *monitor)
{
	uint64_t expirations;

	if (read(monitor->deadline.fd, &expirations, sizeof(expirations)) != sizeof(expirations))
		return;
	if (monitor->deadline.reached) {
		kill(monitor->init, SIGKILL);
		return;
	}
	monitor->deadline.reached = true;
	monitor->relay.hurried = true;
	signals_send(monitor, SIGTERM, TO_ALL);
	signals_send(monitor, SIGCONT, TO_ALL); /* who is stopped takes no signal */
	struct itimerspec when = after(limit(monitor)->grace);
	set(monitor, &when);
}

/* The clock stands while the sandbox does. */
void deadline_hold(struct monitor *monitor)
{
	static const struct itimerspec never;
	struct deadline *deadline = &monitor->deadline;

	if (deadline->fd < 0 || !monitor->ready || deadline->held)
		return;
	deadline->held = true;
	timerfd_gettime(deadline->fd, &deadline->left);
	if (!deadline->left.it_value.tv_sec && !deadline->left.it_value.tv_nsec)
		deadline->left.it_value.tv_nsec = 1; /* over, and not yet noticed */
	set(monitor, &never);
}

void deadline_release(struct monitor *monitor)
{
	if (monitor->deadline.held)
		set(monitor, &monitor->deadline.left);
	monitor->deadline.held = false;
}

void deadline_explain(const struct monitor *monitor)
{
	dprintf(2, "sandbox: %s\n", plan_text(monitor->plan, limit(monitor)->text));
}
