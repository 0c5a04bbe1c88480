/* A sandbox in the foreground, from its start to its end. */
#define _GNU_SOURCE
#include "sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "exit.h"
#include "keeper.h"
#include "python.h"
#include "state.h"

static void print_notices(const struct plan *plan)
{
	for (const struct plan_op *op = plan_next(plan, NULL); op; op = plan_next(plan, op))
		if (op->code == OP_NOTICE)
			dprintf(2, "sandbox: %s\n", plan_text(plan, ((const struct plan_notice *)op)->text));
}

static void register_sandbox(struct monitor *monitor)
{
	const struct plan_container *op = (const struct plan_container *)plan_find(monitor->plan, OP_CONTAINER);

	if (!op || !op->held)
		return;
	const char *directory = plan_text(monitor->plan, op->directory), *id = plan_text(monitor->plan, op->id);
	switch (state_register(&monitor->registered, directory, id, op->replace)) {
	case STATE_OK:
		return;
	case STATE_IN_USE:
		errno = EEXIST;
		monitor_fail(monitor, OP_CONTAINER, "flock", id);
		break;
	case STATE_FAILED:
		monitor_fail(monitor, OP_CONTAINER, "mkdir", directory);
		break;
	}
	/* Not ours to remove. */
	container_close(&monitor->registered);
}

/* Whatever a run needs before anything of it is made. */
void sandbox_prepare(struct monitor *monitor)
{
	readiness_prepare(monitor);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	report_prepare(monitor);
	if (!monitor->failed && deadline_prepare(monitor) < 0)
		monitor_fail(monitor, OP_TIME_LIMIT, "timerfd_create", "");
	if (!monitor->failed)
		register_sandbox(monitor);
}

int sandbox_run(const struct plan *plan, int plan_fd, const char *self, char *const command[])
{
	const struct plan_terminal *terminal = (const struct plan_terminal *)plan_find(plan, OP_TERMINAL);
	struct monitor monitor = MONITOR_INITIALIZER;

	monitor.plan = plan;
	monitor.plan_fd = plan_fd;
	monitor.self = self;
	monitor.command = command;
	print_notices(plan);
	if (plan_find(plan, OP_KEEP))
		return keeper_run(&monitor);
	if (relay_prepare(&monitor.relay, terminal ? terminal->mode : (uint32_t)TERMINAL_NEVER) < 0)
		monitor_fail(&monitor, OP_TERMINAL, "pipe2", "");
	sandbox_prepare(&monitor);
	if (!monitor.failed)
		monitor_start(&monitor);
	if (!monitor.failed)
		monitor_attend(&monitor, GOAL_END);
	monitor_finish(&monitor);
	oom_explain(&monitor);
	if (monitor.failed)
		return python_explain(self, plan_fd, &monitor.failure, monitor.report.file.directory_fd,
				      monitor.report.page.directory_fd, command);
	report_write(&monitor, monitor.deadline.reached ? EXIT_TIMED_OUT : monitor_exit_status(&monitor));
	if (monitor.deadline.reached) {
		deadline_explain(&monitor);
		return EXIT_TIMED_OUT;
	}
	return monitor_end(&monitor);
}
