/* The end of a cgroup where the kernel has no cgroup.kill (before Linux 5.14): the door to it is refused here, all else
 * is nsinit's.
 *
 *     cgroup_end DIRECTORY MILLISECONDS
 *     cgroup_end breed                     never the same process: it starts the next, and ends */
#define _GNU_SOURCE
#include "../../nsinit/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cgroup_open(const char *path, uint64_t inode)
{
	(void)inode;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

ssize_t cgroup_read(int directory_fd, const char *name, char *text, size_t size)
{
	int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);

	text[length > 0 ? length : 0] = 0;
	if (fd >= 0)
		close(fd);
	return length;
}

int cgroup_write(int directory_fd, const char *name, const char *value)
{
	errno = ENOENT;
	int fd = strcmp(name, "cgroup.kill") ? openat(directory_fd, name, O_WRONLY | O_CLOEXEC) : -1;
	int result = fd < 0 || write(fd, value, strlen(value)) < 0 ? -1 : 0;

	if (fd >= 0)
		close(fd);
	return result;
}

int main(int argc, char *argv[])
{
	struct stat status;

	if (argc == 2)
		while (fork() == 0)
			;
	if (argc != 3 || stat(argv[1], &status) < 0)
		return 2;
	if (cgroup_end(argv[1], status.st_ino, atoi(argv[2])) < 0) {
		perror("cgroup_end");
		return 1;
	}
	return 0;
}
