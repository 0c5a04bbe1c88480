/* The turns of a container's life, between the first process and the host's side. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "container.h"
#include "exit.h"
#include "hooks.h"
#include "run.h"
#include "sys.h"

/* Wait for the other side's word; whoever is gone wants nothing to go on. */
static void await(const struct run *run, enum sync_type type)
{
	struct sync_message message;

	if (sync_receive(run->sync_fd, &message, NULL) <= 0 || message.type != type)
		_exit(EXIT_OWN_FAILURE);
}

int op_runtime_hooks(struct run *run, const struct plan_runtime_hooks *op)
{
	const struct sync_message hooks = { .type = SYNC_HOOKS };

	(void)op;
	if (sync_send(run->sync_fd, &hooks) < 0)
		return refuse(run, "sendmsg", "hooks");
	await(run, SYNC_RESUME);
	return 0;
}

int op_container_hooks(struct run *run, const struct plan_container_hooks *op)
{
	static char subject[HOOK_FAILURE_MAX + 64]; /* the report is sent later */
	char failure[HOOK_FAILURE_MAX];
	const struct plan_op *failed = NULL;
	bool starts = op->stage == HOOK_START_CONTAINER;

	char *document = container_document(run->plan, run->id, getpid(), starts ? CONTAINER_CREATED : CONTAINER_CREATING, "");
	if (!document)
		return refuse(run, "malloc", "");
	int result = hooks_run(run->plan, op->stage, document, NULL, &failed, failure);
	free(document);
	if (result == 0)
		return 0;
	snprintf(subject, sizeof(subject), "%s hook #%u: %s", starts ? "startContainer" : "createContainer",
		 ((const struct plan_hook *)failed)->index, failure);
	return refuse_with(run, 0, "hook", subject);
}

/* Until somebody comes, a signal that would end any other process ends this one too, though it is process 1. */
static int await_caller(struct run *run)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2 };
	struct signalfd_siginfo info;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaddset(&set, ends[i]);
	cleanup_fd int signals_fd = signalfd(-1, &set, SFD_CLOEXEC);
	struct pollfd events[] = { { .fd = run->gate_fd, .events = POLLIN }, { .fd = signals_fd, .events = POLLIN } };
	if (signals_fd < 0)
		return refuse(run, "signalfd", "");
	while (poll(events, 2, -1) < 0)
		if (errno != EINTR)
			return refuse(run, "poll", "start-gate");
	if (events[1].revents && read(signals_fd, &info, sizeof(info)) == sizeof(info))
		_exit(128 + (int)info.ssi_signo);
	return 0;
}

/* Whoever comes through the gate is the host's side from then on: it is told how the start went. */
static int go_through(struct run *run)
{
	if (await_caller(run) < 0)
		return -1;
	int fd = accept4(run->gate_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return refuse(run, "accept4", "start-gate");
	close(run->sync_fd);
	close(run->gate_fd);
	run->gate_fd = -1;
	run->sync_fd = fd;
	return 0;
}

int op_start_gate(struct run *run, const struct plan_start_gate *op)
{
	const struct sync_message created = { .type = SYNC_CREATED };

	(void)op;
	/* From the answer on, which says that it has been written down, the container is there whether or not its
	 * maker is; without one, nobody would ever find it. */
	if (run->hello.options & SYNC_OUTLIVES && prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_PDEATHSIG", "");
	if (sync_send(run->sync_fd, &created) < 0)
		_exit(EXIT_OWN_FAILURE);
	await(run, SYNC_RESUME);
	if (run->gate_fd >= 0 && go_through(run) < 0)
		return -1;
	await(run, SYNC_START);
	return 0;
}
