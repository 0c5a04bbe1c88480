/* The report of a run; docs/report.md has its form. */
#pragma once

#include <limits.h>
#include <sys/resource.h>
#include <time.h>

struct monitor;

struct report {
	int directory_fd; /* owned; where the report is to be, or -1: none is asked for */
	char name[NAME_MAX + 1]; /* in that directory */
	struct timespec began, clock; /* when the command was started: the time of day, and a clock that nobody sets */
	struct timespec ended; /* by that clock */
	struct rusage usage; /* of all that ended inside */
};

void report_prepare(struct monitor *monitor);
void report_begin(struct report *report);
void report_end(struct report *report);
void report_write(const struct monitor *monitor, int status);
