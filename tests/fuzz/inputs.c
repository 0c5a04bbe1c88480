/* Fuzz the comparison of a kept plan's inputs, over a scratch directory in which one file of each kind lies.
 *
 * What counts as fresh is looked at again, field by field, by other means than nsinit's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fuzz.h"
#include "inputs.h"
#include "plan.h"

#define ENTRIES_MAX 16

static char directory[64];
static const char *const names[] = { "file", "empty", "list", "link", "dangling", "fifo", "absent", "file/below", "FUZZ_SET",
				     "FUZZ_EMPTY", "FUZZ_UNSET", "" };

struct image {
	struct plan_header header;
	struct plan_input inputs[ENTRIES_MAX];
	char texts[4096];
};

static void clean_up(void)
{
	unlink("file");
	unlink("empty");
	rmdir("list");
	unlink("link");
	unlink("dangling");
	unlink("fifo");
	if (!chdir("/"))
		rmdir(directory);
}

static void prepare(void)
{
	snprintf(directory, sizeof(directory), "/dev/shm/fuzz-inputs-XXXXXX");
	fuzz_require(mkdtemp(directory) && !chdir(directory));
	int fd = open("file", O_WRONLY | O_CREAT, 0600);
	fuzz_require(fd >= 0 && write(fd, "content", 7) == 7);
	close(fd);
	close(open("empty", O_WRONLY | O_CREAT, 0600));
	fuzz_require(!mkdir("list", 0700) && !symlink("file", "link") && !symlink("nowhere", "dangling") && !mkfifo("fifo", 0600));
	setenv("FUZZ_SET", "value", 1);
	setenv("FUZZ_EMPTY", "", 1);
	unsetenv("FUZZ_UNSET");
	atexit(clean_up);
}

static uint8_t take(const uint8_t **data, size_t *size)
{
	return *size ? ((*size)--, *(*data)++) : 0;
}

static uint64_t nanoseconds(struct timespec time)
{
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* An entry that is right, with some of its fields made wrong by the bits of `spoilt`. */
static struct plan_input entry_of(const char *name, uint8_t kind, uint16_t spoilt)
{
	struct plan_input input = { .kind = INPUT_FILE + kind % (INPUT_KERNEL - INPUT_FILE + 1) };
	struct stat status = { 0 };

	if (input.kind == INPUT_NODE ? lstat(name, &status) : stat(name, &status))
		status = (struct stat){ 0 };
	input.device = status.st_dev + (spoilt & 1);
	input.inode = status.st_ino + (spoilt >> 1 & 1);
	input.mode = (status.st_mode & S_IFMT) ^ (spoilt >> 2 & 1);
	input.size = (uint64_t)status.st_size + (spoilt >> 3 & 1);
	input.mtime_ns = (int64_t)nanoseconds(status.st_mtim) + (spoilt >> 4 & 1);
	input.ctime_ns = spoilt & 64 ? 0 : (int64_t)nanoseconds(status.st_ctim) + (spoilt >> 5 & 1);
	return input;
}

static int is_fresh(const struct plan_input *input, const char *name, const char *value, uint16_t spoilt)
{
	struct utsname kernel;
	struct stat status;
	char text[256];

	switch ((enum plan_input_kind)input->kind) {
	case INPUT_FILE:
	case INPUT_LISTING:
		return !stat(name, &status) && !(spoilt & (1 | 2 | 4 | 8 | 16)) && (spoilt & 64 || !(spoilt & 32));
	case INPUT_NODE: /* neither size nor time is a node's */
		return !lstat(name, &status) && !(spoilt & (1 | 2 | 4)) && (spoilt & 64 || !(spoilt & 32));
	case INPUT_ABSENT:
		return lstat(name, &status) && (errno == ENOENT || errno == ENOTDIR);
	case INPUT_ENVIRONMENT:
		return getenv(name) && !strcmp(getenv(name), value);
	case INPUT_UNSET:
		return !getenv(name);
	case INPUT_KERNEL:
		uname(&kernel);
		snprintf(text, sizeof(text), "%s %s", kernel.release, kernel.version);
		return !strcmp(text, value);
	case INPUT_OWN_CGROUP:
	case INPUT_WORDS: /* files of the kernel's, and none of ours: no entry here is one (entry_of) */
		break;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int prepared;
	static struct image image;
	struct plan plan;
	size_t used = 1, count = 0;
	int expected = 1;

	if (!prepared) {
		prepare();
		prepared = 1;
	}
	image = (struct image){ 0 };
	while (size && count < ENTRIES_MAX) {
		uint8_t which = take(&data, &size), kind = take(&data, &size), bits = take(&data, &size);
		const char *name = names[which % (sizeof(names) / sizeof(names[0]))];
		size_t length = take(&data, &size) % 32, start = used;

		length = length < size ? length : size;
		if (used + strlen(name) + length + 2 > sizeof(image.texts))
			break;
		struct plan_input *input = &image.inputs[count++];
		*input = entry_of(name, kind, bits);
		strcpy(image.texts + start, name);
		used += strlen(name) + 1;
		memcpy(image.texts + used, data, length);
		image.texts[used + length] = 0;
		input->name = (uint32_t)start;
		input->value = (uint32_t)used;
		expected = expected && is_fresh(input, name, image.texts + used, bits);
		used += length + 1;
		data += length;
		size -= length;
	}
	memcpy(image.header.magic, PLAN_MAGIC, sizeof(image.header.magic));
	image.header.instruction_set = PLAN_INSTRUCTION_SET;
	image.header.size = sizeof(image);
	image.header.key_at = image.header.ops_at = image.header.lists_at = image.header.blobs_at = sizeof(image);
	image.header.inputs_at = offsetof(struct image, inputs);
	image.header.inputs_count = (uint32_t)count;
	image.header.texts_at = offsetof(struct image, texts);
	image.header.texts_size = sizeof(image.texts);
	image.header.checksum = plan_checksum((const uint8_t *)&image, sizeof(image));
	fuzz_require(!plan_parse(&plan, (const uint8_t *)&image, sizeof(image)));
	fuzz_require(inputs_fresh(&plan) == expected);
	return 0;
}
