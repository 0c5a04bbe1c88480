#pragma once

#include "plan.h"

/* Run the plan in the file `plan_fd` with a command; returns the exit status.
 * `self` is our image's path, beside which Python is found. */
int monitor_run(const struct plan *plan, int plan_fd, const char *self, char *const command[]);
