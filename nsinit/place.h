/* Places below the new root. */
#pragma once

#include <sys/types.h>

#include "run.h"

/* Each opens with O_PATH and gives a descriptor of the caller's, or -1 with errno set. */

/* The directory in which `path` lies, made with its parents where it is absent; `*name` becomes the last component,
 * which nothing has looked at. */
int open_parent(const struct run *run, const char *path, const char **name);

/* The directory `path`, made with its parents where it is absent; `mode` is its own. */
int open_directory(const struct run *run, const char *path, mode_t mode);

/* The mount point `target`, made where it is absent: a directory with this mode, or for any other `kind` a file. */
int open_place(const struct run *run, const char *target, mode_t kind, mode_t mode);

/* The mount point `target`, made where it is absent, of which the last component is no symlink. */
int open_plain_place(const struct run *run, const char *target, mode_t kind, mode_t mode);
