/* Is everything that a kept plan was made from as it was?  The counterpart of sandbox/plan/inputs.py. */
#define _GNU_SOURCE
#include "inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "sys.h"

#define LONGEST_LINE 4096

static int64_t nanoseconds(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static bool node_same(const struct plan_input *input, const struct stat *status)
{
	return status->st_dev == input->device && status->st_ino == input->inode &&
	       (status->st_mode & S_IFMT) == input->mode &&
	       (!input->ctime_ns || nanoseconds(status->st_ctim) == input->ctime_ns);
}

static bool content_same(const struct plan_input *input, const struct stat *status)
{
	return node_same(input, status) && (uint64_t)status->st_size == input->size &&
	       nanoseconds(status->st_mtim) == input->mtime_ns;
}

static bool kernel_same(const char *expected)
{
	struct utsname names;
	char text[2 * sizeof(names.release)];

	if (uname(&names) < 0)
		return false;
	snprintf(text, sizeof(text), "%s %s", names.release, names.version);
	return !strcmp(text, expected);
}

/* What a file of the kernel's says, without the end of its line; nothing where there is none. */
static void read_line(const char *path, char text[LONGEST_LINE])
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, LONGEST_LINE - 1);

	text[length > 0 ? length : 0] = 0;
	if (length > 0 && text[length - 1] == '\n')
		text[length - 1] = 0;
}

static bool words_same(const char *path, const char *expected)
{
	char text[LONGEST_LINE];

	read_line(path, text);
	return !strcmp(text, expected);
}

static bool cgroup_same(const char *expected)
{
	char text[LONGEST_LINE];

	read_line("/proc/self/cgroup", text);
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (!strncmp(line, "0::", 3))
			return !strcmp(line + 3, expected);
	}
	return !*expected;
}

static bool input_same(const struct plan *plan, const struct plan_input *input)
{
	const char *name = plan_text(plan, input->name);
	const char *value;
	struct stat status;

	switch ((enum plan_input_kind)input->kind) {
	case INPUT_FILE:
	case INPUT_LISTING:
		return !stat(name, &status) && content_same(input, &status);
	case INPUT_NODE:
		return !lstat(name, &status) && node_same(input, &status);
	case INPUT_ABSENT:
		return lstat(name, &status) < 0 && (errno == ENOENT || errno == ENOTDIR);
	case INPUT_ENVIRONMENT:
		value = getenv(name);
		return value && !strcmp(value, plan_text(plan, input->value));
	case INPUT_UNSET:
		return !getenv(name);
	case INPUT_KERNEL:
		return kernel_same(plan_text(plan, input->value));
	case INPUT_OWN_CGROUP:
		return cgroup_same(plan_text(plan, input->value));
	case INPUT_WORDS:
		return words_same(name, plan_text(plan, input->value));
	}
	return false;
}

bool inputs_fresh(const struct plan *plan)
{
	const struct plan_input *inputs = plan_inputs(plan);

	for (uint32_t i = 0; i < plan->header->inputs_count; i++)
		if (!input_same(plan, &inputs[i]))
			return false;
	return true;
}
