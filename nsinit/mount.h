/* Trees of mounts that are attached nowhere yet, and their way to a place. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "run.h"
#include "sys.h"

/* What becomes of the attributes of a tree of mounts: first of all of them, then of the one at its top. */
struct change {
	struct mount_attributes all, top;
};

int mount_source(const char *path);
int mount_copy(struct run *run, int source_fd, const char *source, bool recursive, const struct change *change);
int mount_file(struct run *run, int source_fd, const char *source, uint64_t attributes);
int mount_new(struct run *run, const char *fstype, const char *first, const struct plan_texts *options,
	      uint64_t attributes);
int mount_change(struct run *run, int tree_fd, const char *subject, const struct change *change);
int mount_map_ids(struct run *run, int tree_fd, const char *subject, bool recursive, const char *uid_map,
		  const char *gid_map);
int mount_attach(struct run *run, int tree_fd, int place_fd, const char *target);

/* Attach it to `target`, which is made where it is absent, as open_place() has it. */
int mount_place(struct run *run, int tree_fd, const char *target, mode_t kind, mode_t mode);

/* Copy what lies in the directory `from_fd` into `to_fd`, a file system that nobody else has yet. */
int copy_up(struct run *run, int from_fd, int to_fd);
