/* The hooks of the runtime specification, config.md#posix-platform-hooks. */
#pragma once

#include <signal.h>

#include "plan.h"

#define HOOK_FAILURE_MAX 512

/* Run the hooks of `stage` behind `*failed` (NULL: all) in the order of the plan, each with `document`, folded to one
 * line, on its standard input, until one fails.  -1: one has failed; `*failed` is its operation, and `failure` says how. */
int hooks_run(const struct plan *plan, enum plan_hook_stage stage, char *document, const sigset_t *signals,
	      const struct plan_op **failed, char failure[HOOK_FAILURE_MAX]);
bool hooks_present(const struct plan *plan, enum plan_hook_stage stage);
