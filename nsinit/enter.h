/* From the monitor's fork to the first process: what happens in the new namespaces before
 * our image is executed again. */
#pragma once

#include "plan.h"
#include "relay.h"

struct entry {
	const struct plan *plan;
	int plan_fd;
	int sync_fd;
	int extra_fd; /* see INIT_EXTRA_FD, or -1 */
	int image_fd; /* made beforehand, or -1 */
	unsigned int descriptors; /* so many from 3 on are the command's */
	bool joining; /* the container is there already */
	uint64_t late_namespaces; /* CLONE_NEW*, to be made only there */
	const struct relay *relay;
	char *const *argv; /* of the first process: its name, then the command */
	char *const *envp; /* of the command */
};

_Noreturn void enter_sandbox(const struct entry *entry);

/* A sealed copy of our own program, or -1. */
int enter_sealed_image(void);
