/* From the monitor's fork to the first process: what happens in the new namespaces before
 * our image is executed again. */
#pragma once

#include "plan.h"
#include "relay.h"
#include "run.h"

struct entry {
	const struct plan *plan;
	int plan_fd;
	int sync_fd;
	int gate_fd; /* the start gate's socket, or -1 */
	int process_fd; /* the first process of a container that is joined, or -1 */
	const char *cgroup; /* to be entered, or NULL */
	uint64_t cgroup_inode; /* its; 0: whichever has the name */
	unsigned int descriptors; /* so many from 3 on are the command's */
	uint64_t late_namespaces; /* CLONE_NEW*, to be made only there */
	const struct relay *relay;
	char **argv; /* of the first process: its name, then the command */
	char *const *envp; /* of the command */
};

_Noreturn void enter_sandbox(const struct entry *entry);

/* The same, in a process that is still outside: it executes our image as join_main(). */
_Noreturn void enter_from_outside(const struct entry *entry);

/* Take on ids in the present user namespace: map them, unless it was `joined`, and become its root where that is meant. */
int enter_identity(struct run *run, const struct plan_map_ids *ids, bool joined);

/* Let nothing that is mounted from here on show outside. */
int enter_keep_mounts(struct run *run);

/* Become the root of a user namespace that others have made, if it has one. */
int enter_as_root(struct run *run);

/* Keep all capabilities in our namespace across the exec that follows, though we may not be id 0 there. */
int enter_keep_capabilities(struct run *run);
