#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "listing.h"
#include "sys.h"

#define SWEPT 16 /* so many directories are looked at by each start */
#define MOST_NAME 64
#define BUSY_TRIES 50 /* of 2 ms: somebody looks whether it is a left-over, or takes it for a sandbox of that name */

/* A few of all directories, each with the same chance: with hundreds that run, to look at every one would cost each
 * start more than all the rest, and what a killed monitor has left is found soon all the same. */
static size_t draw(int parent_fd, char names[SWEPT][256])
{
	struct listing listing = { .fd = parent_fd };
	const struct dirent *entry;
	uint32_t random = (uint32_t)getpid() * 2654435761u;
	size_t count = 0;

	while ((entry = listing_next(&listing))) {
		if (entry->d_name[0] == '.')
			continue;
		random = random * 1664525u + 1013904223u;
		size_t place = count < SWEPT ? count : (random >> 8) % (count + 1);
		if (place < SWEPT)
			strcpy(names[place], entry->d_name);
		count++;
	}
	return count < SWEPT ? count : SWEPT;
}

static void sweep(int parent_fd)
{
	char names[SWEPT][256];
	size_t count = draw(parent_fd, names);

	for (size_t i = 0; i < count; i++)
		container_clean(parent_fd, names[i]);
}

static enum state_result take(struct container *container)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	for (int tries = 0; tries < BUSY_TRIES; tries++) {
		bool fresh = !mkdirat(container->parent_fd, container->id, 0700);
		if (!fresh && errno != EEXIST)
			return STATE_FAILED;
		switch (container_take(container, fresh)) {
		case TAKEN:
			return STATE_OK;
		case TAKEN_BY_OTHER:
			return STATE_IN_USE;
		case TAKEN_FOR_NOW:
			nanosleep(&pause, NULL);
			break;
		case TAKEN_FAILED:
			return STATE_FAILED;
		}
	}
	return STATE_IN_USE;
}

/* `id` empty: one is drawn. */
enum state_result state_register(struct container *container, const char *directory, const char *id, bool replaces)
{
	uint32_t random;

	*container = (struct container){ .fd = -1, .held = true, .replaces = replaces };
	container->parent_fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (container->parent_fd < 0 && errno == ENOENT && !mkdir(directory, 0700))
		container->parent_fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (container->parent_fd < 0)
		return STATE_FAILED;
	sweep(container->parent_fd);
	if (strlen(id) > MOST_NAME) {
		errno = ENAMETOOLONG;
		return STATE_FAILED;
	}
	strcpy(container->id, id);
	if (*id)
		return take(container);
	enum state_result result = STATE_IN_USE;
	for (int tries = 0; tries < 16 && result == STATE_IN_USE; tries++) {
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return STATE_FAILED;
		snprintf(container->id, sizeof(container->id), "s%08x", random);
		result = take(container);
	}
	return result;
}

/* The sandbox's walls stand: others may come in, by its plan.  The kept one is linked, as nobody writes to it and a new one
 * takes its name; one that lives in memory is copied.  Without room for that nobody comes in, and that is all. */
void state_admit(const struct container *container, const struct plan *plan, int plan_fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", plan_fd);
	if (linkat(AT_FDCWD, path, container->fd, "plan", AT_SYMLINK_FOLLOW) < 0 && container_keep_plan(container, plan) < 0)
		unlinkat(container->fd, "plan.new", 0);
}

/* Whoever is left in its cgroup is killed.  What does not go is found by the record, by whoever comes next. */
void state_remove(struct container *container)
{
	if (container->fd >= 0 && !cgroup_end(container->cgroup, container->cgroup_inode, CGROUP_PATIENCE_MS)) {
		unlinkat(container->fd, "state.json", 0);
		unlinkat(container->fd, "plan", 0);
		unlinkat(container->parent_fd, container->id, AT_REMOVEDIR);
	}
	container_close(container);
}
