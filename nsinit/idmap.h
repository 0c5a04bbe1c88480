#pragma once

#include <sys/types.h>

#include "plan.h"

/* Let newuidmap(1) and newgidmap(1) fill the id maps of `process`, which waits for it at the other end of `sync_fd`;
 * nothing to do where the plan names no helpers.  On -1, `*call` is what failed and `*subject` on what. */
int map_ids(const struct plan *plan, pid_t process, int sync_fd, const char **call, const char **subject);
