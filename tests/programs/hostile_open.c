/* What is open or can be named, though it was not shown: descriptors, hidden files, the environment. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

static void inherited(void)
{
	if (around.inherited[0])
		broke("open:%s", around.inherited);
}

static void standard_directory(void)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat about;

		if (!fstat(fd, &about) && S_ISDIR(about.st_mode))
			broke("%d is a directory", fd);
		if (fcntl(fd, F_GETFL) >= 0 && (fcntl(fd, F_GETFL) & O_PATH))
			broke("%d is a place", fd);
	}
}

/* The caller's streams are the caller's to choose: a pipe can be opened at its other end. */
static void other_end(void)
{
	int output = open("/proc/self/fd/1", O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (output >= 0)
		broke("what others write to the standard output can be read");
}

/* What a descriptor allows is not to grow by opening it again. */
static void reopened(void)
{
	int note = open(below(around.fixed, "note"), O_RDONLY | O_CLOEXEC);
	int place = open(below(around.fixed, "note"), O_PATH | O_CLOEXEC);
	char path[64];

	if (note < 0 || place < 0)
		not_here("nothing is shown read-only: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", note);
	must_not_write(path);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
	must_not_write(path);
	must_fail(ftruncate(note, 0), "cut off a file that was open for reading");
	must_fail(syscall(452 /* fchmodat2 */, place, "", 0777, AT_EMPTY_PATH), "changed the mode by a place");
}

static void hidden_by_name(void)
{
	static const char *const ways[] = { "", "/proc/self/root", "/proc/1/root", "/proc/thread-self/root", "/proc/self/cwd/"
		"../../../../../../../..", "/../../../..", "/proc/self/fd/0/..", "/proc/self/fd/1/../../..", "/dev/fd/2/.." };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		must_not_tell(below(ways[i], around.hidden));
}

static void hidden_by_processes(void)
{
	for (int pid = 1; pid < 64; pid++) {
		static const char *const ways[] = { "root", "cwd/../../../../../..", "cwd" };
		char path[8192];

		for (size_t i = 0; i < 3; i++) {
			snprintf(path, sizeof(path), "/proc/%d/%s/%s", pid, ways[i], around.hidden);
			must_not_tell(path);
		}
		for (int fd = 0; fd < 32; fd++) {
			snprintf(path, sizeof(path), "/proc/%d/fd/%d/%s", pid, fd, around.hidden);
			must_not_tell(path);
			snprintf(path, sizeof(path), "/proc/%d/fd/%d/../../../../../..%s", pid, fd, around.hidden);
			must_not_tell(path);
		}
	}
}

static void hidden_linked(void)
{
	if (!around.project)
		not_here("nothing may be written");
	const char *link_path = below(around.project, "linked");

	unlink(link_path);
	if (!link(around.hidden, link_path))
		must_not_tell(link_path);
	unlink(link_path);
	if (!symlink(around.hidden, link_path))
		must_not_tell(link_path);
	unlink(link_path);
	must_fail(rename(around.hidden, link_path), "moved it here");
}

/* By moving, exchanging or covering the directories that lead there. */
static void hidden_moved(void)
{
	char directory[4096];

	snprintf(directory, sizeof(directory), "%s", around.hidden);
	for (int up = 0; up < 2; up++) {
		char other[4200];

		*strrchr(directory, '/') = 0;
		snprintf(other, sizeof(other), "%s.moved", directory);
		if (access(directory, F_OK))
			continue;
		if (!rename(directory, other)) {
			rename(other, directory);
			broke("moved %s", directory);
		}
		must_fail(rmdir(directory), directory);
		must_fail(symlink("/", directory), directory);
		if (around.project)
			must_fail(syscall(SYS_renameat2, AT_FDCWD, directory, AT_FDCWD, below(around.project, "sub"), 2), "exchanged it");
	}
}

/* The "shocker": a handle of the root's inode, or of any other, by any mount that is there. */
static void handles(void)
{
	const char *mounts[] = { around.project, around.fixed, "/tmp", "/", "/usr", "/proc/self/cwd" };

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		int mount = mounts[i] ? open(mounts[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

		for (unsigned inode = 1; mount >= 0 && inode < 400; inode++) {
			union {
				struct file_handle handle;
				char space[sizeof(struct file_handle) + 16];
			} named = { .handle = { .handle_bytes = 8, .handle_type = 1 } };

			memcpy(named.handle.f_handle, &inode, sizeof(inode));
			int opened = (int)syscall(SYS_open_by_handle_at, mount, &named.handle, O_RDONLY);
			if (opened >= 0)
				broke("opened inode %u by its handle", inode);
			if (errno == EPERM || errno == ENOSYS)
				break;
		}
		close(mount);
	}
}

/* The hard way: handles that the kernel itself names. */
static void handles_that_are_named(void)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} named = { .handle = { .handle_bytes = MAX_HANDLE_SZ } };
	int mount_id;
	int mount = open(around.fixed, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (name_to_handle_at(AT_FDCWD, around.fixed, &named.handle, &mount_id, 0))
		return;
	must_fail(open_by_handle_at(mount, &named.handle, O_RDONLY), "opened a directory by its handle");
}

static void environment(void)
{
	for (char **variable = environ; *variable; variable++)
		if (!strncmp(*variable, "LD_", 3) || strstr(*variable, "canary"))
			broke("%s is in the environment", *variable);
}

/* Whoever names a file that is shown learns when it is used outside; that is told in the documents. */
static void watching(void)
{
	int watch = inotify_init1(IN_CLOEXEC);

	if (watch < 0)
		not_here("inotify: %s", strerror(errno));
	if (inotify_add_watch(watch, below(around.fixed, "note"), IN_ALL_EVENTS) >= 0)
		broke("the use of a file that is shown can be watched");
}

static void leases(void)
{
	int note = open(below(around.fixed, "note"), O_RDONLY | O_CLOEXEC);

	if (note < 0)
		not_here("nothing is shown read-only");
	if (fcntl(note, F_SETLEASE, F_RDLCK) >= 0)
		broke("whoever writes a file that is shown can be kept waiting");
}

/* A file that is hidden is not to be found out about either. */
static void hidden_facts(void)
{
	struct stat about;
	char value[64];

	if (!stat(around.hidden, &about) && about.st_size > 0)
		broke("its size is %lld", (long long)about.st_size);
	must_fail(getxattr(around.hidden, "user.note", value, sizeof(value)), "read its attribute");
	must_fail(chmod(around.hidden, 0666), "changed its mode");
	must_fail(unlink(around.hidden), "removed it");
}

const struct attack open_attacks[] = {
	{ "descriptor-inherited", ALWAYS, inherited },
	{ "descriptor-directory-on-stdio", ALWAYS, standard_directory },
	{ "descriptor-other-end-of-a-pipe", NEVER, other_end },
	{ "descriptor-reopened", ALWAYS, reopened },
	{ "hidden-by-name", ALWAYS, hidden_by_name },
	{ "hidden-by-processes", ALWAYS, hidden_by_processes },
	{ "hidden-linked", ALWAYS, hidden_linked },
	{ "hidden-moved", ALWAYS, hidden_moved },
	{ "hidden-facts", ALWAYS, hidden_facts },
	{ "handle-by-inode", ALWAYS, handles },
	{ "handle-by-name", ALWAYS, handles_that_are_named },
	{ "environment", BARE, environment },
	{ "watch-what-is-shown", NEVER, watching },
	{ "lease-on-what-is-shown", NEVER, leases },
	{ 0 },
};
