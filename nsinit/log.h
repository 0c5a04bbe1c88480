/* What a detached sandbox's command writes, kept in a file of limited size. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct log {
	int directory_fd; /* not owned; in which are `log` and, after a rotation, `log.1` */
	int fd; /* owned; -1: it could not be opened */
	off_t size; /* up to the end of the last whole record */
	off_t limit; /* of each of the two */
	uint64_t lost; /* bytes that are in no record, and of which none tells yet */
};

/* Together the two take `most` bytes. */
int log_open(struct log *log, int directory_fd, uint64_t most);

/* The streams' names are "stdout" and "stderr". */
void log_write(struct log *log, const char *stream, const char *bytes, size_t size);

/* Tell of what was lost, where there is room now. */
void log_end(struct log *log);
