/* `create`, `run` and `exec` of containers, config.md and runtime.md#lifecycle. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "engine.h"
#include "exit.h"
#include "monitor.h"
#include "notify.h"
#include "passing.h"
#include "python.h"
#include "scope.h"
#include "sys.h"

/* What the command gets beside the plan's environment. */
struct listening {
	char count[32];
	char *variables[3];
};

static char *const *listen_variables(const struct engine_call *call, struct listening *listening)
{
	if (!call->listening)
		return NULL;
	snprintf(listening->count, sizeof(listening->count), "LISTEN_FDS=%u", call->listening);
	listening->variables[0] = listening->count;
	listening->variables[1] = (char *)(uintptr_t)"LISTEN_PID=1";
	listening->variables[2] = NULL;
	return listening->variables;
}

/* The command in the plan, which outlives everything. */
static char **plan_command(const struct plan *plan)
{
	const struct plan_command *op = (const struct plan_command *)plan_find(plan, OP_COMMAND);
	char **argv = op ? calloc(op->arguments.count + 1, sizeof(*argv)) : NULL;

	for (uint32_t i = 0; argv && i < op->arguments.count; i++)
		argv[i] = (char *)(uintptr_t)plan_item(plan, op->arguments, i);
	return argv;
}

/* Nobody stays to pass bytes: a terminal of the caller's is not handed in, and there is no pipe either. */
static void detach_streams(struct relay *relay)
{
	if (relay->piped & 6) {
		close_fd(&relay->master_fd);
		close_fd(&relay->pipe_fd);
		relay->master_fd = -1;
		relay->pipe_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	relay->terminal = -1;
}

static void prepare_streams(struct monitor *monitor, const struct engine_call *call, bool detached, bool terminal)
{
	monitor->console_socket = call->values[ENGINE_CONSOLE_SOCKET];
	if (relay_prepare(&monitor->relay, terminal ? TERMINAL_ALWAYS : TERMINAL_NEVER) < 0)
		monitor_fail(monitor, OP_TERMINAL, "pipe2", "");
	monitor->relay.keep_newlines = !detached;
	if (monitor->console_socket)
		monitor->options |= SYNC_CONSOLE;
	if (detached)
		detach_streams(&monitor->relay);
}

/* Written aside and renamed: whoever waits for it reads all of it. */
static int write_pid_file(const char *path, pid_t pid)
{
	char aside[PATH_MAX], text[16];
	const char *slash = strrchr(path, '/');
	int directory = slash ? (int)(slash - path) + 1 : 0;

	if (snprintf(aside, sizeof(aside), "%.*s.%s", directory, path, path + directory) >= (int)sizeof(aside)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* One that was killed may have left it, or somebody put a link there. */
	unlink(aside);
	cleanup_fd int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	int length = snprintf(text, sizeof(text), "%d", pid);
	return fd >= 0 && write_whole(fd, text, (size_t)length) && !rename(aside, path) ? 0 : -1;
}

/* Tell whoever asked for it which process it is. */
static void announce(struct monitor *monitor, const struct engine_call *call)
{
	const char *pid_file = call->values[ENGINE_PID_FILE], *pidfd_socket = call->values[ENGINE_PIDFD_SOCKET];

	if (pidfd_socket && !monitor->failed) {
		cleanup_fd int process_fd = sys_pidfd_open(monitor->init);
		if (process_fd < 0 || pass_fd(pidfd_socket, process_fd, "pidfd", sizeof("pidfd") - 1) < 0)
			monitor_fail(monitor, OP_CONTAINER, "sendmsg", pidfd_socket);
	}
	if (pid_file && !monitor->failed && write_pid_file(pid_file, monitor->init) < 0)
		monitor_fail(monitor, OP_CONTAINER, "pid-file", pid_file);
}

static void begin(struct monitor *monitor, const struct engine_call *call)
{
	const struct plan_container *op = (const struct plan_container *)plan_find(monitor->plan, OP_CONTAINER);
	struct container *container = monitor->container;

	if (!op) {
		errno = EBADMSG;
		monitor_fail(monitor, OP_CONTAINER, "plan", "");
		return;
	}
	if (container_make(container, plan_text(monitor->plan, op->directory), call->id) < 0) {
		monitor_fail(monitor, OP_CONTAINER, "mkdir", call->id);
		container_close(container);
		return;
	}
	/* Should we be killed when it has just been made, whoever cleans up has to know where to look; ours it is not yet.  One in
	 * a scope has no path before that is there. */
	if (plan_find(monitor->plan, OP_CGROUP) && !scope_wanted(monitor->plan))
		cgroup_name(monitor->plan, call->id, container->cgroup);
	int recorded = container_record(container, monitor->plan, NULL);
	container->cgroup[0] = 0;
	if (recorded < 0 || container_keep_plan(container, monitor->plan) < 0) {
		monitor_fail(monitor, OP_CONTAINER, "write", "state.json");
	} else if (notify_prepare(container, monitor->plan) < 0) {
		monitor_fail(monitor, OP_NOTIFY_SOCKET, "mkdir", "notify");
	} else if (call->verb == VERB_CREATE) {
		monitor->options |= SYNC_GATE;
		monitor->gate_fd = container_open_gate(container);
		if (monitor->gate_fd < 0)
			monitor_fail(monitor, OP_CONTAINER, "bind", "start-gate");
	}
}

/* That it cannot be told because it has ended is no fault of the way. */
static void tell(struct monitor *monitor, enum sync_type type, const char *subject)
{
	const struct sync_message message = { .type = type };

	if (sync_send(monitor->sync_fd, &message) == 0)
		return;
	if (errno == EPIPE || errno == ECONNRESET) {
		errno = 0;
		monitor_fail(monitor, OP_START_GATE, "init", "exited");
		return;
	}
	monitor_fail(monitor, OP_START_GATE, "sendmsg", subject);
}

static void go(struct monitor *monitor)
{
	monitor->notify_fd = notify_open(monitor->container, monitor->plan);
	tell(monitor, SYNC_START, "start");
	if (!monitor->failed)
		monitor_attend(monitor, GOAL_RUNNING);
	if (!monitor->failed && !monitor->running) {
		errno = 0;
		monitor_fail(monitor, OP_START_GATE, "init", "exited");
	}
	if (!monitor->failed)
		monitor_run_hooks(monitor, HOOK_POSTSTART, CONTAINER_RUNNING);
}

/* Everything that was made for it goes, and the hooks for that are run. */
static void end(struct monitor *monitor)
{
	struct container *container = monitor->container;

	if (container->fd < 0)
		return;
	/* What does not go is found by its record, by whoever comes next. */
	if (cgroup_end(container->cgroup, container->cgroup_inode, CGROUP_PATIENCE_MS) < 0)
		container_close(container);
	else
		container_remove(container);
	monitor_run_hooks(monitor, HOOK_POSTSTOP, CONTAINER_STOPPED);
}

int create_main(const struct engine_call *call, const struct plan *plan, int plan_fd)
{
	const struct plan_terminal *terminal = (const struct plan_terminal *)plan_find(plan, OP_TERMINAL);
	struct container container = { .parent_fd = -1, .fd = -1 };
	struct monitor monitor = MONITOR_INITIALIZER;
	struct listening listening;
	bool detached = call->verb == VERB_CREATE || call->values[ENGINE_DETACH];
	bool wants_terminal = terminal && terminal->mode == TERMINAL_ALWAYS;

	monitor.plan = plan;
	monitor.plan_fd = plan_fd;
	monitor.self = call->self;
	monitor.words = call->words;
	monitor.command = plan_command(plan);
	monitor.variables = listen_variables(call, &listening);
	monitor.container = &container;
	monitor.descriptors = call->descriptors;
	monitor.options = (detached ? SYNC_OUTLIVES : 0) | (call->values[ENGINE_NO_NEW_KEYRING] ? SYNC_KEEP_KEYRING : 0);
	/* Without somebody to hold the terminal, or with somebody and no terminal. */
	if (!monitor.command || (call->values[ENGINE_CONSOLE_SOCKET] != NULL) != (detached && wants_terminal))
		return engine_give_up(call);
	prepare_streams(&monitor, call, detached, wants_terminal);
	if (!detached && !call->values[ENGINE_NO_SUBREAPER])
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!monitor.failed)
		begin(&monitor, call);
	if (!monitor.failed)
		monitor_start(&monitor);
	if (!monitor.failed)
		monitor_attend(&monitor, GOAL_CREATED);
	if (monitor.created && !monitor.failed) {
		container.pid = monitor.init;
		if (container_record(&container, plan, NULL) < 0)
			monitor_fail(&monitor, OP_CONTAINER, "write", "state.json");
		announce(&monitor, call);
		if (!monitor.failed)
			tell(&monitor, SYNC_RESUME, "resume");
		if (!monitor.failed && call->verb == VERB_CREATE)
			return 0;
		if (!monitor.failed)
			go(&monitor);
		if (!monitor.failed && detached && monitor.notify_fd >= 0 && container_unlock(&container) == 0)
			monitor_attend(&monitor, GOAL_NOTIFIED);
		if (!monitor.failed && detached)
			return 0;
		/* The others may have it now. */
		if (!monitor.failed && container_unlock(&container) == 0)
			monitor_attend(&monitor, GOAL_END);
	}
	monitor_finish(&monitor);
	if (monitor.failed || !call->values[ENGINE_KEEP]) {
		if (container.fd >= 0 && !container_lock(&container))
			end(&monitor);
	}
	return monitor.failed ? python_refuse(call->self, plan_fd, &monitor.failure, call->words) : monitor_exit_status(&monitor);
}

int exec_main(const struct engine_call *call, const struct plan *plan, int plan_fd)
{
	struct container container;
	struct monitor monitor = MONITOR_INITIALIZER;
	struct listening listening;
	const struct plan_terminal *terminal = (const struct plan_terminal *)plan_find(plan, OP_TERMINAL);
	bool detached = call->values[ENGINE_DETACH];
	/* A plan of the process's own says so; the container's speaks of another process. */
	bool wants_terminal = call->keeps_plan ? call->values[ENGINE_TTY] != NULL
					       : terminal && terminal->mode == TERMINAL_ALWAYS;

	if (container_open(&container, call->containers, call->id) < 0)
		return engine_give_up(call);
	enum container_status status = container_status(&container);
	if (status == CONTAINER_STOPPED || status == CONTAINER_CREATING ||
	    (status == CONTAINER_PAUSED && !call->values[ENGINE_IGNORE_PAUSED]) ||
	    (call->values[ENGINE_CONSOLE_SOCKET] != NULL) != (detached && wants_terminal))
		return engine_give_up(call);
	/* A plan of the process's own may name one below the container's. */
	bool below = !call->keeps_plan && plan_find(plan, OP_CGROUP);
	if (below) {
		container.cgroup_inode = 0;
		if (cgroup_name(plan, "", container.cgroup) < 0)
			return engine_give_up(call);
	}
	monitor.plan = plan;
	monitor.plan_fd = plan_fd;
	monitor.self = call->self;
	monitor.command = call->keeps_plan ? call->arguments : plan_command(plan);
	monitor.variables = listen_variables(call, &listening);
	monitor.container = &container;
	monitor.descriptors = call->descriptors;
	monitor.options = detached ? SYNC_OUTLIVES : 0;
	monitor.process_fd = container_process(&container);
	if (!monitor.command || monitor.process_fd < 0)
		return engine_give_up(call);
	prepare_streams(&monitor, call, detached, wants_terminal);
	if (!detached)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!monitor.failed)
		monitor_start(&monitor);
	if (!monitor.failed)
		monitor_attend(&monitor, GOAL_RUNNING);
	if (monitor.running && !monitor.failed) {
		announce(&monitor, call);
		if (!monitor.failed && detached)
			return 0;
		if (!monitor.failed)
			monitor_attend(&monitor, GOAL_END);
	}
	monitor_finish(&monitor);
	return monitor.failed ? python_refuse(call->self, plan_fd, &monitor.failure, call->words) : monitor_exit_status(&monitor);
}
