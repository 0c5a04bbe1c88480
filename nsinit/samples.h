/* What a sandbox uses, over time: so many samples at most, however long it runs. */
#pragma once

#include <stddef.h>

#include "json.h"

struct monitor;

/* As the kernel counts; -1: it does not. */
struct sample {
	long long time, memory, cpu, read, written, pids; /* time and cpu in microseconds */
};

struct samples {
	int timer_fd; /* owned; or -1 */
	int memory_fd, cpu_fd, io_fd, pids_fd; /* owned; files of the cgroup, or -1 */
	long long interval; /* in ms */
	size_t count, most;
	struct sample *all; /* owned; room for `most`, or NULL: none are taken */
};

#define SAMPLES_INITIALIZER { .timer_fd = -1, .memory_fd = -1, .cpu_fd = -1, .io_fd = -1, .pids_fd = -1 }

void samples_begin(struct monitor *monitor);
void samples_pass(struct monitor *monitor);
void samples_end(struct monitor *monitor);
void samples_put(struct json *json, const struct samples *samples);

/* Keep every second one: those that are left are twice as far apart. */
void samples_thin(struct samples *samples);
