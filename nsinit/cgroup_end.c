/* The end of a cgroup: whoever is left in it is killed, and it is removed with all that was made below. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "listing.h"
#include "sys.h"

#define MOST_KILLED 512 /* of one cgroup in one go */

static bool is_over(const struct timespec *end)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

static struct timespec from_now(int milliseconds)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += milliseconds / 1000;
	end.tv_nsec += milliseconds % 1000 * 1000000L;
	if (end.tv_nsec >= 1000000000L)
		end.tv_sec++, end.tv_nsec -= 1000000000L;
	return end;
}

/* --- killing ---------------------------------------------------------------------------------------- */

static size_t members(int directory_fd, pid_t found[MOST_KILLED])
{
	char text[4096], *at = text;
	size_t count = 0;

	if (cgroup_read(directory_fd, "cgroup.procs", text, sizeof(text)) <= 0)
		return 0;
	for (char *end; count < MOST_KILLED && (end = strchr(at, '\n')); at = end + 1) /* a number that was cut off is for the next time */
		found[count++] = (pid_t)strtol(at, NULL, 10);
	return count;
}

/* A number may be another process's by the time of the signal: one that is still in the cgroup when a descriptor stands
 * for it is who is meant. */
static void kill_members(int directory_fd)
{
	pid_t first[MOST_KILLED], again[MOST_KILLED];
	size_t count = members(directory_fd, first);

	for (size_t i = 0; i < count; i++) {
		cleanup_fd int process_fd = first[i] > 0 ? sys_pidfd_open(first[i]) : -1;
		size_t left = process_fd < 0 ? 0 : members(directory_fd, again);

		for (size_t j = 0; j < left; j++)
			if (again[j] == first[i])
				sys_pidfd_send_signal(process_fd, SIGKILL);
	}
}

/* Linux 5.14; false before. */
static bool kill_at_once(int directory_fd)
{
	return cgroup_write(directory_fd, "cgroup.kill", "1") == 0 || errno == ENODEV;
}

/* --- what is below ---------------------------------------------------------------------------------- */

struct walk {
	struct timespec end;
	bool one_by_one; /* kill on the way */
};

/* Remove what can be of the cgroups in the directory; a descriptor of one that could not be is left in `*below_fd`.
 * Returns whether any was removed. */
static bool remove_empty(const struct walk *walk, int directory_fd, int *below_fd)
{
	struct listing listing = { .fd = directory_fd };
	const struct dirent *entry;
	bool removed = false;

	*below_fd = -1;
	if (walk->one_by_one)
		kill_members(directory_fd);
	while (!is_over(&walk->end) && (entry = listing_next(&listing))) {
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
 * stack goes.  None can be moved: the way up is the way down.  Who is outside may make others meanwhile: it has an end. */
static void walk_below(const struct walk *walk, int top_fd)
{
	int at_fd = openat(top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), depth = 0;
	bool down = true;

	while (at_fd >= 0) {
		int below_fd, next_fd;
		bool removed = remove_empty(walk, at_fd, &below_fd);

		if (below_fd >= 0 && (down || removed) && !is_over(&walk->end)) {
			next_fd = below_fd;
			down = true;
			depth++;
		} else { /* all gone, or what is left does not go */
			close_fd(&below_fd);
			next_fd = depth-- && !is_over(&walk->end) ? openat(at_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
			down = false;
		}
		close(at_fd);
		at_fd = next_fd;
	}
}

void cgroup_kill(int directory_fd)
{
	if (kill_at_once(directory_fd))
		return;
	/* Standing still, none can start another that we would miss; it can be killed all the same. */
	const struct walk walk = { .end = from_now(1000), .one_by_one = true };
	cgroup_write(directory_fd, "cgroup.freeze", "1");
	walk_below(&walk, directory_fd);
	cgroup_write(directory_fd, "cgroup.freeze", "0");
}

/* Of one that was about to be made only the name is known, and that nothing had been put there: what is not empty is
 * another's. */
static int end_unknown(const char *path)
{
	rmdir(path);
	return 0;
}

static int give_up(const struct walk *walk, int directory_fd)
{
	int error = errno;

	if (walk->one_by_one)
		cgroup_write(directory_fd, "cgroup.freeze", "0");
	errno = error;
	return -1;
}

int cgroup_end(const char *path, uint64_t inode, int patience_ms)
{
	struct walk walk = { .end = from_now(patience_ms) };
	struct timespec pause = { .tv_nsec = 500000 };

	if (!path[0])
		return 0;
	if (!inode)
		return end_unknown(path);
	cleanup_fd int fd = cgroup_open(path, inode);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	/* The kernel takes a moment to see that its last process is gone. */
	while (rmdir(path) < 0 && errno != ENOENT) {
		if (errno != EBUSY || is_over(&walk.end))
			return give_up(&walk, fd);
		walk.one_by_one = !kill_at_once(fd);
		if (walk.one_by_one)
			cgroup_write(fd, "cgroup.freeze", "1");
		walk_below(&walk, fd);
		nanosleep(&pause, NULL);
		pause.tv_nsec = pause.tv_nsec < 100000000 ? pause.tv_nsec * 2 : pause.tv_nsec;
	}
	return 0;
}
