/* What an image has in a directory, copied into the tmpfs that is about to cover it (runc's tmpcopyup).
 *
 * The image may be hostile, and may be changed while we copy: every file is reached by a descriptor of its directory,
 * nothing is followed, depth is bounded by us, size by the tmpfs, and what a file is was asked of the very descriptor
 * from which it is read. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mount.h"

#define DEPTH_MAX 128
#define XATTR_NAMES_MAX 65536 /* XATTR_LIST_MAX */
#define XATTR_VALUE_MAX 65536 /* XATTR_SIZE_MAX */

struct entry {
	struct run *run;
	int from_fd, to_fd; /* not owned; the directories */
	int depth;
	const char *name;
	struct stat status;
};

static int refuse_entry(const struct entry *entry, const char *call)
{
	int error = errno;

	strncpy(entry->run->name, entry->name, sizeof(entry->run->name) - 1);
	return refuse_with(entry->run, error, call, entry->run->name);
}

/* An owner that has no id in here: the copy stays ours. */
static bool owner_is_nobody(int error)
{
	return error == EINVAL;
}

/* Some belong to the kernel, some to capabilities of the host's: those that may not be set are left out. */
static int copy_xattrs(const struct entry *entry, int from_fd, int to_fd)
{
	char names[XATTR_NAMES_MAX], value[XATTR_VALUE_MAX];
	ssize_t size = flistxattr(from_fd, names, sizeof(names));

	if (size < 0 && errno != ENOTSUP)
		return refuse_entry(entry, "flistxattr");
	for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		ssize_t length = fgetxattr(from_fd, name, value, sizeof(value));

		if (length < 0 && errno != ENODATA && errno != EPERM && errno != EACCES && errno != ENOTSUP)
			return refuse_entry(entry, "fgetxattr");
		if (length >= 0 && fsetxattr(to_fd, name, value, (size_t)length, 0) < 0 && errno != EPERM &&
		    errno != EACCES && errno != ENOTSUP && errno != EINVAL)
			return refuse_entry(entry, "fsetxattr");
	}
	return 0;
}

/* In this order: a change of owner clears the set-id bits and the capabilities of a file. */
static int copy_attributes(const struct entry *entry, int from_fd, int to_fd)
{
	const struct stat *status = &entry->status;
	const struct timespec times[] = { status->st_atim, status->st_mtim };

	if (fchown(to_fd, status->st_uid, status->st_gid) < 0 && !owner_is_nobody(errno))
		return refuse_entry(entry, "fchown");
	if (fchmod(to_fd, status->st_mode & 07777) < 0)
		return refuse_entry(entry, "fchmod");
	if (copy_xattrs(entry, from_fd, to_fd) < 0)
		return -1;
	return futimens(to_fd, times) < 0 ? refuse_entry(entry, "futimens") : 0;
}

static int copy_attributes_by_name(const struct entry *entry)
{
	const struct stat *status = &entry->status;
	const struct timespec times[] = { status->st_atim, status->st_mtim };

	if (fchownat(entry->to_fd, entry->name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0 &&
	    !owner_is_nobody(errno))
		return refuse_entry(entry, "fchownat");
	if (!S_ISLNK(status->st_mode) && fchmodat(entry->to_fd, entry->name, status->st_mode & 07777, 0) < 0)
		return refuse_entry(entry, "fchmodat");
	return utimensat(entry->to_fd, entry->name, times, AT_SYMLINK_NOFOLLOW) < 0 ? refuse_entry(entry, "utimensat") : 0;
}

/* Open what `entry` was found to be, and find out whether it still is. */
static int open_again(struct entry *entry, int flags, mode_t kind)
{
	int fd = openat(entry->from_fd, entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags);

	if (fd < 0)
		return refuse_entry(entry, "openat");
	if (fstat(fd, &entry->status) < 0 || (entry->status.st_mode & S_IFMT) != kind) {
		close(fd);
		errno = ESTALE;
		return refuse_entry(entry, "fstat");
	}
	return fd;
}

static int copy_file(struct entry *entry)
{
	cleanup_fd int from_fd = open_again(entry, 0, S_IFREG);

	if (from_fd < 0)
		return -1;
	cleanup_fd int to_fd = openat(entry->to_fd, entry->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to_fd < 0)
		return refuse_entry(entry, "openat");
	/* As much as it has now: who appends while we copy is not waited for. */
	for (off_t left = entry->status.st_size; left > 0;) {
		ssize_t sent = sendfile(to_fd, from_fd, NULL, (size_t)left);

		if (sent < 0)
			return refuse_entry(entry, "sendfile");
		if (sent == 0)
			break;
		left -= sent;
	}
	return copy_attributes(entry, from_fd, to_fd);
}

static int copy_link(struct entry *entry)
{
	char link[PATH_MAX];
	ssize_t length = readlinkat(entry->from_fd, entry->name, link, sizeof(link) - 1);

	if (length < 0)
		return refuse_entry(entry, "readlinkat");
	link[length] = 0;
	if (symlinkat(link, entry->to_fd, entry->name) < 0)
		return refuse_entry(entry, "symlinkat");
	return copy_attributes_by_name(entry);
}

static int copy_node(struct entry *entry)
{
	if (mknodat(entry->to_fd, entry->name, (entry->status.st_mode & S_IFMT) | 0600, entry->status.st_rdev) < 0)
		return refuse_entry(entry, "mknodat");
	return copy_attributes_by_name(entry);
}

static int copy_directory(struct run *run, int from_fd, int to_fd, int depth);

static int copy_subdirectory(struct entry *entry)
{
	cleanup_fd int from_fd = open_again(entry, O_DIRECTORY, S_IFDIR);

	if (from_fd < 0)
		return -1;
	if (entry->depth == DEPTH_MAX) {
		errno = ELOOP;
		return refuse_entry(entry, "openat");
	}
	if (mkdirat(entry->to_fd, entry->name, 0700) < 0)
		return refuse_entry(entry, "mkdirat");
	cleanup_fd int to_fd = openat(entry->to_fd, entry->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to_fd < 0)
		return refuse_entry(entry, "openat");
	if (copy_directory(entry->run, from_fd, to_fd, entry->depth + 1) < 0)
		return -1;
	return copy_attributes(entry, from_fd, to_fd);
}

static int copy_entry(struct entry *entry)
{
	if (fstatat(entry->from_fd, entry->name, &entry->status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : refuse_entry(entry, "fstatat"); /* removed since it was listed */
	switch (entry->status.st_mode & S_IFMT) {
	case S_IFDIR:
		return copy_subdirectory(entry);
	case S_IFREG:
		return copy_file(entry);
	case S_IFLNK:
		return copy_link(entry);
	default:
		return copy_node(entry);
	}
}

static int copy_directory(struct run *run, int from_fd, int to_fd, int depth)
{
	_Alignas(struct dirent) char buffer[2048];
	struct entry entry = { .run = run, .from_fd = from_fd, .to_fd = to_fd, .depth = depth, .name = "." };
	long size;

	while ((size = syscall(SYS_getdents64, from_fd, buffer, sizeof(buffer))) > 0)
		for (long at = 0; at < size;) {
			/* struct linux_dirent64, getdents(2): both libcs' struct dirent is laid out like it */
			const struct dirent *found = (const struct dirent *)(buffer + at);

			at += found->d_reclen;
			entry.name = found->d_name;
			if (strcmp(entry.name, ".") && strcmp(entry.name, "..") && copy_entry(&entry) < 0)
				return -1;
		}
	return size < 0 ? refuse_entry(&entry, "getdents64") : 0;
}

int copy_up(struct run *run, int from_fd, int to_fd)
{
	return copy_directory(run, from_fd, to_fd, 1);
}
