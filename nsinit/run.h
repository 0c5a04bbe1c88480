/* The state of one run inside; the executors of operations work on it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "plan.h"
#include "sync.h"

/* The descriptors with which the first process is executed, from the number in its first argument on: those below it
 * are the command's. */
enum init_fd {
	INIT_PLAN_FD, /* the plan */
	INIT_SYNC_FD, /* the monitor */
	INIT_GATE_FD, /* the start gate's listening socket */
	INIT_PROCESS_FD, /* the first process of a container that is joined */
	INIT_FDS,
};

#define SOURCES_MAX 1024

struct failure {
	const char *call; /* the system call that refused */
	const char *subject; /* what it was done to */
	int error;
};

struct run {
	const struct plan *plan;
	const char *command; /* its name, as the caller gave it */
	const char *id; /* the container's, "" for a sandbox without one */
	int first_fd; /* of init_fd */
	int gate_fd; /* owned; the start gate's socket, or -1 */
	bool joining; /* only the operations of the process stage are meant */
	int sync_fd; /* owned; to the monitor */
	int root_fd; /* owned; the new root's directory, once there is one */
	int proc_fd; /* owned; the host's procfs, known to be one */
	int null_fd; /* owned; the host's /dev/null, known to be it */
	int slave_fd; /* owned; the sandbox's terminal, or -1 */
	int start_fd; /* owned; closed by the command's exec, of which the monitor is to hear, or -1 */
	uint32_t current; /* index of the operation being executed */
	mode_t umask; /* the caller's */
	bool has_oom_score; /* it was set already */
	bool arrived; /* a working directory was changed to */
	int source_count; /* of those that were opened early, by this process itself */
	int sources[SOURCES_MAX]; /* owned */
	struct sync_message hello;
	struct failure failure;
	char name[256]; /* room for the subject of a failure that is no text of the plan */
};

/* Remember which call failed and on what; always returns -1, so that callers can
 * `return refuse(...)`.  Wording is left to whoever reads the report. */
int refuse(struct run *run, const char *call, const char *subject);
int refuse_with(struct run *run, int error, const char *call, const char *subject);

/* Tell the monitor of the failure. */
void report_failure(const struct run *run);

/* Stay as process 1 until the command, `child`, has ended, which `children_fd` tells of (SIGCHLD); then end, and with it
 * everything inside. */
_Noreturn void reap(struct run *run, pid_t child, int children_fd);

/* Open `path` below the new root; no symlink leads out of it. */
int open_below(const struct run *run, const char *path, uint64_t flags);
