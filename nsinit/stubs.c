/* What a sandbox holds is written down, in a file of its own that it keeps locked, before it is made.  Whose lock is free
 * is dead, and whoever starts next removes what it held.  A stub that several hold goes with the last of them.
 *
 * An entry is 'd' or 'f' and the path, NUL, the content of a file, NUL.  What is removed is empty, or has this very
 * content: what somebody has put there since is theirs. */
#define _GNU_SOURCE
#include "stubs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "listing.h"
#include "sys.h"

#define DIRECTORY "../stubs"
#define LIST_MAX (1 << 20)
#define CONTENT_MAX 64
#define BUSY_TRIES 5000 /* of 1 ms */

struct list {
	bool failed; /* what is in it is not known */
	size_t size;
	char *bytes; /* owned */
};

struct entry {
	bool file;
	const char *path, *content;
};

static const char *next_text(const struct list *list, const char *at, const char **text)
{
	size_t left = (size_t)(list->bytes + list->size - at), length = strnlen(at, left);

	*text = at;
	return length < left ? at + length + 1 : NULL;
}

/* NULL: there is no more, or its writer was killed in the middle of it, and has not made it. */
static const char *next_entry(const struct list *list, const char *at, struct entry *entry)
{
	at = next_text(list, at, &entry->path);
	if (at)
		at = next_text(list, at, &entry->content);
	if (!at || !entry->path[0])
		return NULL;
	entry->file = *entry->path++ == 'f';
	return at;
}

static struct list read_list(int fd)
{
	struct list list = { .failed = true };
	struct stat status;

	if (fstat(fd, &status) < 0 || status.st_size > LIST_MAX)
		return list;
	list.bytes = malloc((size_t)status.st_size + 1);
	ssize_t size = list.bytes ? pread(fd, list.bytes, (size_t)status.st_size, 0) : -1;
	list.failed = size != status.st_size;
	list.size = list.failed ? 0 : (size_t)size;
	return list;
}

/* --- the stubs ---------------------------------------------------------------------------------------- */

/* Nothing is followed: the trees are writable for whoever was inside. */
static int open_parent_of(const char *path, const char **name)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash || !slash[1] || (size_t)(slash - path) >= sizeof(parent)) {
		errno = EINVAL;
		return -1;
	}
	*name = slash + 1;
	memcpy(parent, path, (size_t)(slash - path));
	strcpy(parent + (slash - path), slash == path ? "/" : "");
	return sys_openat2(AT_FDCWD, parent, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

static bool has_content(int parent_fd, const char *name, const char *content)
{
	char found[CONTENT_MAX + 1];
	struct stat status;
	cleanup_fd int fd = openat(parent_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return false;
	ssize_t size = read(fd, found, sizeof(found));
	return size >= 0 && (size_t)size == strlen(content) && !memcmp(found, content, (size_t)size);
}

/* Is there nothing of ours at the place, where a call on it was refused so? */
static bool is_not_ours(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENOTEMPTY || error == EEXIST;
}

/* false: it may still be there. */
static bool remove_stub(const struct entry *entry)
{
	const char *name;
	cleanup_fd int parent_fd = open_parent_of(entry->path, &name);

	if (parent_fd < 0)
		return is_not_ours(errno);
	if (entry->file && !has_content(parent_fd, name, entry->content))
		return true;
	return !unlinkat(parent_fd, name, entry->file ? 0 : AT_REMOVEDIR) || is_not_ours(errno);
}

/* It appears with its content, or not at all: git takes an empty `commondir` for damage. */
static int make_file(int parent_fd, const char *name, const char *content)
{
	char path[32];
	cleanup_fd int fd = openat(parent_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0) { /* not every file system has them */
		cleanup_fd int plain_fd = openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

		return plain_fd >= 0 && write_whole(plain_fd, content, strlen(content)) ? 0 : -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!write_whole(fd, content, strlen(content)))
		return -1;
	return linkat(AT_FDCWD, path, parent_fd, name, AT_SYMLINK_FOLLOW);
}

/* --- who holds what ------------------------------------------------------------------------------------ */

/* Open what another sandbox has written down; `*alive`: its monitor is there. */
static int open_list(const struct stubs *stubs, const char *name, bool *alive)
{
	int fd = openat(stubs->directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	*alive = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
	return fd;
}

static int open_lists(const struct stubs *stubs)
{
	return openat(stubs->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static const char *next_list(struct listing *listing, const char *but)
{
	const struct dirent *entry;

	while ((entry = listing_next(listing)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, but))
			return entry->d_name;
	return NULL;
}

enum holder {
	HOLDER_NONE,
	HOLDER_OTHER,
	HOLDER_UNKNOWN, /* for want of memory or descriptors: to take its stub away would open it */
};

static enum holder holds(const struct stubs *stubs, const char *name, const char *path)
{
	enum holder holder = HOLDER_NONE;
	bool alive;
	cleanup_fd int fd = open_list(stubs, name, &alive);
	struct entry entry;

	if (fd < 0)
		return errno == ENOENT ? HOLDER_NONE : HOLDER_UNKNOWN;
	if (!alive)
		return HOLDER_NONE;
	struct list list = read_list(fd);
	for (const char *at = list.bytes; at && holder == HOLDER_NONE && (at = next_entry(&list, at, &entry));)
		holder = strcmp(entry.path, path) ? HOLDER_NONE : HOLDER_OTHER;
	free(list.bytes);
	return list.failed ? HOLDER_UNKNOWN : holder;
}

/* Who holds `path` of those that run, but for the one called `but`? */
static enum holder find_holder(const struct stubs *stubs, const char *path, const char *but)
{
	cleanup_fd int lists_fd = open_lists(stubs);
	struct listing listing = { .fd = lists_fd };
	enum holder holder = HOLDER_NONE;
	const char *name;

	while (holder == HOLDER_NONE && (name = next_list(&listing, but)))
		holder = holds(stubs, name, path);
	return listing.failed ? HOLDER_UNKNOWN : holder;
}

/* A list of which something could not be removed stays: whoever starts next tries again. */
static void drop(const struct stubs *stubs, int fd, const char *name)
{
	struct list list = read_list(fd);
	struct entry entry;
	bool done = !list.failed;

	for (const char *at = list.bytes; at && (at = next_entry(&list, at, &entry));) {
		enum holder holder = find_holder(stubs, entry.path, name);

		if (holder == HOLDER_UNKNOWN || (holder == HOLDER_NONE && !remove_stub(&entry)))
			done = false;
	}
	free(list.bytes);
	if (done)
		unlinkat(stubs->directory_fd, name, 0);
}

static void sweep(const struct stubs *stubs, int lists_fd)
{
	struct listing listing = { .fd = lists_fd };
	const char *name;
	bool alive;

	while ((name = next_list(&listing, ""))) {
		cleanup_fd int fd = open_list(stubs, name, &alive);
		if (fd >= 0 && !alive)
			drop(stubs, fd, name);
	}
}

/* For as long as it is open, nobody else makes or removes.  Whoever has it may be stopped: wait, but not for ever. */
static int lock_lists(const struct stubs *stubs, int tries)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int fd = open_lists(stubs);

	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int error = errno == EWOULDBLOCK ? ETIMEDOUT : errno;

		if ((error == ETIMEDOUT || error == EINTR) && --tries > 0) {
			nanosleep(&pause, NULL);
			continue;
		}
		close_fd(&fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* --- a sandbox's own ------------------------------------------------------------------------------------ */

static bool write_entry(int fd, const struct plan_keep_absent *op, const char *path, const char *content)
{
	char entry[PATH_MAX + CONTENT_MAX + 4];
	int size = snprintf(entry, sizeof(entry), "%c%s%c%s", op->file ? 'f' : 'd', path, 0, content);

	if (size < 0 || (size_t)size >= sizeof(entry)) {
		errno = ENAMETOOLONG;
		return false;
	}
	return write_whole(fd, entry, (size_t)size + 1);
}

static int make(struct stubs *stubs, const struct plan *plan, const struct plan_keep_absent *op, const char **call)
{
	const char *path = plan_text(plan, op->path), *content = plan_text(plan, op->content), *name;
	struct stat status;
	cleanup_fd int parent_fd = open_parent_of(path, &name);

	*call = "openat2";
	if (parent_fd < 0)
		return -1;
	bool present = !fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW);
	enum holder holder = present ? find_holder(stubs, path, stubs->name) : HOLDER_NONE;
	*call = "getdents64";
	if (holder == HOLDER_UNKNOWN)
		return -1;
	if (present && holder == HOLDER_NONE)
		return 0; /* somebody has made it since the plan was; it is theirs, and read-only inside */
	*call = "write";
	if (!write_entry(stubs->fd, op, path, content))
		return -1;
	if (present)
		return 0;
	*call = op->file ? "linkat" : "mkdirat";
	return op->file ? make_file(parent_fd, name, content) : mkdirat(parent_fd, name, 0755);
}

static int open_own(struct stubs *stubs)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -1;
	snprintf(stubs->name, sizeof(stubs->name), "s%08x", random);
	stubs->fd = openat(stubs->directory_fd, stubs->name, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	return stubs->fd < 0 ? -1 : flock(stubs->fd, LOCK_EX | LOCK_NB);
}

int stubs_take(struct stubs *stubs, const struct plan *plan, int containers_fd, const struct plan_op **failed, const char **call)
{
	*failed = plan_find(plan, OP_KEEP_ABSENT);
	*call = "mkdirat";
	if (*failed && mkdirat(containers_fd, DIRECTORY, 0700) < 0 && errno != EEXIST)
		return -1;
	stubs->directory_fd = openat(containers_fd, DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (stubs->directory_fd < 0)
		return *failed ? -1 : 0;
	/* Who keeps nothing need not wait to see whether there is something to sweep. */
	cleanup_fd int lists_fd = lock_lists(stubs, *failed ? BUSY_TRIES : 1);
	*call = "flock";
	if (lists_fd < 0)
		return *failed ? -1 : 0;
	sweep(stubs, lists_fd);
	if (!*failed)
		return 0;
	*call = "openat";
	if (open_own(stubs) < 0)
		return -1;
	for (; *failed; *failed = plan_next(plan, *failed))
		if ((*failed)->code == OP_KEEP_ABSENT &&
		    make(stubs, plan, (const struct plan_keep_absent *)*failed, call) < 0)
			return -1;
	return 0;
}

void stubs_release(struct stubs *stubs)
{
	if (stubs->fd >= 0) {
		cleanup_fd int lists_fd = lock_lists(stubs, BUSY_TRIES);
		/* Without it: whoever starts next. */
		if (lists_fd >= 0)
			drop(stubs, stubs->fd, stubs->name);
	}
	close_fd(&stubs->fd);
	close_fd(&stubs->directory_fd);
	stubs->fd = stubs->directory_fd = -1;
}
