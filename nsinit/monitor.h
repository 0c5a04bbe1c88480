/* The host's side of a command that runs inside: it makes the namespaces, passes bytes and signals, waits. */
#pragma once

#include <limits.h>
#include <signal.h>
#include <stdbool.h>

#include "companion.h"
#include "container.h"
#include "deadline.h"
#include "keeper.h"
#include "oom.h"
#include "plan.h"
#include "readiness.h"
#include "relay.h"
#include "report.h"
#include "samples.h"
#include "stubs.h"
#include "sync.h"

struct monitor {
	const struct plan *plan;
	int plan_fd;
	const char *self; /* our own program */
	char *const *words; /* of an engine's call */
	char *const *command;
	char *const *variables; /* further ones of the command's, or NULL */

	/* Of a container; a sandbox that only runs has none. */
	struct container *container;
	uint32_t options; /* enum sync_option */
	unsigned int descriptors; /* so many from 3 on are the command's */
	int process_fd; /* owned; the first process of a container that is joined, or -1 */
	int gate_fd; /* owned; the start gate's socket, or -1 */
	int notify_fd; /* owned; where the container says that it is ready, or readiness shows, or -1 */
	int watched_fd; /* not owned; a process that is not our child, and with which all ends, or -1 */
	const char *console_socket; /* where the terminal goes, or NULL */

	int sync_fd; /* owned */
	int signals_fd; /* owned */
	sigset_t signals; /* the caller's mask */
	uint64_t passed; /* the signals that were passed on (bits) */
	pid_t init; /* our child, to be waited for */
	struct relay relay;
	struct deadline deadline;
	struct report report;
	struct readiness readiness;
	struct oom oom;
	struct samples samples;
	struct container registered; /* the sandbox's directory, held by us */
	struct stubs stubs;
	struct keeper *keeper; /* of a detached sandbox, else NULL */
	struct companion companion;
	bool created; /* it waits at the start gate */
	bool ready; /* the command's exec was tried */
	bool running; /* and has succeeded */
	bool notified; /* it has said that it is ready */
	bool exited; /* `status` was reported */
	bool failed; /* `failure` was reported */
	int status;
	struct sync_message failure;
};

/* How far to go. */
enum monitor_goal { GOAL_CREATED, GOAL_RUNNING, GOAL_NOTIFIED, GOAL_END };

#define MONITOR_INITIALIZER { .sync_fd = -1, .signals_fd = -1, .process_fd = -1, .gate_fd = -1, \
	.notify_fd = -1, .watched_fd = -1, .deadline = { .fd = -1 }, .report = REPORT_INITIALIZER, \
	.oom = OOM_INITIALIZER, .samples = SAMPLES_INITIALIZER, \
	.registered = { .fd = -1, .parent_fd = -1 }, .stubs = { .fd = -1, .directory_fd = -1 }, \
	.companion = { .fd = -1 } }

void monitor_fail(struct monitor *monitor, enum plan_opcode code, const char *call, const char *subject);
void monitor_fail_at(struct monitor *monitor, const struct plan_op *op, const char *call, const char *subject);
void monitor_answer(struct monitor *monitor, const struct sync_message *answer, const char *subject);
void monitor_start(struct monitor *monitor);
void monitor_attend(struct monitor *monitor, enum monitor_goal goal);
void monitor_finish(struct monitor *monitor);
bool monitor_has_reaper(const struct monitor *monitor);
int monitor_exit_status(const struct monitor *monitor);
int monitor_end(const struct monitor *monitor);
pid_t monitor_first_process(const struct monitor *monitor);
void monitor_run_runtime_hooks(struct monitor *monitor);
void monitor_run_hooks(struct monitor *monitor, enum plan_hook_stage stage, enum container_status status);
