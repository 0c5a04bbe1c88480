/* The report of a run; docs/report.md has its form. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

#include "figures.h"

struct monitor;

/* A file that is to be. */
struct report_place {
	int directory_fd; /* owned; where it is to be, or -1: nowhere */
	char name[NAME_MAX + 1]; /* in that directory */
};

struct report {
	bool wanted; /* the plan has one; whoever keeps a result composes it even if no file is asked for */
	struct report_place file, page; /* the document, and what Python makes of it to be looked at */
	struct timespec began, clock; /* when the command was started: the time of day, and a clock that nobody sets */
	struct timespec ended; /* by that clock */
	struct rusage usage; /* of all that ended inside */
	bool counted; /* it had a cgroup, of which there are */
	struct figures figures;
};

#define REPORT_INITIALIZER { .file = { .directory_fd = -1 }, .page = { .directory_fd = -1 } }

void report_prepare(struct monitor *monitor);
void report_begin(struct monitor *monitor);
void report_end(struct monitor *monitor);

/* The document, of a run that was started and has ended with `status`; only if it is `wanted`. */
int report_compose(int fd, const struct monitor *monitor, int status);
void report_write(const struct monitor *monitor, int status);
