/* A container's cgroup, where the plan has one: made, entered by descriptor, removed with what was made below it. */
#pragma once

#include <limits.h>

#include "plan.h"

/* Where it is to be. */
int cgroup_name(const struct plan *plan, const char *id, char path[PATH_MAX]);

/* Make it; `path` receives its directory, which is returned opened.  On -1, `*subject` is what failed.
 * EBUSY: there is one already that has processes in it or is frozen. */
int cgroup_make(const struct plan *plan, const char *id, char path[PATH_MAX], const char **subject);
int cgroup_enter(const char *path);
int cgroup_kill(const char *path);
int cgroup_remove(const char *path);
