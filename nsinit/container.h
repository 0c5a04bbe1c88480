/* A container's directory in the state tree: containers/ID.
 *
 * That of an OCI container is there from `create` to `delete`; its lock is held only while one of them, or `start`, is at
 * work.  That of a sandbox is `held`: its monitor has the lock as long as it runs, and with the lock free it is a
 * left-over, unless there is a result.json: then it ran detached, has ended, and is kept.  state.json says which it is; without one, or with no process in it, a free lock means a left-over of either. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "plan.h"

#define CONTAINER_DOCUMENT_MAX (1u << 20)

struct container {
	int parent_fd; /* owned */
	int fd; /* owned; locked or not */
	char id[256];
	pid_t pid; /* the host's number of the first process, 0 while it is being created */
	unsigned long long started; /* when that was started, proc(5) stat field 22 */
	char created[40]; /* RFC 3339 */
	char cgroup[PATH_MAX]; /* its directory, "" without one */
	uint64_t cgroup_inode; /* of that directory; 0: it was about to be made */
	bool held; /* a sandbox's */
	bool replaces; /* it takes the name of one that has ended */
};

enum container_taken {
	TAKEN, /* it is ours, locked, and empty */
	TAKEN_BY_OTHER, /* there is a container of that name */
	TAKEN_FOR_NOW, /* somebody is at it */
	TAKEN_FAILED,
};

enum container_status { CONTAINER_CREATING, CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_PAUSED, CONTAINER_STOPPED };

bool container_id_valid(const char *id);
int container_make(struct container *container, const char *directory, const char *id);
int container_open(struct container *container, const char *directory, const char *id);
int container_lock(const struct container *container);
int container_unlock(const struct container *container);
int container_keep_plan(const struct container *container, const struct plan *plan);
int container_open_plan(const struct container *container);
int container_read_plan(const struct container *container, struct plan *plan);
int container_read_record(struct container *container);
int container_record(struct container *container, const struct plan *plan, char *const command[]);
enum container_taken container_take(struct container *container, bool fresh);
void container_clean(int parent_fd, const char *id);
bool container_has_ended(const struct container *container);
int container_process(const struct container *container);
enum container_status container_status(const struct container *container);
const char *container_status_name(enum container_status status);
int container_open_gate(const struct container *container);
int container_connect(const struct container *container);
void container_close_gate(const struct container *container);
void container_remove(struct container *container);
void container_close(struct container *container);

unsigned long long process_start_time(pid_t pid, char *state);

/* The OCI state document, in memory of the caller's to free(); NULL for want of it. */
char *container_document(const struct plan *plan, const char *id, pid_t pid, enum container_status status,
			 const char *created);
