#define _GNU_SOURCE
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "listing.h"
#include "sys.h"

static int write_at(int directory_fd, const char *name, const char *value)
{
	cleanup_fd int fd = openat(directory_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	return write(fd, value, strlen(value)) < 0 ? -1 : 0;
}

static ssize_t read_at(int directory_fd, const char *name, char *text, size_t size)
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
		write_at(directory_fd, "cgroup.subtree_control", word);
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

	if (read_at(directory_fd, "cgroup.procs", text, sizeof(text)) > 0)
		return true;
	if (read_at(directory_fd, "cgroup.freeze", text, sizeof(text)) > 0 && text[0] == '1')
		return true;
	return read_at(directory_fd, "cgroup.events", text, sizeof(text)) > 0 && strstr(text, "populated 1");
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
		if (write_at(directory_fd, name, equals + 1) < 0)
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

int cgroup_make(const struct plan *plan, const char *id, char path[PATH_MAX], const char **subject)
{
	const struct plan_cgroup *op = (const struct plan_cgroup *)plan_find(plan, OP_CGROUP);
	const char *parent = plan_text(plan, op->parent);

	static char refused[PATH_MAX]; /* the report is made later */

	*subject = parent;
	path[0] = 0;
	if (make_parents(plan, op, parent) < 0)
		return -1;
	if (cgroup_name(plan, id, path) < 0)
		return -1;
	*subject = path;
	bool made = !mkdir(path, 0755);
	int fd = made || errno == EEXIST ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	int error = errno;
	if (fd >= 0 && !made && in_use(fd)) {
		error = EBUSY;
	} else if (fd >= 0) {
		if (!apply(plan, op, fd, subject))
			return fd;
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

/* Put the calling process into it. */
int cgroup_enter(const char *path)
{
	cleanup_fd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : write_at(fd, "cgroup.procs", "0");
}

/* Kill everything in it, Linux 5.14. */
int cgroup_kill(const char *path)
{
	cleanup_fd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : write_at(fd, "cgroup.kill", "1");
}

/* Remove what can be of the cgroups in the directory; a descriptor of one that could not be is left in `*below_fd`.
 * Returns whether any was removed. */
static bool remove_empty(int directory_fd, int *below_fd)
{
	struct listing listing = { .fd = directory_fd };
	const struct dirent *entry;
	bool removed = false;

	*below_fd = -1;
	while ((entry = listing_next(&listing))) {
		if (entry->d_type != DT_DIR)
			continue;
		if (!unlinkat(directory_fd, entry->d_name, AT_REMOVEDIR))
			removed = true;
		else if (*below_fd < 0)
			*below_fd = openat(directory_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	return removed;
}

/* A contained program that was given its cgroup may have made others below it, one in another, deeper than a path or a
 * stack goes.  None can be moved: the way up is the way down. */
static void remove_below(int top_fd)
{
	int at_fd = openat(top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), depth = 0;
	bool down = true;

	while (at_fd >= 0) {
		int below_fd, next_fd;
		bool removed = remove_empty(at_fd, &below_fd);

		if (below_fd >= 0 && (down || removed)) {
			next_fd = below_fd;
			down = true;
			depth++;
		} else { /* all gone, or what is left does not go */
			close_fd(&below_fd);
			next_fd = depth-- ? openat(at_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
			down = false;
		}
		close(at_fd);
		at_fd = next_fd;
	}
}

/* Remove it, once its last process is gone: the kernel takes a moment to see that. */
int cgroup_remove(const char *path)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	for (int tries = 0; rmdir(path) < 0; tries++) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || tries == 12)
			return -1;
		cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			remove_below(fd);
		if (tries == 4)
			cgroup_kill(path);
		nanosleep(&pause, NULL);
		pause.tv_nsec = pause.tv_nsec < 500000000 ? pause.tv_nsec * 2 : pause.tv_nsec;
	}
	return 0;
}
