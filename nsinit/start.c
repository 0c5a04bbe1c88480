/* From the host's side into the namespaces: how the first process comes to be. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "enter.h"
#include "environment.h"
#include "idmap.h"
#include "join.h"
#include "monitor.h"
#include "scope.h"
#include "sys.h"

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
	struct sync_message hello = {
		.type = SYNC_HELLO, .options = monitor->options, .descriptors = monitor->descriptors,
	};

	for (int number = 1; number <= 64; number++)
		if (sigismember(mask, number) == 1)
			hello.signal_mask |= 1ull << (number - 1);
	relay_describe(&monitor->relay, &hello);
	monitor_answer(monitor, &hello, "hello");
}

/* Are there others who could see it before it is the command? */
static bool is_seen(const struct monitor *monitor, uint64_t flags)
{
	return monitor->process_fd >= 0 || join_wanted(monitor->plan) || !(flags & CLONE_NEWPID);
}

/* By way of a process that is outside yet; it tells us of the one that it makes. */
static void fork_outside(struct monitor *monitor, struct entry *entry)
{
	struct sync_message message;

	entry->argv[0] = (char *)(uintptr_t)(monitor->process_fd >= 0 ? "sandbox-join" : "sandbox-enter");
	pid_t between = fork();
	if (between == 0)
		enter_from_outside(entry);
	if (between < 0) {
		monitor_fail(monitor, OP_ISOLATE, "fork", "");
		return;
	}
	/* Else its end would not be seen. */
	close(entry->sync_fd);
	entry->sync_fd = -1;
	/* Once it has made the first process, that holds its end of the socket too: an end without a word shows here alone. */
	cleanup_fd int between_fd = sys_pidfd_open(between);
	struct pollfd events[] = { { .fd = monitor->sync_fd, .events = POLLIN }, { .fd = between_fd, .events = POLLIN } };
	while (!monitor->init) {
		if (poll(events, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			monitor_fail(monitor, OP_ISOLATE, "poll", "");
			break;
		}
		if (!events[0].revents || sync_receive(monitor->sync_fd, &message, NULL) <= 0)
			break;
		if (message.type == SYNC_FORKED)
			monitor->init = (pid_t)message.number;
		else if (message.type == SYNC_FAILURE && !monitor->failed)
			monitor->failed = true, monitor->failure = message;
	}
	while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	if (!monitor->init && !monitor->failed) {
		errno = 0;
		monitor_fail(monitor, OP_ISOLATE, "init", "exited");
	}
}

static void fork_first(struct monitor *monitor, struct entry *entry, int cgroup_fd)
{
	const struct plan_isolate *isolate = (const struct plan_isolate *)plan_find(monitor->plan, OP_ISOLATE);
	uint64_t flags = isolate ? isolate->flags : 0;

	if (monitor->process_fd < 0 && !flags) {
		errno = EBADMSG; /* a command that nothing isolates is never run */
		monitor_fail(monitor, OP_ISOLATE, "plan", "");
	} else if (is_seen(monitor, flags)) {
		entry->cgroup = monitor->container && monitor->container->cgroup[0] ? monitor->container->cgroup : NULL;
		entry->cgroup_inode = entry->cgroup ? monitor->container->cgroup_inode : 0;
		fork_outside(monitor, entry);
	} else {
		/* A cgroup namespace shows as its root the cgroup that its maker is in: that has to be the new one.  In a scope
		 * it is there with HELLO. */
		entry->late_namespaces = cgroup_fd >= 0 ? flags & CLONE_NEWCGROUP : 0;
		uint64_t later = scope_wanted(monitor->plan) ? CLONE_NEWCGROUP : entry->late_namespaces;
		monitor->init = sys_clone(flags & ~later, cgroup_fd, false);
		if (monitor->init == 0)
			enter_sandbox(entry);
		if (monitor->init < 0)
			monitor_fail(monitor, OP_ISOLATE, "clone3", "");
	}
}

/* argv of the first process: its name, the number of its first descriptor, the container's id, the command. */
static char **first_arguments(const struct monitor *monitor, char number[16])
{
	size_t count = 0;

	while (monitor->command[count])
		count++;
	char **argv = calloc(count + 4, sizeof(*argv));
	if (!argv)
		return NULL;
	snprintf(number, 16, "%u", 3 + monitor->descriptors);
	argv[0] = (char *)(uintptr_t)"sandbox-init";
	argv[1] = number;
	argv[2] = monitor->container && !monitor->container->held ? monitor->container->id : (char *)(uintptr_t)"";
	memcpy(argv + 3, monitor->command, count * sizeof(*argv));
	return argv;
}

/* Should we be killed, whoever cleans up has to know where to look, before the cgroup is there (that of a container is
 * written down already), and then that it is ours. */
static int make_cgroup(struct monitor *monitor)
{
	struct container *container = monitor->container ? monitor->container : &monitor->registered;
	const char *subject;

	/* One in a scope is made when that is there. */
	if (monitor->process_fd >= 0 || !plan_find(monitor->plan, OP_CGROUP) || scope_wanted(monitor->plan))
		return -1;
	if (container->held && (cgroup_name(monitor->plan, container->id, container->cgroup) < 0 ||
				container_record(container, monitor->plan, monitor->command) < 0)) {
		monitor_fail(monitor, OP_CONTAINER, "write", "state.json");
		container->cgroup[0] = 0;
		return -1;
	}
	int fd = cgroup_make(monitor->plan, container->id, container->cgroup, &container->cgroup_inode, &subject);
	if (fd < 0)
		monitor_fail(monitor, OP_CGROUP, "cgroup", subject);
	else if (container_record(container, monitor->plan, container->held ? monitor->command : NULL) < 0)
		monitor_fail(monitor, OP_CONTAINER, "write", "state.json");
	return fd;
}

/* Of a process that has ended systemd makes no scope: what counts is why it has ended, if it has said so. */
static void hear_first(struct monitor *monitor)
{
	struct pollfd event = { .fd = monitor->sync_fd, .events = POLLIN };
	struct sync_message message;

	if (poll(&event, 1, 0) > 0 && sync_receive(monitor->sync_fd, &message, NULL) > 0 && message.type == SYNC_FAILURE)
		monitor->failure = message;
}

static bool make_scope(struct monitor *monitor, int bus_fd)
{
	scope_await(monitor, bus_fd);
	if (monitor->failed)
		hear_first(monitor);
	if (!monitor->failed && monitor->container && container_record(monitor->container, monitor->plan, NULL) < 0)
		monitor_fail(monitor, OP_CONTAINER, "write", "state.json");
	return !monitor->failed;
}

/* Signals are held back by now: what is made is removed. */
static void take_stubs(struct monitor *monitor)
{
	const struct plan_op *failed;
	const char *call;

	if (monitor->registered.parent_fd >= 0 &&
	    stubs_take(&monitor->stubs, monitor->plan, monitor->registered.parent_fd, &failed, &call) < 0)
		monitor_fail_at(monitor, failed, call, "");
}

void monitor_start(struct monitor *monitor)
{
	const char *call, *subject;
	char number[16];
	int pair[2];

	monitor->signals_fd = take_signals(&monitor->signals);
	if (monitor->signals_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		monitor_fail(monitor, OP_ISOLATE, "socketpair", "");
		return;
	}
	monitor->sync_fd = pair[0];
	char **argv = first_arguments(monitor, number), **envp = command_environment(monitor->plan, monitor->variables);
	struct entry entry = {
		.plan = monitor->plan, .plan_fd = monitor->plan_fd, .sync_fd = pair[1], .gate_fd = monitor->gate_fd,
		.process_fd = monitor->process_fd, .descriptors = monitor->descriptors, .argv = argv, .envp = envp,
		.relay = &monitor->relay,
	};
	if (!argv || !envp) {
		errno = ENOMEM;
		monitor_fail(monitor, OP_ISOLATE, "plan", "");
		return;
	}
	take_stubs(monitor);
	cleanup_fd int cgroup_fd = monitor->failed ? -1 : make_cgroup(monitor);
	cleanup_fd int bus_fd = monitor->failed ? -1 : scope_connect(monitor);
	if (!monitor->failed)
		fork_first(monitor, &entry, cgroup_fd);
	if (!monitor->failed && bus_fd >= 0)
		scope_ask(monitor, bus_fd);
	close_fd(&entry.sync_fd);
	close_fd(&monitor->relay.pipe_fd);
	monitor->relay.pipe_fd = -1;
	free(envp);
	free(argv);
	if (monitor->failed)
		return;
	/* As long as it is ours: of a process that has become another id, systemd thinks that it is none of ours. */
	if (bus_fd >= 0 && !make_scope(monitor, bus_fd))
		return;
	if (monitor->process_fd < 0 && map_ids(monitor->plan, monitor->init, monitor->sync_fd, &call, &subject) < 0) {
		monitor_fail(monitor, OP_MAP_IDS, call, subject);
		return;
	}
	/* Before the word to go on: whoever hears from the command finds the sandbox. */
	monitor->registered.pid = monitor->init;
	if (monitor->registered.fd >= 0 &&
	    container_record(&monitor->registered, monitor->plan, monitor->command) < 0) {
		monitor_fail(monitor, OP_CONTAINER, "write", "state.json");
		return;
	}
	say_hello(monitor, &monitor->signals);
}
