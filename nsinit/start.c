/* From the host's side into the namespaces: how the first process comes to be. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cgroup.h"
#include "enter.h"
#include "environment.h"
#include "idmap.h"
#include "join.h"
#include "monitor.h"
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
	sync_send(monitor->sync_fd, &hello); /* a process that is gone already is noticed by its EOF */
}

/* Fork into the namespaces: straight, or where some are joined by way of a process between. */
static void fork_first(struct monitor *monitor, struct entry *entry, int cgroup_fd)
{
	const struct plan_isolate *isolate = (const struct plan_isolate *)plan_find(monitor->plan, OP_ISOLATE);
	struct joining joining = {
		.plan = monitor->process_fd < 0 ? monitor->plan : NULL, .process_fd = monitor->process_fd, .cgroup_fd = cgroup_fd,
	};
	const struct plan_op *failed = NULL;
	const char *call = "clone3", *subject = "";

	if (monitor->process_fd >= 0) {
		const struct plan_container *op = (const struct plan_container *)plan_find(monitor->plan, OP_CONTAINER);

		joining.namespaces = op ? op->namespaces : 0;
		joining.cgroup = monitor->container->cgroup[0] ? monitor->container->cgroup : NULL;
	} else if (isolate && isolate->flags) {
		joining.flags = isolate->flags;
	} else {
		errno = EBADMSG; /* a command that nothing isolates is never run */
		monitor_fail(monitor, OP_ISOLATE, "plan", "");
		return;
	}
	/* A cgroup namespace shows as its root the cgroup that its maker is in: that has to be the new one. */
	if (cgroup_fd >= 0)
		entry->late_namespaces = joining.flags & CLONE_NEWCGROUP;
	joining.flags &= ~entry->late_namespaces;
	if (monitor->process_fd >= 0 || join_wanted(monitor->plan))
		monitor->init = join_clone(&joining, &failed, &call, &subject);
	else
		monitor->init = sys_clone(joining.flags, cgroup_fd, false);
	if (monitor->init == 0)
		enter_sandbox(entry);
	if (monitor->init < 0)
		monitor_fail_at(monitor, failed ? failed : plan_find(monitor->plan, OP_ISOLATE), call, subject);
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
	argv[2] = monitor->container ? monitor->container->id : (char *)(uintptr_t)"";
	memcpy(argv + 3, monitor->command, count * sizeof(*argv));
	return argv;
}

static int make_cgroup(struct monitor *monitor)
{
	const char *subject;

	if (!monitor->container || monitor->process_fd >= 0 || !plan_find(monitor->plan, OP_CGROUP))
		return -1;
	int fd = cgroup_make(monitor->plan, monitor->container->id, monitor->container->cgroup, &subject);
	if (fd < 0)
		monitor_fail(monitor, OP_CGROUP, "cgroup", subject);
	return fd;
}

/* The image from which a process that joins goes on is made outside: inside, the container could name it. */
static void enter_prepare(struct monitor *monitor, struct entry *entry)
{
	entry->image_fd = enter_sealed_image();
	if (entry->image_fd < 0)
		monitor_fail(monitor, OP_CONTAINER, "memfd_create", "");
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
	cleanup_fd int peer_fd = pair[1];
	char **argv = first_arguments(monitor, number), **envp = command_environment(monitor->plan, monitor->variables);
	struct entry entry = {
		.plan = monitor->plan, .plan_fd = monitor->plan_fd, .sync_fd = peer_fd, .extra_fd = monitor->extra_fd,
		.image_fd = -1, .descriptors = monitor->descriptors, .joining = monitor->process_fd >= 0, .argv = argv,
		.envp = envp, .relay = &monitor->relay,
	};
	if (!argv || !envp) {
		errno = ENOMEM;
		monitor_fail(monitor, OP_ISOLATE, "plan", "");
		return;
	}
	cleanup_fd int cgroup_fd = make_cgroup(monitor);
	if (!monitor->failed && entry.joining)
		enter_prepare(monitor, &entry);
	if (!monitor->failed)
		fork_first(monitor, &entry, cgroup_fd);
	close_fd(&entry.image_fd);
	close_fd(&monitor->relay.pipe_fd);
	monitor->relay.pipe_fd = -1;
	free(envp);
	free(argv);
	if (monitor->failed)
		return;
	if (!entry.joining && map_ids(monitor->plan, monitor->init, monitor->sync_fd, &call, &subject) < 0) {
		monitor_fail(monitor, OP_MAP_IDS, call, subject);
		return;
	}
	say_hello(monitor, &monitor->signals);
	if (monitor->registration.fd >= 0 && state_record(&monitor->registration, monitor->init) < 0)
		monitor_fail(monitor, OP_REGISTER, "write", "pid");
}
