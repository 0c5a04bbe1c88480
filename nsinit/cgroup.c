#define _GNU_SOURCE
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

int cgroup_write(int directory_fd, const char *name, const char *value)
{
	cleanup_fd int fd = openat(directory_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	return write(fd, value, strlen(value)) < 0 ? -1 : 0;
}

ssize_t cgroup_read(int directory_fd, const char *name, char *text, size_t size)
{
	cleanup_fd int fd = openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);

	text[length > 0 ? length : 0] = 0;
	return length;
}

/* A controller that is enabled already, or cannot be, is judged by the write of its files. */
static void enable_controllers(const struct plan *plan, const struct plan_cgroup *op, int directory_fd)
{
	char word[64];

	for (uint32_t i = 0; i < op->controllers.count; i++) {
		snprintf(word, sizeof(word), "+%s", plan_item(plan, op->controllers, i));
		cgroup_write(directory_fd, "cgroup.subtree_control", word);
	}
}

/* Make what is missing of `path` below `top`, with the controllers enabled on the way. */
static int make_parents(const struct plan *plan, const struct plan_cgroup *op, const char *path)
{
	char part[PATH_MAX];
	size_t at = strlen(plan_text(plan, op->top));

	if (strlen(path) >= sizeof(part) || strncmp(path, plan_text(plan, op->top), at) != 0) {
		errno = EINVAL;
		return -1;
	}
	for (;;) {
		const char *slash = path[at] ? strchr(path + at + 1, '/') : NULL;
		memcpy(part, path, at);
		part[at] = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -1;
		cleanup_fd int fd = open(part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -1;
		enable_controllers(plan, op, fd);
		if (!path[at])
			return 0;
		at = slash ? (size_t)(slash - path) : strlen(path);
	}
}

/* Somebody else's, with processes that would be limited, or frozen so that we would wait for ever. */
static bool in_use(int directory_fd)
{
	char text[256];

	if (cgroup_read(directory_fd, "cgroup.procs", text, sizeof(text)) > 0)
		return true;
	if (cgroup_read(directory_fd, "cgroup.freeze", text, sizeof(text)) > 0 && text[0] == '1')
		return true;
	return cgroup_read(directory_fd, "cgroup.events", text, sizeof(text)) > 0 && strstr(text, "populated 1");
}

static int apply(const struct plan *plan, const struct plan_cgroup *op, int directory_fd, const char **subject)
{
	for (uint32_t i = 0; i < op->settings.count; i++) {
		const char *setting = plan_item(plan, op->settings, i), *equals = strchr(setting, '=');
		char name[128];

		*subject = setting;
		if (!equals || (size_t)(equals - setting) >= sizeof(name)) {
			errno = EINVAL;
			return -1;
		}
		memcpy(name, setting, (size_t)(equals - setting));
		name[equals - setting] = 0;
		if (cgroup_write(directory_fd, name, equals + 1) < 0)
			return -1;
	}
	return 0;
}

int cgroup_name(const struct plan *plan, const char *id, char path[PATH_MAX])
{
	const struct plan_cgroup *op = (const struct plan_cgroup *)plan_find(plan, OP_CGROUP);
	const char *name = plan_text(plan, op->name);

	if (snprintf(path, PATH_MAX, "%s/%s%s", plan_text(plan, op->parent), plan_text(plan, op->prefix), *name ? name : id) < PATH_MAX)
		return 0;
	path[0] = 0;
	errno = ENAMETOOLONG;
	return -1;
}

int cgroup_make(const struct plan *plan, const char *id, char path[PATH_MAX], uint64_t *inode, const char **subject)
{
	const struct plan_cgroup *op = (const struct plan_cgroup *)plan_find(plan, OP_CGROUP);
	const char *parent = plan_text(plan, op->parent);
	struct stat status;

	static char refused[PATH_MAX]; /* the report is made later */

	*subject = parent;
	path[0] = 0;
	if (make_parents(plan, op, parent) < 0)
		return -1;
	if (cgroup_name(plan, id, path) < 0)
		return -1;
	*subject = path;
	/* A sandbox's is its own: one of the same name in another state tree may have made it, and be about to enter it. */
	bool alone = *plan_text(plan, op->prefix);
	bool made = !mkdir(path, 0755) || (alone && errno == EEXIST && !rmdir(path) && !mkdir(path, 0755));
	int fd = made || errno == EEXIST ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	int error = errno;
	if (fd >= 0 && !made && (alone || in_use(fd))) {
		error = EBUSY;
	} else if (fd >= 0) {
		if (!fstat(fd, &status) && !apply(plan, op, fd, subject)) {
			*inode = status.st_ino;
			return fd;
		}
		error = errno;
	}
	if (made)
		rmdir(path);
	if (fd >= 0)
		close(fd);
	if (*subject == path) {
		strcpy(refused, path);
		*subject = refused;
	}
	path[0] = 0; /* not ours to remove */
	errno = error;
	return -1;
}

/* Its directory, opened, if it is the one that was made: by now another may have the name, or there may be none. */
int cgroup_open(const char *path, uint64_t inode)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), error = ENOENT;

	if (fd < 0)
		return -1;
	if (fstat(fd, &status) < 0)
		error = errno;
	else if (status.st_ino == inode)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

bool cgroup_is_frozen(const char *path, uint64_t inode)
{
	char text[256];
	cleanup_fd int fd = cgroup_open(path, inode);

	return fd >= 0 && cgroup_read(fd, "cgroup.events", text, sizeof(text)) > 0 && strstr(text, "frozen 1");
}

int cgroup_divide(const struct plan *plan, const char *above, bool both, const char *path, uint64_t *inode, const char **subject)
{
	const struct plan_cgroup *op = (const struct plan_cgroup *)plan_find(plan, OP_CGROUP);
	cleanup_fd int above_fd = open(above, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	struct stat status;

	*subject = path;
	if (above_fd < 0 || fd < 0 || fstat(fd, &status) < 0)
		return -1;
	*inode = status.st_ino;
	if (!op)
		return 0;
	enable_controllers(plan, op, above_fd);
	if (both && apply(plan, op, above_fd, subject) < 0)
		return -1;
	return apply(plan, op, fd, subject);
}

int cgroup_move(const char *path, pid_t pid)
{
	cleanup_fd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char number[16];

	snprintf(number, sizeof(number), "%d", pid);
	return fd < 0 ? -1 : cgroup_write(fd, "cgroup.procs", number);
}

/* Put the calling process into it. */
int cgroup_enter(const char *path, uint64_t inode)
{
	cleanup_fd int fd = inode ? cgroup_open(path, inode) : open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : cgroup_write(fd, "cgroup.procs", "0");
}
