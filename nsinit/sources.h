/* Sources of mounts that are opened, or copied, before the first process is who it is to be inside. */
#pragma once

#include "plan.h"
#include "run.h"

/* Open those of the plan into `run->sources`. */
int sources_open(struct run *run);

/* Give them, in their order, the numbers from `first_fd` on, open across exec; they lie behind those. */
int sources_place(struct run *run, int first_fd);

/* The descriptor of an operation's source, for the caller to close: opened before, if `early`, or now. */
int source_take(const struct run *run, const struct plan_op *op, uint32_t early, const char *path);
