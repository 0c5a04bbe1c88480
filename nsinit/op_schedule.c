/* How much of the machine the command gets, and when: limits, priorities, processors, memory nodes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

int op_set_rlimit(struct run *run, const struct plan_set_rlimit *op)
{
	struct rlimit limit = { .rlim_cur = op->soft, .rlim_max = op->hard };

	return setrlimit(op->resource, &limit) < 0 ? refuse(run, "setrlimit", "") : 0;
}

int op_set_umask(struct run *run, const struct plan_set_umask *op)
{
	run->umask = op->mask & 0777;
	return 0;
}

int op_set_nice(struct run *run, const struct plan_set_nice *op)
{
	return setpriority(PRIO_PROCESS, 0, (int)op->value) < 0 ? refuse(run, "setpriority", "") : 0;
}

int op_set_oom_score(struct run *run, const struct plan_set_oom_score *op)
{
	char text[16];
	cleanup_fd int fd = sys_openat2(run->proc_fd, "self/oom_score_adj", O_WRONLY,
					RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);

	if (fd < 0)
		return refuse(run, "openat2", "/proc/self/oom_score_adj");
	int length = snprintf(text, sizeof(text), "%d", (int)op->value);
	if (write(fd, text, (size_t)length) < 0)
		return refuse(run, "write", "/proc/self/oom_score_adj");
	return 0;
}

int op_set_scheduler(struct run *run, const struct plan_set_scheduler *op)
{
	const struct { /* struct sched_attr, sched_setattr(2) */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attributes = {
		.size = sizeof(attributes), .policy = op->policy, .flags = op->flags, .nice = (int32_t)op->nice,
		.priority = op->priority, .runtime = op->runtime, .deadline = op->deadline, .period = op->period,
	};

	return syscall(SYS_sched_setattr, 0, &attributes, 0) < 0 ? refuse(run, "sched_setattr", "") : 0;
}

int op_set_io_priority(struct run *run, const struct plan_set_io_priority *op)
{
	const int who_process = 1;

	return syscall(SYS_ioprio_set, who_process, 0, op->value) < 0 ? refuse(run, "ioprio_set", "") : 0;
}

int op_set_personality(struct run *run, const struct plan_set_personality *op)
{
	return personality(op->domain) < 0 ? refuse(run, "personality", "") : 0;
}

int op_set_memory_policy(struct run *run, const struct plan_set_memory_policy *op)
{
	/* The kernel takes one bit less than it is told. */
	const unsigned long bits = op->nodes.size ? op->nodes.size * 8 + 1 : 0;
	const void *nodes = bits ? plan_blob(run->plan, op->nodes) : NULL;

	return syscall(SYS_set_mempolicy, op->mode, nodes, bits) < 0 ? refuse(run, "set_mempolicy", "") : 0;
}

int op_pin_cpus(struct run *run, const struct plan_pin_cpus *op)
{
	if (syscall(SYS_sched_setaffinity, 0, op->cpus.size, plan_blob(run->plan, op->cpus)) < 0)
		return refuse(run, "sched_setaffinity", "");
	return 0;
}
