/* Whoever minds the program beside a sandbox: process 1 of the namespace that it is in. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "plan.h"
#include "sync.h"

struct minder {
	const struct plan *plan;
	const struct plan_companion *op;
	int fd; /* owned; to the monitor */
	int error_fd, ready_fd; /* owned; what the program says, and where it says that it is ready, or -1 */
	int children_fd; /* owned */
	pid_t program;
	bool ready;
	char said[sizeof(((struct sync_message *)0)->subject)];
};

/* The monitor's child enters the user namespace of the sandbox, and makes that process, as a sibling of its own. */
_Noreturn void minder_go_between(struct minder *minder, pid_t first_process);
