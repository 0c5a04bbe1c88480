#define _GNU_SOURCE
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "listing.h"
#include "notify.h"
#include "sys.h"

#define START_TRIES 1000 /* of 5 ms, for a sandbox that is being started */

/* The record goes last: without one, a directory with more in it than one that was being written is not ours. */
static const char *const members[] = { "plan", "plan.new", "state.json.new", "attach", "log", "log.1", "result.json.new",
				       "start-gate", "result.json", "state.json", NULL };
#define FIRST_MEMBERS 7 /* which may be there before it */

/* As runc has it; what may not be in a path, in JSON or in a cgroup's name is not in it. */
bool container_id_valid(const char *id)
{
	size_t length = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.");

	return length && !id[length] && length < sizeof(((struct container *)0)->id) && strcmp(id, ".") &&
	       strcmp(id, "..");
}

/* Who is the process `pid`: when it started, and its state's letter.  0: there is none. */
unsigned long long process_start_time(pid_t pid, char *state)
{
	char path[32], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	cleanup_fd int stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = stat_fd < 0 ? -1 : read(stat_fd, text, sizeof(text) - 1);
	if (size <= 0)
		return 0;
	text[size] = 0;
	char *field = strrchr(text, ')'); /* the name before it may hold anything */
	if (field && state)
		*state = field[1] ? field[2] : 0;
	for (int number = 2; field && number < 22; number++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field, NULL, 10) : 0;
}

static int open_parent(struct container *container, const char *directory, const char *id)
{
	*container = (struct container){ .parent_fd = -1, .fd = -1 };
	if (!container_id_valid(id)) {
		errno = EINVAL;
		return -1;
	}
	strcpy(container->id, id);
	container->parent_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return container->parent_fd < 0 ? -1 : 0;
}

static int open_itself(struct container *container)
{
	container->fd = openat(container->parent_fd, container->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return container->fd < 0 ? -1 : 0;
}

/* Between mkdir and flock somebody may have taken the directory for a left-over. */
static bool still_named(const struct container *container)
{
	struct stat named, held;

	return !fstatat(container->parent_fd, container->id, &named, AT_SYMLINK_NOFOLLOW) && !fstat(container->fd, &held) &&
	       named.st_ino == held.st_ino && named.st_dev == held.st_dev;
}

/* Wait for the lock, but not for ever: a hook may be at work under it. */
int container_lock(const struct container *container)
{
	const struct timespec pause = { .tv_nsec = 10000000 };

	for (int tries = 0; flock(container->fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK || tries == 500)
			return -1;
		nanosleep(&pause, NULL);
	}
	/* Whoever held it may have removed the container. */
	if (still_named(container))
		return 0;
	errno = ENOENT;
	return -1;
}

int container_unlock(const struct container *container)
{
	return flock(container->fd, LOCK_UN);
}

/* Is there nothing in it but what somebody who was killed was about to write? */
static bool is_bare(int directory_fd)
{
	struct listing listing = { .fd = directory_fd };
	const struct dirent *entry;

	while ((entry = listing_next(&listing))) {
		size_t at = 0;

		while (at < FIRST_MEMBERS && strcmp(entry->d_name, members[at]))
			at++;
		if (at == FIRST_MEMBERS)
			return false;
	}
	return !listing.failed;
}

/* Nothing can be said of it then. */
static bool is_want(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM;
}

static bool lock_at_once(const struct container *container)
{
	return !flock(container->fd, LOCK_EX | LOCK_NB) && still_named(container);
}

/* One that ran detached, and is kept with its result until somebody removes it. */
bool container_has_ended(const struct container *container)
{
	return !faccessat(container->fd, "result.json", F_OK, AT_SYMLINK_NOFOLLOW);
}

/* Its lock is ours, so nobody holds it: and no process was written down, or one that has to be held, without a result.
 * Where it was just made there is nothing to be looked through. */
static bool is_left_over(struct container *container, bool fresh)
{
	if (container_read_record(container) < 0)
		return errno == ENOENT && (fresh || is_bare(container->fd));
	return (container->pid == 0 || container->held) && !container_has_ended(container);
}

static void remove_members(const struct container *container)
{
	notify_remove(container);
	for (const char *const *member = members; *member; member++)
		unlinkat(container->fd, *member, 0);
}

/* Remove the directory `id` if it is a left-over, and its cgroup; with one that does not go at once the record stays. */
void container_clean(int parent_fd, const char *id)
{
	struct container container = { .parent_fd = parent_fd };

	if (strlen(id) >= sizeof(container.id))
		return;
	strcpy(container.id, id);
	if (open_itself(&container) < 0)
		return;
	/* Whatever is alive is not locked for that: its owner may come for the lock in this moment. */
	cleanup_fd int process_fd = container_read_record(&container) < 0 ? -1 : container_process(&container);
	if (process_fd < 0 && (container.pid == 0 || container.held) && !container_has_ended(&container) &&
	    lock_at_once(&container) &&
	    is_left_over(&container, false) && !cgroup_end(container.cgroup, container.cgroup_inode, CGROUP_GLANCE_MS)) {
		remove_members(&container);
		unlinkat(parent_fd, id, AT_REMOVEDIR);
	}
	close_fd(&container.fd);
}

/* Have the directory, which is `fresh` or was there, for ourselves. */
enum container_taken container_take(struct container *container, bool fresh)
{
	struct container other = { .parent_fd = container->parent_fd };

	strcpy(other.id, container->id);
	if (open_itself(&other) < 0)
		return errno == ENOENT ? TAKEN_FOR_NOW : TAKEN_FAILED;
	bool locked = lock_at_once(&other);
	errno = 0;
	if (locked && (is_left_over(&other, fresh) || (container->replaces && other.held && container_has_ended(&other)))) {
		if (!cgroup_end(other.cgroup, other.cgroup_inode, CGROUP_PATIENCE_MS)) {
			if (!fresh)
				remove_members(&other);
			container->fd = other.fd;
			return TAKEN;
		}
		close_fd(&other.fd);
		return TAKEN_FAILED;
	}
	/* Its process may just have ended, and its monitor be about to remove it; or there is none yet. */
	cleanup_fd int process_fd = locked || container_read_record(&other) < 0 ? -1 : container_process(&other);
	int error = errno;
	/* What was made is not wanted; it is known to be it under the lock alone. */
	if (is_want(error) && locked && fresh)
		unlinkat(container->parent_fd, container->id, AT_REMOVEDIR);
	bool is_there = process_fd >= 0 || (other.pid && !other.held) || container_has_ended(&other);
	close_fd(&other.fd);
	errno = error;
	return is_want(error) ? TAKEN_FAILED : is_there ? TAKEN_BY_OTHER : TAKEN_FOR_NOW;
}

/* Make the directory of a new container, and hold its lock.  EEXIST: there is one of that name. */
int container_make(struct container *container, const char *directory, const char *id)
{
	if (open_parent(container, directory, id) < 0)
		return -1;
	for (int tries = 0; tries < 16; tries++) {
		if (mkdirat(container->parent_fd, id, 0700) < 0) {
			if (errno != EEXIST)
				return -1;
			if (open_itself(container) < 0) {
				if (errno == ENOENT) /* removed meanwhile */
					continue;
				return -1;
			}
			if (!lock_at_once(container) || !is_left_over(container, false)) {
				errno = is_want(errno) ? errno : EEXIST;
				return -1;
			}
			/* Its first process dies with who made it, but maybe not yet. */
			if (cgroup_end(container->cgroup, container->cgroup_inode, CGROUP_PATIENCE_MS) < 0)
				return -1;
			container_remove(container);
			if (open_parent(container, directory, id) < 0)
				return -1;
			continue;
		}
		/* Between mkdir and flock somebody may take it for a left-over, and a third have made another. */
		if (!open_itself(container) && !container_lock(container) && is_bare(container->fd))
			return 0;
		close_fd(&container->fd);
		container->fd = -1;
	}
	errno = EAGAIN;
	return -1;
}

/* Open the container `id`, and read what is written down of it.  ENOENT: there is none. */
int container_open(struct container *container, const char *directory, const char *id)
{
	if (open_parent(container, directory, id) < 0 || open_itself(container) < 0)
		return -1;
	return container_read_record(container);
}

int container_keep_plan(const struct container *container, const struct plan *plan)
{
	/* Aside, as somebody may wait for it. */
	cleanup_fd int fd = openat(container->fd, "plan.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -1;
	if (write_whole(fd, plan->data, plan->header->size) && !renameat(container->fd, "plan.new", container->fd, "plan"))
		return 0;
	int error = errno;
	unlinkat(container->fd, "plan.new", 0);
	errno = error;
	return -1;
}

/* A descriptor open on the plan.  A sandbox keeps it for others when its command is about to run: to enter before would
 * be to enter before its walls stand, and so it is waited for. */
int container_open_plan(const struct container *container)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	for (int tries = 0; tries < START_TRIES; tries++) {
		int fd = openat(container->fd, "plan", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0 || errno != ENOENT || !container->held || container_status(container) == CONTAINER_STOPPED)
			return fd;
		nanosleep(&pause, NULL);
	}
	return -1;
}

int container_read_plan(const struct container *container, struct plan *plan)
{
	cleanup_fd int fd = openat(container->fd, "plan", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -1 : plan_read(plan, fd);
}

/* A descriptor that stands for the first process, as it was when the container was made, pidfd_open(2).
 * ESRCH: it has ended. */
int container_process(const struct container *container)
{
	char state = 0;
	int fd = container->pid > 0 ? sys_pidfd_open(container->pid) : -1;

	if (container->pid <= 0)
		errno = ESRCH;
	if (fd < 0)
		return -1;
	/* The number may be another one's by now; looked at behind the open, it is not. */
	if (process_start_time(container->pid, &state) != container->started || state == 'Z' || state == 'X') {
		close(fd);
		errno = ESRCH;
		return -1;
	}
	return fd;
}

/* A sandbox without a cgroup is paused by stop signals: nobody inside can stop process 1. */
static bool stands(const struct container *container)
{
	char state = 0;

	return container->held && process_start_time(container->pid, &state) && state == 'T';
}

/* Never by what a file claims, but by the process that lives or does not. */
enum container_status container_status(const struct container *container)
{
	if (container->pid == 0)
		return CONTAINER_CREATING;
	cleanup_fd int process_fd = container_process(container);
	if (process_fd < 0)
		return CONTAINER_STOPPED;
	if ((container->cgroup[0] && cgroup_is_frozen(container->cgroup, container->cgroup_inode)) || stands(container))
		return CONTAINER_PAUSED;
	return faccessat(container->fd, "start-gate", F_OK, AT_SYMLINK_NOFOLLOW) ? CONTAINER_RUNNING : CONTAINER_CREATED;
}

const char *container_status_name(enum container_status status)
{
	static const char *const names[] = { "creating", "created", "running", "paused", "stopped" };

	return names[status];
}

/* A socket's path has room for 107 bytes; by the descriptor of its directory it always fits. */
static struct sockaddr_un gate_address(const struct container *container)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/start-gate", container->fd);
	return address;
}

/* The start gate: whoever connects to it and says START lets the container run. */
int container_open_gate(const struct container *container)
{
	const struct sockaddr_un address = gate_address(container);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int container_connect(const struct container *container)
{
	const struct sockaddr_un address = gate_address(container);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

void container_close_gate(const struct container *container)
{
	unlinkat(container->fd, "start-gate", 0);
}

void container_remove(struct container *container)
{
	remove_members(container);
	unlinkat(container->parent_fd, container->id, AT_REMOVEDIR);
	container_close(container);
}

void container_close(struct container *container)
{
	close_fd(&container->fd);
	close_fd(&container->parent_fd);
	container->fd = container->parent_fd = -1;
}
