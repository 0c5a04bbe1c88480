/* A container's cgroup, where the plan has one: made, entered by descriptor, ended with what was made below it.
 *
 * What is written down of it is its directory and that one's inode number, which the kernel gives to no other (since Linux
 * 5.5): whoever has the name later is nobody's of ours, and neither killed nor removed. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "plan.h"

/* Where it will be, to be written down before it is made: a path without an inode number says that it may be there. */
int cgroup_name(const struct plan *plan, const char *id, char path[PATH_MAX]);

/* Make it; `path` receives its directory, which is returned opened, and `inode` its number.  On -1, `*subject` is what
 * failed.  EBUSY: there is one already that has processes in it or is frozen. */
int cgroup_make(const struct plan *plan, const char *id, char path[PATH_MAX], uint64_t *inode, const char **subject);

/* Hand the plan's controllers down from `above` to `path`, which is in it, and make the plan's settings there, and with `both` in `above`. */
int cgroup_divide(const struct plan *plan, const char *above, bool both, const char *path, uint64_t *inode, const char **subject);
int cgroup_move(const char *path, pid_t pid); /* 0: ourselves */

int cgroup_open(const char *path, uint64_t inode);
int cgroup_enter(const char *path, uint64_t inode); /* 0: whichever has the name */
bool cgroup_is_frozen(const char *path, uint64_t inode);

/* Kill everything in it and below; what is killed is not gone yet. */
void cgroup_kill(int directory_fd);

#define CGROUP_PATIENCE_MS 3000 /* for what was killed, where it has to be gone */
#define CGROUP_GLANCE_MS 20 /* where the next may do it */

/* Kill what is left in it, and remove it with all that was made below, for so long at most.  -1: it is still there. */
int cgroup_end(const char *path, uint64_t inode, int patience_ms);

ssize_t cgroup_read(int directory_fd, const char *name, char *text, size_t size);
int cgroup_write(int directory_fd, const char *name, const char *value);
