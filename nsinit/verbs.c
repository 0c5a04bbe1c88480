/* What engines ask of a container that is there, in the plain cases; every other answer is Python's to word. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cgroup.h"
#include "container.h"
#include "engine.h"
#include "hooks.h"
#include "monitor.h"
#include "notify.h"
#include "python.h"
#include "sys.h"

#define END_PATIENCE_MS 10000 /* for a process that was killed */

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "ABRT", SIGABRT }, { "ALRM", SIGALRM }, { "BUS", SIGBUS },	   { "CHLD", SIGCHLD },	  { "CONT", SIGCONT },
	{ "FPE", SIGFPE },   { "HUP", SIGHUP },	  { "ILL", SIGILL },	   { "INT", SIGINT },	  { "IO", SIGIO },
	{ "KILL", SIGKILL }, { "PIPE", SIGPIPE }, { "PROF", SIGPROF },	   { "PWR", SIGPWR },	  { "QUIT", SIGQUIT },
	{ "SEGV", SIGSEGV }, { "STOP", SIGSTOP }, { "SYS", SIGSYS },	   { "TERM", SIGTERM },	  { "TRAP", SIGTRAP },
	{ "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },	   { "URG", SIGURG },	  { "USR1", SIGUSR1 },
	{ "USR2", SIGUSR2 }, { "XCPU", SIGXCPU }, { "VTALRM", SIGVTALRM }, { "WINCH", SIGWINCH }, { "XFSZ", SIGXFSZ },
};

/* 0: not plain. */
static int signal_number(const char *word)
{
	char *end;

	if (!word)
		return SIGTERM;
	if (*word >= '0' && *word <= '9') {
		long number = strtol(word, &end, 10);

		return !*end && number > 0 && number <= 64 ? (int)number : 0;
	}
	if (!strncasecmp(word, "SIG", 3))
		word += 3;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!strcasecmp(signals[i].name, word))
			return signals[i].number;
	return 0;
}

int verb_state(const struct engine_call *call)
{
	struct container container;
	struct plan plan;

	if (container_open(&container, call->containers, call->id) < 0 || container_read_plan(&container, &plan) < 0)
		return -1;
	if (container.held) /* its monitor may be stopped, too */
		return -1;
	char *document = container_document(&plan, container.id, container.pid, container_status(&container), container.created);
	if (!document)
		return -1;
	return write_whole(1, document, strlen(document)) ? 0 : 1;
}

int verb_kill(const struct engine_call *call)
{
	struct container container;
	int number = signal_number(call->arguments[0]);

	/* Of a sandbox the first process takes no signals. */
	if (!number || call->values[ENGINE_ALL] || container_open(&container, call->containers, call->id) < 0 || container.held)
		return -1;
	cleanup_fd int process_fd = container_process(&container);
	return process_fd < 0 ? -1 : sys_pidfd_send_signal(process_fd, number);
}

/* Through the gate, and then on the host's side of the start until the command runs. */
int verb_start(const struct engine_call *call)
{
	const struct sync_message start = { .type = SYNC_START };
	struct container container;
	struct monitor monitor = MONITOR_INITIALIZER;
	struct plan plan;

	if (container_open(&container, call->containers, call->id) < 0 || container.held || container_lock(&container) < 0 ||
	    container_status(&container) != CONTAINER_CREATED)
		return -1;
	cleanup_fd int plan_fd = openat(container.fd, "plan", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (plan_fd < 0 || plan_read(&plan, plan_fd) < 0)
		return -1;
	sigprocmask(SIG_BLOCK, NULL, &monitor.signals);
	monitor.plan = &plan;
	monitor.container = &container;
	relay_none(&monitor.relay);
	cleanup_fd int process_fd = container_process(&container);
	monitor.watched_fd = process_fd;
	monitor.notify_fd = notify_open(&container, &plan);
	monitor.sync_fd = container_connect(&container);
	if (monitor.sync_fd < 0 || sync_send(monitor.sync_fd, &start) < 0)
		return -1;
	monitor_attend(&monitor, GOAL_RUNNING);
	container_close_gate(&container);
	if (!monitor.failed && !monitor.running) {
		errno = 0;
		monitor_fail(&monitor, OP_START_GATE, "init", "exited");
	}
	if (!monitor.failed) {
		monitor_run_hooks(&monitor, HOOK_POSTSTART, CONTAINER_RUNNING);
		if (!monitor.failed && monitor.notify_fd >= 0 && container_unlock(&container) == 0)
			monitor_attend(&monitor, GOAL_NOTIFIED);
		if (!monitor.failed)
			return 0;
		if (process_fd >= 0)
			sys_pidfd_send_signal(process_fd, SIGKILL);
	}
	return python_refuse(call->self, plan_fd, &monitor.failure, call->words);
}

/* false: it lives on. */
static bool end_process(const struct container *container)
{
	cleanup_fd int process_fd = container_process(container);
	struct pollfd event = { .fd = process_fd, .events = POLLIN };

	if (process_fd < 0)
		return errno == ESRCH;
	cleanup_fd int cgroup_fd = container->cgroup[0] ? cgroup_open(container->cgroup, container->cgroup_inode) : -1;
	if (cgroup_fd >= 0)
		cgroup_kill(cgroup_fd); /* also what shares the host's process namespace, and what is frozen */
	if (sys_pidfd_send_signal(process_fd, SIGKILL) < 0)
		return errno == ESRCH;
	return poll(&event, 1, END_PATIENCE_MS) == 1;
}

int verb_delete(const struct engine_call *call)
{
	struct container container;
	struct monitor monitor = MONITOR_INITIALIZER;
	struct plan plan;

	if (container_open(&container, call->containers, call->id) < 0 || container.held || container_lock(&container) < 0)
		return -1;
	enum container_status status = container_status(&container);
	if (status == CONTAINER_CREATING || container_read_plan(&container, &plan) < 0)
		return -1;
	if (status != CONTAINER_STOPPED &&
	    ((status != CONTAINER_CREATED && !call->values[ENGINE_FORCE]) || !end_process(&container)))
		return -1;
	if (cgroup_end(container.cgroup, container.cgroup_inode, CGROUP_PATIENCE_MS) < 0)
		return -1;
	container_remove(&container);
	monitor.plan = &plan;
	monitor.self = call->self;
	monitor.words = call->words;
	monitor.container = &container;
	sigprocmask(SIG_BLOCK, NULL, &monitor.signals);
	monitor_run_hooks(&monitor, HOOK_POSTSTOP, CONTAINER_STOPPED);
	return 0;
}
