/* The log, in the form that container runtimes share (CRI): `TIME stdout|stderr F|P TEXT`, a line each.  P: the text goes on
 * in the next record of that stream, F: a newline was there.  So the text is kept byte for byte.
 *
 * Of ours alone is `TIME lost F NUMBER`: so many bytes found no room (a full disk).  The command goes on all the same: it is
 * never made to wait for more than a write, and what finds no room is not kept in memory. */
#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "signals.h"
#include "sys.h"

#define LOG_BATCH 8192
#define LIMIT_LEAST (4 * LOG_BATCH)
#define HEAD_MAX 64

/* Records that are written at once. */
struct batch {
	size_t size;
	size_t raw; /* so many bytes of the command's are in it */
	char bytes[LOG_BATCH];
};

static int open_new(struct log *log)
{
	log->size = 0;
	log->fd = openat(log->directory_fd, "log", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return log->fd < 0 ? -1 : 0;
}

int log_open(struct log *log, int directory_fd, uint64_t most)
{
	*log = (struct log){ .directory_fd = directory_fd, .limit = (off_t)(most / 2) };
	if (log->limit < LIMIT_LEAST)
		log->limit = LIMIT_LEAST;
	return open_new(log);
}

/* The name is free for a moment, in which whoever reads looks again. */
static void rotate(struct log *log)
{
	close_fd(&log->fd);
	renameat(log->directory_fd, "log", log->directory_fd, "log.1");
	open_new(log);
}

/* Behind the last whole record, over what a write that failed may have left of another. */
static bool append(const struct log *log, const char *bytes, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t written = pwrite(log->fd, bytes + done, size - done, log->size + (off_t)done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		done += (size_t)written;
	}
	return true;
}

static bool put(struct log *log, const char *bytes, size_t size)
{
	if (log->fd >= 0 && log->size + (off_t)size > log->limit)
		rotate(log);
	if (log->fd < 0 && open_new(log) < 0)
		return false;
	if (append(log, bytes, size)) {
		log->size += (off_t)size;
		return true;
	}
	/* It would be the command's, to whom all signals go that we do not take. */
	if (errno == EFBIG)
		signals_forget(SIGXFSZ);
	/* Who reads has not to see half a record. */
	if (ftruncate(log->fd, log->size) < 0)
		rotate(log);
	return false;
}

static size_t head(char text[HEAD_MAX], const char *stream, bool whole)
{
	struct timespec now;
	struct tm utc;
	size_t length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	length = strftime(text, HEAD_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
	return length + (size_t)snprintf(text + length, HEAD_MAX - length, ".%09ldZ %s %c ", now.tv_nsec, stream,
					 whole ? 'F' : 'P');
}

/* What tells of a loss counts for one only together with what follows: where there is room for nothing else, the loss goes on. */
static bool tell_loss(struct log *log, size_t behind)
{
	char text[HEAD_MAX + 32];
	size_t length = head(text, "lost", true);

	if (!log->lost)
		return true;
	length += (size_t)snprintf(text + length, sizeof(text) - length, "%llu\n", (unsigned long long)log->lost);
	if (log->fd >= 0 && log->size + (off_t)(length + behind) > log->limit)
		rotate(log);
	return put(log, text, length);
}

static void flush(struct log *log, struct batch *batch)
{
	off_t before = log->size;

	if (batch->size && tell_loss(log, batch->size) && put(log, batch->bytes, batch->size)) {
		log->lost = 0;
	} else if (batch->size) {
		log->lost += batch->raw;
		if (log->size > before && log->fd >= 0 && !ftruncate(log->fd, before))
			log->size = before;
	}
	batch->size = batch->raw = 0;
}

void log_write(struct log *log, const char *stream, const char *bytes, size_t size)
{
	static struct batch batch;
	const size_t most = sizeof(batch.bytes) - HEAD_MAX - 1;
	char text[HEAD_MAX];

	while (size) {
		const char *end = memchr(bytes, '\n', size);
		size_t length = end ? (size_t)(end - bytes) : size;
		bool whole = end && length <= most;

		if (length > most)
			length = most;
		size_t before = head(text, stream, whole);
		if (before + length + 1 > sizeof(batch.bytes) - batch.size)
			flush(log, &batch);
		memcpy(batch.bytes + batch.size, text, before);
		memcpy(batch.bytes + batch.size + before, bytes, length);
		batch.bytes[batch.size + before + length] = '\n';
		batch.size += before + length + 1;
		batch.raw += length + whole;
		bytes += length + whole;
		size -= length + whole;
	}
	flush(log, &batch);
}

void log_end(struct log *log)
{
	if (tell_loss(log, 0))
		log->lost = 0;
	close_fd(&log->fd);
	log->fd = -1;
}
