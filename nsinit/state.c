#define _GNU_SOURCE
#include "state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

static const char *const members[] = { "pid", NULL };

static void remove_members(int parent_fd, int fd, const char *id)
{
	for (const char *const *member = members; *member; member++)
		unlinkat(fd, *member, 0);
	unlinkat(parent_fd, id, AT_REMOVEDIR);
}

static int lock_directory(int parent_fd, const char *id)
{
	int fd = openat(parent_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Between mkdir and flock somebody may have taken the directory for a left-over. */
static bool still_named(int parent_fd, const char *id, int fd)
{
	struct stat named, held;

	return !fstatat(parent_fd, id, &named, AT_SYMLINK_NOFOLLOW) && !fstat(fd, &held) &&
	       named.st_ino == held.st_ino && named.st_dev == held.st_dev;
}

static void sweep(int parent_fd)
{
	int copy_fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = copy_fd < 0 ? NULL : fdopendir(copy_fd);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		cleanup_fd int fd = lock_directory(parent_fd, entry->d_name);
		if (fd >= 0 && still_named(parent_fd, entry->d_name, fd))
			remove_members(parent_fd, fd, entry->d_name);
	}
	if (directory)
		closedir(directory);
}

static enum state_result take(struct registration *registration)
{
	for (int tries = 0; tries < 16; tries++) {
		if (mkdirat(registration->parent_fd, registration->id, 0700) < 0 && errno != EEXIST)
			return STATE_FAILED;
		registration->fd = lock_directory(registration->parent_fd, registration->id);
		if (registration->fd >= 0) {
			if (still_named(registration->parent_fd, registration->id, registration->fd))
				return STATE_OK;
			close(registration->fd);
		} else if (errno == EWOULDBLOCK) {
			return STATE_IN_USE;
		} else if (errno != ENOENT) {
			return STATE_FAILED;
		}
	}
	errno = EAGAIN;
	return STATE_FAILED;
}

/* `id` empty: one is drawn. */
enum state_result state_register(struct registration *registration, const char *directory, const char *id)
{
	uint32_t random;

	registration->fd = -1;
	registration->parent_fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (registration->parent_fd < 0 && errno == ENOENT && !mkdir(directory, 0700))
		registration->parent_fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (registration->parent_fd < 0)
		return STATE_FAILED;
	sweep(registration->parent_fd);
	if (strlen(id) >= sizeof(registration->id)) {
		errno = ENAMETOOLONG;
		return STATE_FAILED;
	}
	strcpy(registration->id, id);
	if (*id)
		return take(registration);
	enum state_result result = STATE_IN_USE;
	for (int tries = 0; tries < 16 && result == STATE_IN_USE; tries++) {
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return STATE_FAILED;
		snprintf(registration->id, sizeof(registration->id), "s%08x", random);
		result = take(registration);
	}
	return result;
}

/* Write down the host's pid of the first process, and when it started (proc(5), stat field 22):
 * together they name it for good. */
int state_record(const struct registration *registration, int pid)
{
	char path[32], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	cleanup_fd int stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = stat_fd < 0 ? -1 : read(stat_fd, text, sizeof(text) - 1);
	if (size <= 0)
		return -1;
	text[size] = 0;
	char *field = strrchr(text, ')');
	for (int number = 2; field && number < 22; number++)
		field = strchr(field + 1, ' ');
	if (!field)
		return -1;
	unsigned long long started = strtoull(field, NULL, 10);
	cleanup_fd int fd = openat(registration->fd, "pid", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST) /* of a left-over that had our id */
		fd = openat(registration->fd, "pid", O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
	int length = snprintf(text, sizeof(text), "%d %llu\n", pid, started);
	return fd >= 0 && write_whole(fd, text, (size_t)length) ? 0 : -1;
}

void state_remove(struct registration *registration)
{
	if (registration->fd >= 0)
		remove_members(registration->parent_fd, registration->fd, registration->id);
	close_fd(&registration->fd);
	close_fd(&registration->parent_fd);
}
