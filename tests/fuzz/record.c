/* Fuzz the first line of state.json: it is read as it was written, or refused; nothing runs over. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "fuzz.h"
#include "sys.h"

static char directory[64];

/* A container `c` in a directory of our own. */
static int prepare(void)
{
	snprintf(directory, sizeof(directory), "/dev/shm/fuzz-record-XXXXXX");
	fuzz_require(mkdtemp(directory) != NULL);
	int parent_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_require(parent_fd >= 0 && !mkdirat(parent_fd, "c", 0700));
	int fd = openat(parent_fd, "c/state.json", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fuzz_require(fd >= 0);
	close(parent_fd);
	return fd;
}

static void clean_up(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/c/state.json", directory);
	unlink(path);
	snprintf(path, sizeof(path), "%s/c", directory);
	rmdir(path);
	rmdir(directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct container container;

	if (fd < 0) {
		fd = prepare();
		atexit(clean_up);
	}
	fuzz_require(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
	if (!container_open(&container, directory, "c")) {
		fuzz_require(!strcmp(container.id, "c"));
		fuzz_require(strlen(container.created) < sizeof(container.created) && !strchr(container.created, '"'));
		fuzz_require(strlen(container.cgroup) < sizeof(container.cgroup) && !strchr(container.cgroup, '"'));
		/* Whose process it would be is looked at, and none is ever signalled on the strength of the file alone. */
		int process_fd = container_process(&container);
		if (process_fd >= 0)
			fuzz_require(container.pid > 0 && process_start_time(container.pid, NULL) == container.started);
		close_fd(&process_fd);
	}
	container_close(&container);
	return 0;
}
