#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "sys.h"

#define JOINED_MAX 16

/* What the process between has to say: the number of the new process, or what failed. */
struct answer {
	pid_t pid;
	int error;
	uint32_t index; /* of the operation */
	char call[16];
};

bool join_wanted(const struct plan *plan)
{
	return plan_find(plan, OP_JOIN_NAMESPACE) != NULL;
}

static pid_t failure(struct answer *answer, const char *call)
{
	answer->error = errno;
	snprintf(answer->call, sizeof(answer->call), "%s", call);
	return -1;
}

/* All are opened first: the paths are the caller's, and mean something else in other namespaces. */
static int join_paths(const struct joining *joining, struct answer *answer)
{
	int fds[JOINED_MAX];
	uint32_t index[JOINED_MAX], count = 0, at = 0;

	for (const struct plan_op *op = plan_next(joining->plan, NULL); op; op = plan_next(joining->plan, op), at++) {
		if (op->code != OP_JOIN_NAMESPACE)
			continue;
		answer->index = at;
		if (count == JOINED_MAX) {
			errno = E2BIG;
			return failure(answer, "setns");
		}
		fds[count] = open(plan_text(joining->plan, ((const struct plan_join_namespace *)op)->path),
				  O_RDONLY | O_CLOEXEC);
		index[count] = at;
		if (fds[count++] < 0)
			return failure(answer, "open");
	}
	at = 0;
	for (const struct plan_op *op = plan_next(joining->plan, NULL); op; op = plan_next(joining->plan, op)) {
		if (op->code != OP_JOIN_NAMESPACE)
			continue;
		answer->index = index[at];
		if (setns(fds[at], (int)((const struct plan_join_namespace *)op)->flag) < 0)
			return failure(answer, "setns");
		at++;
	}
	return 0;
}

/* The new process, a sibling of this one. */
static pid_t between(const struct joining *joining, struct answer *answer)
{
	if (joining->cgroup && cgroup_enter(joining->cgroup) < 0)
		return failure(answer, "cgroup.procs");
	if (joining->plan && join_paths(joining, answer) < 0)
		return -1;
	if (joining->process_fd >= 0 && setns(joining->process_fd, (int)joining->namespaces) < 0)
		return failure(answer, "setns");
	pid_t pid = sys_clone(joining->flags, joining->cgroup_fd, true);
	return pid < 0 ? failure(answer, "clone3") : pid;
}

pid_t join_clone(const struct joining *joining, const struct plan_op **failed, const char **call, const char **subject)
{
	static struct answer answer; /* `*call` points into it */
	int pair[2], status;

	*failed = NULL;
	*call = "fork";
	*subject = joining->cgroup ? joining->cgroup : "";
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -1;
	pid_t helper = fork();
	if (helper == 0) {
		close(pair[0]);
		answer.pid = between(joining, &answer);
		if (answer.pid == 0) {
			close(pair[1]);
			return 0;
		}
		_exit(write_whole(pair[1], &answer, sizeof(answer)) ? 0 : 1);
	}
	int error = errno;
	close(pair[1]);
	if (helper < 0) {
		close(pair[0]);
		errno = error;
		return -1;
	}
	ssize_t size = read(pair[0], &answer, sizeof(answer));
	close(pair[0]);
	while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
		;
	if (size == (ssize_t)sizeof(answer) && answer.pid > 0)
		return answer.pid;
	*call = size == (ssize_t)sizeof(answer) ? answer.call : "fork";
	if (joining->plan) {
		const struct plan_op *op = plan_next(joining->plan, NULL);

		for (uint32_t i = 0; op && i < answer.index; i++)
			op = plan_next(joining->plan, op);
		*failed = op && op->code == OP_JOIN_NAMESPACE ? op : NULL;
		if (*failed)
			*subject = plan_text(joining->plan, ((const struct plan_join_namespace *)op)->path);
	}
	errno = size == (ssize_t)sizeof(answer) ? answer.error : EPIPE;
	return -1;
}
