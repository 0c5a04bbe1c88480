#pragma once

#include "monitor.h"

/* Run a sandbox from its start to its end, and return the command's exit status. */
int sandbox_run(const struct plan *plan, int plan_fd, const char *self, char *const command[]);
void sandbox_prepare(struct monitor *monitor);
