/* Namespaces that are there already: members of them become members by setns(2), in a process between. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "plan.h"

/* What the process between does before it makes the first process. */
struct joining {
	const struct plan *plan; /* whose JoinNamespace operations are meant, or NULL */
	int process_fd; /* a process all of whose `namespaces` (CLONE_NEW*) are joined, or -1 */
	uint64_t namespaces;
	uint64_t flags; /* of the clone: namespaces that are made */
	int cgroup_fd; /* to start in, or -1 */
	const char *cgroup; /* the same by its path, to be entered from outside; or NULL */
};

bool join_wanted(const struct plan *plan);

/* Fork into it: 0 in the new process, which is the caller's child; -1 with `*failed`, `*call` and `*subject`. */
pid_t join_clone(const struct joining *joining, const struct plan_op **failed, const char **call, const char **subject);
