/* From the monitor's fork to the first process: what happens in the new namespaces before
 * our image is executed again. */
#pragma once

#include "plan.h"
#include "relay.h"

struct entry {
	const struct plan *plan;
	int plan_fd;
	int sync_fd;
	const struct relay *relay;
	char *const *argv; /* of the first process: its name, then the command */
	char *const *envp; /* of the command */
};

_Noreturn void enter_sandbox(const struct entry *entry);
