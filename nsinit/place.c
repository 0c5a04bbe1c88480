/* Targets are resolved below the new root and used by descriptor, never by path (runc CVE-2021-30465,
 * CVE-2024-45310).  The kernel resolves what is there; what is not has to be made, and for that a path is first
 * brought into a form without symlinks, which is then walked with nothing followed. */
#define _GNU_SOURCE
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "sys.h"

#define MOST_LINKS 40 /* as in the kernel, path_resolution(7) */

int open_below(const struct run *run, const char *path, uint64_t flags)
{
	return sys_openat2(run->root_fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static int fail(int error)
{
	errno = error;
	return -1;
}

static void drop_component(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = 0;
}

/* The target of the symlink `path`; 0: it is none, or absent. */
static ssize_t read_link(const struct run *run, const char *path, char link[PATH_MAX])
{
	cleanup_fd int fd = sys_openat2(run->root_fd, path, O_PATH | O_NOFOLLOW, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	ssize_t length = readlinkat(fd, "", link, PATH_MAX - 1);
	link[length > 0 ? length : 0] = 0;
	return length > 0 ? length : 0;
}

/* Find out what `path` comes to below the new root, without symlinks; what is absent stays as it is written.  The answer
 * may be wrong by the time it is used: whoever uses it follows nothing. */
static int resolve(const struct run *run, const char *path, char resolved[PATH_MAX])
{
	char left[PATH_MAX], link[PATH_MAX];
	int links = 0;

	if (strlen(path) >= PATH_MAX)
		return fail(ENAMETOOLONG);
	strcpy(left, path);
	resolved[0] = 0;
	for (const char *next = left + strspn(left, "/"); *next; next += strspn(next, "/")) {
		size_t size = strcspn(next, "/"), length = strlen(resolved);
		const char *name = next;

		next += size;
		if (size == 1 && name[0] == '.')
			continue;
		if (size == 2 && !memcmp(name, "..", 2)) {
			drop_component(resolved);
			continue;
		}
		if (length + 1 + size >= PATH_MAX)
			return fail(ENAMETOOLONG);
		resolved[length] = '/';
		memcpy(resolved + length + 1, name, size);
		resolved[length + 1 + size] = 0;
		ssize_t link_length = read_link(run, resolved, link);
		if (link_length < 0)
			return -1;
		if (link_length == 0)
			continue;
		if (++links > MOST_LINKS)
			return fail(ELOOP);
		if ((size_t)link_length + strlen(next) >= PATH_MAX)
			return fail(ENAMETOOLONG);
		strcpy(link + link_length, next);
		strcpy(left, link);
		next = left;
		resolved[link[0] == '/' ? 0 : length] = 0;
	}
	return 0;
}

/* Open the directory `path`, made with its parents where it is absent.  Nothing is followed: what has been exchanged for
 * a symlink meanwhile is refused. */
static int walk(const struct run *run, char *path, mode_t mode)
{
	int at_fd = fcntl(run->root_fd, F_DUPFD_CLOEXEC, 0);

	for (char *name = path + strspn(path, "/"); at_fd >= 0 && *name;) {
		char *end = strchrnul(name, '/'), *next = end + strspn(end, "/");
		bool last = !*next;

		*end = 0;
		int fd = openat(at_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && (!mkdirat(at_fd, name, last ? mode : 0755) || errno == EEXIST))
			fd = openat(at_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int error = errno;
		close(at_fd);
		errno = error;
		at_fd = fd;
		name = next;
	}
	return at_fd;
}

int open_directory(const struct run *run, const char *path, mode_t mode)
{
	char resolved[PATH_MAX];

	int fd = open_below(run, path, O_PATH | O_DIRECTORY);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	return resolve(run, path, resolved) < 0 ? -1 : walk(run, resolved, mode);
}

int open_parent(const struct run *run, const char *path, const char **name)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash || !slash[1] || (size_t)(slash - path) >= sizeof(parent))
		return fail(EINVAL);
	*name = slash + 1;
	memcpy(parent, path, (size_t)(slash - path));
	strcpy(parent + (slash - path), slash == path ? "/" : "");
	return open_directory(run, parent, 0755);
}

/* Open `name`, or make it; a symlink is opened itself. */
static int open_or_make(int parent_fd, const char *name, mode_t kind, mode_t mode)
{
	int fd = openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (S_ISDIR(kind)) {
		if (mkdirat(parent_fd, name, mode) < 0)
			return -1;
	} else {
		cleanup_fd int made_fd =
			openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

		if (made_fd < 0)
			return -1;
	}
	return openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* Take `fd` for the mount point `target` if its type fits; it is closed if not. */
static int fitting(int fd, mode_t kind)
{
	struct stat status;
	int error = 0;

	if (fd < 0)
		return -1;
	if (fstat(fd, &status) < 0)
		error = errno;
	else if (S_ISLNK(status.st_mode))
		error = ELOOP;
	else if (S_ISDIR(kind) && !S_ISDIR(status.st_mode))
		error = ENOTDIR;
	else if (!S_ISDIR(kind) && S_ISDIR(status.st_mode))
		error = EISDIR;
	if (!error)
		return fd;
	close(fd);
	return fail(error);
}

int open_plain_place(const struct run *run, const char *target, mode_t kind, mode_t mode)
{
	const char *name;
	cleanup_fd int parent_fd = open_parent(run, target, &name);

	return parent_fd < 0 ? -1 : fitting(open_or_make(parent_fd, name, kind, mode), kind);
}

/* Has a symlink of the image's led to a file of procfs?  What were mounted there, the container would take for the
 * kernel's word (runc CVE-2019-19921). */
static bool strays_into_proc(const struct run *run, const char *target, int fd)
{
	struct statfs filesystem;

	if (fstatfs(fd, &filesystem) < 0)
		return true;
	if (filesystem.f_type != PROC_SUPER_MAGIC)
		return false;
	cleanup_fd int plain_fd = sys_openat2(run->root_fd, target, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
	return plain_fd < 0;
}

int open_place(const struct run *run, const char *target, mode_t kind, mode_t mode)
{
	char resolved[PATH_MAX];

	int fd = open_below(run, target, O_PATH);
	if (fd < 0 && errno != ENOENT)
		return -1;
	if (fd >= 0 && strays_into_proc(run, target, fd)) {
		close(fd);
		return fail(ELOOP);
	}
	if (fd >= 0)
		return fitting(fd, kind);
	return resolve(run, target, resolved) < 0 ? -1 : open_plain_place(run, resolved, kind, mode);
}
