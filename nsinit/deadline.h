/* How long the command may run. */
#pragma once

#include <stdbool.h>
#include <time.h>

struct monitor;

struct deadline {
	int fd; /* owned; a timer, or -1: the plan has no time limit */
	bool reached; /* the command was asked to end */
	bool held; /* the clock stands */
	struct itimerspec left; /* meanwhile */
};

int deadline_prepare(struct monitor *monitor);
void deadline_start(struct monitor *monitor);
void deadline_pass(struct monitor *monitor);
void deadline_hold(struct monitor *monitor);
void deadline_release(struct monitor *monitor);
void deadline_explain(const struct monitor *monitor);
