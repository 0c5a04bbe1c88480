/* The memory of a sandbox has run out: whether, by which limit, and who it was. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "json.h"

struct monitor;

struct oom_process {
	pid_t pid; /* the host's number; 0: nobody */
	long inside; /* its number in the sandbox */
	long long weight; /* in KiB, as the kernel weighs whom to kill */
	bool killed; /* SIGKILL waits for it, or it is about to end by it */
	char name[72]; /* as proc(5) has it: what is no name for a terminal may be in it */
};

/* Whose limit it was. */
enum oom_limit { OOM_NONE, OOM_OWN, OOM_INSIDE, OOM_OUTSIDE };

struct oom {
	int directory_fd; /* owned; the cgroup's, or -1: nothing is watched */
	int events_fd; /* owned; its memory.events, or -1 */
	int current_fd; /* owned; its memory.current, or -1 */
	int timer_fd; /* owned; when to look next, or -1 */
	long long earlier; /* so many had been killed before we came */
	long long killed; /* so many since */
	enum oom_limit limit;
	bool changed; /* it is another one by now than that of the plan */
	struct oom_process heaviest; /* by far, when it was last looked, and nobody had been killed */
	struct timespec looked;
	struct oom_process victim; /* who reached it, if that is certain */
};

#define OOM_INITIALIZER { .directory_fd = -1, .events_fd = -1, .current_fd = -1, .timer_fd = -1 }

void oom_watch(struct monitor *monitor);
void oom_pass(struct monitor *monitor);
void oom_look(struct monitor *monitor);
void oom_end(struct monitor *monitor);
void oom_explain(const struct monitor *monitor);
void oom_put(struct json *json, const struct monitor *monitor);

/* false: `text` is no /proc/PID/status of a process in a namespace below ours. */
bool oom_parse(struct oom_process *process, const char *text);
