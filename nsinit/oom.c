/* Who has run out of memory is known to the kernel alone, and once it is said that somebody was killed, that process is
 * about to be gone, with its memory; where all are killed together, it is one among them.  So it is looked before: at each
 * word that the limit was reached, which comes when the kernel begins to look for what it can free, and, as that can be a
 * moment before the end, by a timer too, sooner the less memory there is left.
 *
 * Whoever weighed by far the most then, and is being killed now, is named; if there is any doubt, nobody. */
#define _GNU_SOURCE
#include "oom.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "figures.h"
#include "monitor.h"
#include "sys.h"

#define SECOND 1000000000ll /* in ns */
#define SOONEST (SECOND / 20)
#define LATEST SECOND
#define FRESH (2 * SECOND)
#define SHARE 50 /* a look takes at most one part in so many of the time */
#define PROCS_MAX 8192 /* bytes of cgroup.procs, a thousand processes; of more nobody is named */

static const struct plan_memory_limit *asked(const struct monitor *monitor)
{
	return (const struct plan_memory_limit *)plan_find(monitor->plan, OP_MEMORY_LIMIT);
}

static long long now(struct timespec *time)
{
	clock_gettime(CLOCK_MONOTONIC, time);
	return time->tv_sec * SECOND + time->tv_nsec;
}

/* --- a process -------------------------------------------------------------------------------------- */

/* What stands behind `field`, at the beginning of a line; names have no newline in them. */
static const char *field(const char *text, const char *name)
{
	size_t length = strlen(name);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
		if (!strncmp(text, name, length))
			return text + length + strspn(text + length, "\t ");
	return NULL;
}

static long long kibibytes(const char *text, const char *name)
{
	const char *value = field(text, name);
	long long number = value ? figures_find(value, "", NULL) : 0;

	return number > 0 && number < INT32_MAX ? number : 0;
}

bool oom_parse(struct oom_process *process, const char *text)
{
	const char *name = field(text, "Name:"), *inside = field(text, "NSpid:"), *pending = field(text, "ShdPnd:");
	size_t length = name ? strcspn(name, "\n") : 0;
	char *end;

	if (!name || !inside || !pending || !length || length >= sizeof(process->name))
		return false;
	memcpy(process->name, name, length);
	process->name[length] = 0;
	errno = 0;
	strtol(inside, &end, 10); /* ours */
	process->inside = *end == '\t' ? strtol(end, NULL, 10) : 0;
	process->killed = strtoull(pending, NULL, 16) >> (SIGKILL - 1) & 1;
	process->weight = kibibytes(text, "VmRSS:") + kibibytes(text, "VmSwap:") + kibibytes(text, "VmPTE:");
	return process->inside > 0 && !errno;
}

static bool load(const char *path, char *text, size_t size)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return figures_load(fd, text, size) == 0;
}

/* With what it is to weigh more or less by, proc(5) oom_score_adj, in thousandths of the limit. */
static bool find_process(struct oom_process *process, pid_t pid, long long limit)
{
	char path[64], text[4096];

	process->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!load(path, text, sizeof(text)) || !oom_parse(process, text))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	if (!load(path, text, sizeof(text)))
		return false;
	long adjustment = strtol(text, NULL, 10);
	if (adjustment == -1000)
		process->weight = 0;
	else if (adjustment && limit > 0)
		process->weight += limit / 1024 * adjustment / 1000;
	return true;
}

/* --- a look at all of them -------------------------------------------------------------------------- */

struct look {
	struct oom_process heaviest, killed; /* pid 0: none, or more than one that may be it */
};

/* false: not all of them could be looked at. */
static bool look_at(const struct oom *oom, long long limit, struct look *look)
{
	struct oom_process process, second = { 0 };
	char text[PROCS_MAX];
	int killed = 0;

	*look = (struct look){ 0 };
	cleanup_fd int fd = openat(oom->directory_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	if (figures_load(fd, text, sizeof(text)) < 0)
		return false;
	for (char *at = text; *at;) {
		pid_t pid = (pid_t)strtol(at, &at, 10);

		at += *at == '\n';
		if (pid <= 0)
			return false;
		if (!find_process(&process, pid, limit))
			continue; /* it is gone */
		if (process.killed && killed++ == 0)
			look->killed = process;
		if (process.weight > look->heaviest.weight)
			second = look->heaviest, look->heaviest = process;
		else if (process.weight > second.weight)
			second = process;
	}
	if (killed > 1)
		look->killed.pid = 0;
	if (look->heaviest.weight - second.weight <= look->heaviest.weight / 5)
		look->heaviest.pid = 0; /* in a moment it may be the other one */
	return true;
}

static bool is_gone(pid_t pid)
{
	struct oom_process process;

	return !find_process(&process, pid, 0) || process.killed;
}

/* Nobody was killed yet. */
static void remember(struct oom *oom, long long limit)
{
	struct look look;

	oom->heaviest.pid = 0;
	if (look_at(oom, limit, &look))
		oom->heaviest = look.heaviest;
	now(&oom->looked);
}

/* Somebody was. */
static void name_victim(struct oom *oom, long long limit)
{
	struct timespec time;
	struct look look;
	bool fresh = now(&time) - (oom->looked.tv_sec * SECOND + oom->looked.tv_nsec) < FRESH;

	if (oom->heaviest.pid && fresh && is_gone(oom->heaviest.pid))
		oom->victim = oom->heaviest;
	else if (look_at(oom, limit, &look))
		oom->victim = look.killed;
}

/* --- while it runs ---------------------------------------------------------------------------------- */

static long long read_number(int fd, const char *line)
{
	char text[1024];

	return figures_load(fd, text, sizeof(text)) == 0 ? figures_find(text, line, NULL) : -1;
}

static void stop_watching(struct oom *oom)
{
	close_fd(&oom->events_fd);
	close_fd(&oom->current_fd);
	close_fd(&oom->timer_fd);
	oom->events_fd = oom->current_fd = oom->timer_fd = -1;
}

static void look_in(const struct oom *oom, long long nanoseconds)
{
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(nanoseconds / SECOND), .tv_nsec = (long)(nanoseconds % SECOND) } };

	timerfd_settime(oom->timer_fd, 0, &when, NULL);
}

/* Of the plans' sandboxes: of that which we hold, or join. */
static const char *watched_cgroup(const struct monitor *monitor)
{
	return monitor->process_fd >= 0 && monitor->container ? monitor->container->cgroup : monitor->registered.cgroup;
}

/* From here on; for a second time it does nothing.  What cannot be watched is not: the limit holds all the same. */
void oom_watch(struct monitor *monitor)
{
	const struct plan_memory_limit *op = asked(monitor);
	struct oom *oom = &monitor->oom;

	if (!op || oom->directory_fd >= 0 || !*watched_cgroup(monitor))
		return;
	oom->directory_fd = open(watched_cgroup(monitor), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (oom->directory_fd < 0)
		return;
	oom->events_fd = openat(oom->directory_fd, "memory.events", O_RDONLY | O_CLOEXEC);
	oom->earlier = read_number(oom->events_fd, "oom_kill");
	oom->current_fd = openat(oom->directory_fd, "memory.current", O_RDONLY | O_CLOEXEC);
	if (!op->limit || oom->current_fd < 0 || monitor->process_fd >= 0)
		return; /* the sandbox's own monitor looks */
	oom->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (oom->timer_fd >= 0)
		look_in(oom, SOONEST);
}

static enum oom_limit whose_limit(const struct oom *oom)
{
	cleanup_fd int local_fd = openat(oom->directory_fd, "memory.events.local", O_RDONLY | O_CLOEXEC);

	if (read_number(local_fd, "oom") != 0) /* -1: it is gone in this moment; it was there when somebody was killed by it */
		return OOM_OWN;
	return read_number(oom->events_fd, "oom") > 0 ? OOM_INSIDE : OOM_OUTSIDE;
}

/* As soon as it is known that somebody was killed: a scope that is empty its manager removes, and with it goes the rest. */
static void judge(struct monitor *monitor)
{
	struct oom *oom = &monitor->oom;
	cleanup_fd int limit_fd = openat(oom->directory_fd, "memory.max", O_RDONLY | O_CLOEXEC);
	const long long limit = read_number(limit_fd, ""), page = sysconf(_SC_PAGESIZE);

	oom->limit = whose_limit(oom);
	oom->changed = limit >= 0 && limit / page != (long long)asked(monitor)->limit / page;
}

/* memory.events says something new. */
void oom_pass(struct monitor *monitor)
{
	struct oom *oom = &monitor->oom;
	const long long limit = (long long)asked(monitor)->limit, killed = read_number(oom->events_fd, "oom_kill");

	if (killed < 0) {
		stop_watching(oom); /* the cgroup is gone, of which there is no end of news */
		return;
	}
	if (killed <= oom->earlier && monitor->process_fd < 0)
		remember(oom, limit);
	if (killed > oom->earlier && !oom->killed)
		name_victim(oom, limit);
	oom->killed = killed - oom->earlier;
	if (oom->killed)
		judge(monitor);
}

/* The timer: a byte takes no less than a nanosecond to be filled. */
void oom_look(struct monitor *monitor)
{
	struct oom *oom = &monitor->oom;
	const long long limit = (long long)asked(monitor)->limit, current = read_number(oom->current_fd, "");
	struct timespec time;
	uint64_t expirations;

	if (read(oom->timer_fd, &expirations, sizeof(expirations)) != sizeof(expirations) || current < 0)
		return;
	long long wait = limit - current, began = now(&time);
	if (current >= limit / 2 && !oom->killed) {
		remember(oom, limit);
		long long took = (now(&time) - began) * SHARE;
		wait = wait > took ? wait : took;
	}
	look_in(oom, wait < SOONEST ? SOONEST : wait > LATEST ? LATEST : wait);
}

/* --- the end ---------------------------------------------------------------------------------------- */

/* All that is ours has ended, and the cgroup may be there still. */
void oom_end(struct monitor *monitor)
{
	struct oom *oom = &monitor->oom;

	if (oom->events_fd >= 0)
		oom_pass(monitor);
	stop_watching(oom);
	close_fd(&oom->directory_fd);
	oom->directory_fd = -1;
}

/* The name is a stranger's: what a terminal could take for a command is shown as a question mark. */
void oom_explain(const struct monitor *monitor)
{
	const struct plan_memory_limit *op = asked(monitor);
	const struct oom *oom = &monitor->oom;
	char who[sizeof(oom->victim.name) + 64] = "";

	if (!oom->limit)
		return;
	uint32_t text = oom->limit == OOM_INSIDE ? op->inside : oom->limit == OOM_OUTSIDE ? op->outside :
			oom->changed ? op->changed : op->text;
	if (oom->victim.pid)
		snprintf(who, sizeof(who), oom->limit == OOM_OUTSIDE ? "; %s (pid %ld inside) was killed" : " by %s (pid %ld inside)",
			 oom->victim.name, oom->victim.inside);
	for (char *at = who; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	dprintf(2, "sandbox: %s%s\n", plan_text(monitor->plan, text), who);
}

void oom_put(struct json *json, const struct monitor *monitor)
{
	static const char *const limits[] = { [OOM_OWN] = "own", [OOM_INSIDE] = "inside", [OOM_OUTSIDE] = "outside" };
	const struct oom *oom = &monitor->oom;

	if (!oom->limit) {
		json_raw(json, "null");
		return;
	}
	json_raw(json, "{\"limit\":");
	json_text(json, limits[oom->limit]);
	json_raw(json, ",\"killed\":");
	json_number(json, oom->killed);
	json_raw(json, ",\"name\":");
	if (oom->victim.pid)
		json_text(json, oom->victim.name), json_raw(json, ",\"pid\":"), json_number(json, oom->victim.inside);
	else
		json_raw(json, "null,\"pid\":null");
	json_raw(json, "}");
}
