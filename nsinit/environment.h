#pragma once

#include "plan.h"

/* The variables that the plan gives the command, NULL-terminated and freed by the caller; NULL: no memory.
 * The strings are the plan's and the caller's. */
char **command_environment(const struct plan *plan, char *const *further);
