#define _GNU_SOURCE
#include "figures.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys.h"

#define FILE_MAX 16384 /* io.stat has a line for each device */

enum unit { COUNT, MICROSECONDS };

/* In the order of the document, of which `before` is what stands before the number; those of one file stand together. */
static const struct figure {
	const char *before, *file, *line, *key;
	enum unit unit;
} table[FIGURES] = {
	{ "{\"memory\":{\"peak\":", "memory.peak", "", NULL, COUNT },
	{ ",\"limit\":", "memory.max", "", NULL, COUNT },
	{ ",\"high\":", "memory.high", "", NULL, COUNT },
	{ ",\"swap_peak\":", "memory.swap.peak", "", NULL, COUNT },
	{ ",\"swap_limit\":", "memory.swap.max", "", NULL, COUNT },
	{ ",\"events\":{\"high\":", "memory.events", "high", NULL, COUNT },
	{ ",\"max\":", "memory.events", "max", NULL, COUNT },
	{ ",\"oom\":", "memory.events", "oom", NULL, COUNT },
	{ ",\"oom_kill\":", "memory.events", "oom_kill", NULL, COUNT },
	{ "}},\"cpu\":{\"usage\":", "cpu.stat", "usage_usec", NULL, MICROSECONDS },
	{ ",\"user\":", "cpu.stat", "user_usec", NULL, MICROSECONDS },
	{ ",\"system\":", "cpu.stat", "system_usec", NULL, MICROSECONDS },
	{ ",\"periods\":", "cpu.stat", "nr_periods", NULL, COUNT },
	{ ",\"throttled_periods\":", "cpu.stat", "nr_throttled", NULL, COUNT },
	{ ",\"throttled\":", "cpu.stat", "throttled_usec", NULL, MICROSECONDS },
	{ "},\"io\":{\"read\":", "io.stat", NULL, "rbytes", COUNT },
	{ ",\"written\":", "io.stat", NULL, "wbytes", COUNT },
	{ ",\"reads\":", "io.stat", NULL, "rios", COUNT },
	{ ",\"writes\":", "io.stat", NULL, "wios", COUNT },
	{ "},\"pids\":{\"peak\":", "pids.peak", "", NULL, COUNT },
	{ ",\"limit\":", "pids.max", "", NULL, COUNT },
	{ ",\"events\":{\"max\":", "pids.events", "max", NULL, COUNT },
	{ "}},\"pressure\":{\"cpu\":{\"some\":", "cpu.pressure", "some", "total", MICROSECONDS },
	{ ",\"full\":", "cpu.pressure", "full", "total", MICROSECONDS },
	{ "},\"memory\":{\"some\":", "memory.pressure", "some", "total", MICROSECONDS },
	{ ",\"full\":", "memory.pressure", "full", "total", MICROSECONDS },
	{ "},\"io\":{\"some\":", "io.pressure", "some", "total", MICROSECONDS },
	{ ",\"full\":", "io.pressure", "full", "total", MICROSECONDS },
};

int figures_load(int fd, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got = 1;

	while (fd >= 0 && got > 0 && length < size) {
		got = pread(fd, text + length, size - length, (off_t)length);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			length += (size_t)got;
	}
	text[length < size ? length : 0] = 0;
	return fd >= 0 && got == 0 && length < size ? 0 : -1;
}

static long long number(const char *text)
{
	unsigned long long value = 0;

	if (*text < '0' || *text > '9')
		return -1;
	for (; *text >= '0' && *text <= '9'; text++) {
		unsigned int digit = (unsigned int)(*text - '0');

		if (value > ((unsigned long long)LLONG_MAX - digit) / 10)
			return -1;
		value = value * 10 + digit;
	}
	return (long long)value;
}

/* Behind `key=` in the words of one line. */
static long long behind(const char *at, const char *key)
{
	size_t length = strlen(key);

	for (; *at && *at != '\n'; at += strcspn(at, " \n"), at += *at == ' ')
		if (!strncmp(at, key, length) && at[length] == '=')
			return number(at + length + 1);
	return -1;
}

long long figures_find(const char *text, const char *line, const char *key)
{
	long long total = 0;

	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		size_t length = line ? strlen(line) : 0;

		if (!line) {
			long long value = behind(at, key);
			if (value > LLONG_MAX - total)
				return -1;
			total += value > 0 ? value : 0;
		} else if (!length) {
			return number(at);
		} else if (!strncmp(at, line, length) && at[length] == ' ') {
			return key ? behind(at, key) : number(at + length + 1);
		}
	}
	return line ? -1 : total;
}

void figures_clear(struct figures *figures)
{
	for (size_t i = 0; i < FIGURES; i++)
		figures->values[i] = -1;
}

void figures_read(struct figures *figures, const char *cgroup)
{
	cleanup_fd int directory_fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char text[FILE_MAX];
	bool known = false;

	figures_clear(figures);
	for (size_t i = 0; directory_fd >= 0 && i < FIGURES; i++) {
		if (!i || strcmp(table[i].file, table[i - 1].file) != 0) {
			cleanup_fd int fd = openat(directory_fd, table[i].file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
			known = figures_load(fd, text, sizeof(text)) == 0;
		}
		if (known)
			figures->values[i] = figures_find(text, table[i].line, table[i].key);
	}
}

void figures_put(struct json *json, const struct figures *figures)
{
	for (size_t i = 0; i < FIGURES; i++) {
		long long value = figures->values[i];

		json_raw(json, table[i].before);
		if (value < 0)
			json_raw(json, "null");
		else if (table[i].unit == MICROSECONDS)
			json_seconds(json, value / 1000000, (long)(value % 1000000));
		else
			json_number(json, value);
	}
	json_raw(json, "}}}");
}
