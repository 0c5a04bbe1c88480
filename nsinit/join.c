/* Whoever enters a namespace in which others are can be looked at by them: a process with CAP_SYS_PTRACE in there
 * could take our descriptors, which lead outside, before the command is executed (runc CVE-2016-9962).  So our image is
 * executed while we are still outside, where the process that it makes becomes undumpable before it enters anything;
 * what follows is not executed from an image again until the command is. */
#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "enter.h"
#include "exit.h"
#include "init.h"
#include "run.h"
#include "sys.h"

#define JOINED_MAX 16

bool join_wanted(const struct plan *plan)
{
	return plan_find(plan, OP_JOIN_NAMESPACE) != NULL;
}

/* Of an undumpable process this file belongs to root: it is written before. */
static int set_oom_score(struct run *run)
{
	const struct plan_op *op = plan_find(run->plan, OP_SET_OOM_SCORE);

	if (!op)
		return 0;
	run->current = plan_index(run->plan, op);
	if (plan_dispatch(run, op) < 0)
		return -1;
	run->has_oom_score = true;
	return 0;
}

/* All are opened first: the paths are the caller's, and mean something else in other namespaces. */
static int join_paths(struct run *run)
{
	const struct plan_op *op;
	int fds[JOINED_MAX], count = 0, at = 0;

	run->current = 0;
	for (op = plan_next(run->plan, NULL); op; op = plan_next(run->plan, op), run->current++) {
		if (op->code != OP_JOIN_NAMESPACE)
			continue;
		const char *path = plan_text(run->plan, ((const struct plan_join_namespace *)op)->path);
		if (count == JOINED_MAX)
			return refuse_with(run, E2BIG, "setns", path);
		fds[count] = open(path, O_RDONLY | O_CLOEXEC);
		if (fds[count++] < 0)
			return refuse(run, "open", path);
	}
	run->current = 0;
	for (op = plan_next(run->plan, NULL); op; op = plan_next(run->plan, op), run->current++) {
		if (op->code != OP_JOIN_NAMESPACE)
			continue;
		const struct plan_join_namespace *joined = (const struct plan_join_namespace *)op;
		if (setns(fds[at], (int)joined->flag) < 0)
			return refuse(run, "setns", plan_text(run->plan, joined->path));
		close(fds[at++]);
	}
	return 0;
}

/* Enter, and fork: a process namespace is that of one's children.  The child is the monitor's own. */
static int enter_namespaces(struct run *run, pid_t *child)
{
	const struct plan_isolate *isolate = (const struct plan_isolate *)plan_find(run->plan, OP_ISOLATE);
	const struct plan_container *container = (const struct plan_container *)plan_find(run->plan, OP_CONTAINER);
	uint64_t flags = 0;

	if (run->joining) {
		int process_fd = run->first_fd + INIT_PROCESS_FD;

		run->current = container ? plan_index(run->plan, (const struct plan_op *)container) : 0;
		if (!container || setns(process_fd, (int)container->namespaces) < 0)
			return refuse(run, "setns", "");
		close(process_fd);
	} else {
		if (join_paths(run) < 0)
			return -1;
		run->current = isolate ? plan_index(run->plan, (const struct plan_op *)isolate) : 0;
		flags = isolate ? isolate->flags & ~init_late_namespaces(run->plan) : 0;
	}
	*child = sys_clone(flags, -1, true);
	if (*child < 0)
		return refuse(run, "clone3", "");
	/* Alone in a process namespace nobody sees it. */
	if (*child == 0 && flags & CLONE_NEWPID && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_DUMPABLE", "");
	return 0;
}

static bool joins_user_namespace(const struct plan *plan)
{
	for (const struct plan_op *op = plan_next(plan, NULL); op; op = plan_next(plan, op))
		if (op->code == OP_JOIN_NAMESPACE && ((const struct plan_join_namespace *)op)->flag == CLONE_NEWUSER)
			return true;
	return false;
}

/* The child takes on its ids.  To map them itself it has to own its files in /proc; in a new user namespace nobody of
 * those who see it has a capability over it. */
static int take_identity(struct run *run)
{
	const struct plan_map_ids *ids = (const struct plan_map_ids *)plan_find(run->plan, OP_MAP_IDS);
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

	if (ids)
		run->current = plan_index(run->plan, (const struct plan_op *)ids);
	if (!run->joining && ids && !ids->by_monitor && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_DUMPABLE", "");
	if (enter_identity(run, ids, run->joining) < 0)
		return -1;
	if (!run->joining && joins_user_namespace(run->plan) && enter_as_root(run) < 0)
		return -1;
	/* Changed ids may have changed it too. */
	return prctl(PR_SET_DUMPABLE, dumpable == 1, 0, 0, 0) < 0 ? refuse(run, "PR_SET_DUMPABLE", "") : 0;
}

static int prepare(struct run *run, struct plan *plan)
{
	run->current = 0;
	if (plan_read(plan, run->first_fd + INIT_PLAN_FD) < 0)
		return refuse(run, "plan", "");
	close(run->first_fd + INIT_PLAN_FD);
	if (init_open_host(run) < 0 || set_oom_score(run) < 0)
		return -1;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return refuse(run, "PR_SET_DUMPABLE", "");
	return 0;
}

int join_main(char *const argv[])
{
	struct sync_message forked = { .type = SYNC_FORKED };
	struct plan plan;
	struct run run;
	pid_t child = -1;

	init_run(&run, argv);
	run.plan = &plan;
	run.joining = !strcmp(argv[0], "sandbox-join");
	if (prepare(&run, &plan) < 0 || enter_namespaces(&run, &child) < 0)
		return init_fail(&run);
	if (child > 0) {
		forked.number = (uint32_t)child;
		return sync_send(run.sync_fd, &forked) < 0 ? EXIT_OWN_FAILURE : 0;
	}
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
		refuse(&run, "PR_SET_PDEATHSIG", "");
		return init_fail(&run);
	}
	/* What was opened before lies in another mount namespace, and cannot be bound in this one. */
	if (!run.joining) {
		close(run.proc_fd);
		close(run.null_fd);
		if (init_open_host(&run) < 0)
			return init_fail(&run);
	}
	if (take_identity(&run) < 0 || (!run.joining && enter_keep_mounts(&run) < 0))
		return init_fail(&run);
	init_await_hello(&run);
	return init_proceed(&run, argv);
}
