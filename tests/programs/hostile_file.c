/* Changing what is shown read-only, and uncovering what is covered in a tree that may be written. */
#define _GNU_SOURCE
#include "hostile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *note(void)
{
	const char *path = below(around.fixed, "note");

	if (access(path, R_OK))
		not_here("nothing is shown read-only: %s", strerror(errno));
	return path;
}

static void written(void)
{
	must_not_write(note());
	must_fail(open(below(around.fixed, "new"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600), "made a file");
	must_fail(open(around.fixed, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600), "made a file without a name");
	must_fail(truncate(note(), 0), "cut it off");
	must_fail(mkdir(below(around.fixed, "new"), 0700), "made a directory");
	must_fail(mkfifo(below(around.fixed, "new"), 0600), "made a fifo");
	must_fail(symlink("/", below(around.fixed, "new")), "made a symlink");
}

static void described(void)
{
	static const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	int flags = FS_NOATIME_FL, fd = open(note(), O_RDONLY | O_CLOEXEC);

	must_fail(chmod(note(), 0777), "changed its mode");
	must_fail(fchmod(fd, 0777), "changed its mode by descriptor");
	must_fail(chown(note(), getuid(), getgid()), "gave it away");
	must_fail(utimensat(AT_FDCWD, note(), times, 0), "set its times");
	must_fail(futimens(fd, times), "set its times by descriptor");
	must_fail(setxattr(note(), "user.hostile", "x", 1, 0), "gave it an attribute");
	must_fail(fsetxattr(fd, "user.hostile", "x", 1, 0), "gave it an attribute by descriptor");
	must_fail(removexattr(note(), "user.note"), "took its attribute");
	must_fail(ioctl(fd, FS_IOC_SETFLAGS, &flags), "set its flags");
	must_fail(fallocate(fd, 0, 0, 1 << 16), "gave it room");
}

static void moved(void)
{
	must_fail(unlink(note()), "removed it");
	must_fail(rmdir(below(around.fixed, "dir")), "removed a directory");
	must_fail(rename(note(), below(around.fixed, "dir/note")), "moved it");
	must_fail(syscall(SYS_renameat2, AT_FDCWD, note(), AT_FDCWD, below(around.fixed, "dir"), RENAME_EXCHANGE), "exchanged it");
	must_fail(link(note(), below(around.fixed, "second")), "gave it a second name");
}

/* A second name in a writable tree of the same file system would be a writable one. */
static void linked_out(void)
{
	char path[64];

	if (!around.project)
		not_here("nothing may be written");
	const char *second = below(around.project, "second");
	int fd = open(note(), O_RDONLY | O_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	unlink(second);
	if (!link(note(), second) || !linkat(fd, "", AT_FDCWD, second, AT_EMPTY_PATH) ||
	    !linkat(AT_FDCWD, path, AT_FDCWD, second, AT_SYMLINK_FOLLOW))
		must_not_write(second);
	must_fail(rename(note(), second), "moved it into a writable tree");
}

static void mapped(void)
{
	int fd = open(note(), O_RDONLY | O_CLOEXEC);
	char *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		broke("mapped it for writing");
	if (shared != MAP_FAILED && !mprotect(shared, 4096, PROT_READ | PROT_WRITE))
		broke("made the map writable");
}

/* DirtyPipe's and DirtyCOW's way in: what the page cache holds is to stay as it was. */
static void through_the_page_cache(void)
{
	char before[64] = "", after[64] = "", page[4096] = "";
	int ends[2], fd = open(note(), O_RDONLY | O_CLOEXEC);
	off_t offset = 0;

	if (pipe(ends) || read_file(note(), before, sizeof(before)) < 2)
		not_here("pipe: %s", strerror(errno));
	/* Every buffer of the pipe once full and empty again, so that it remembers to have been written. */
	for (int i = 0; i < 16; i++)
		if (write(ends[1], page, sizeof(page)) < 0)
			return;
	for (int i = 0; i < 16; i++)
		if (read(ends[0], page, sizeof(page)) < 0)
			return;
	if (splice(fd, &offset, ends[1], NULL, 1, 0) != 1 || write(ends[1], "X", 1) != 1)
		return;
	read_file(note(), after, sizeof(after));
	if (strcmp(before, after))
		broke("changed it through a pipe");
}

/* --- what is covered in a tree that may be written --- */

static void covered_stays(void)
{
	if (!around.project)
		not_here("nothing may be written");
	if (access(below(around.project, "sub"), F_OK))
		not_here("nothing is covered");
	const char *other = below(around.project, "other");

	must_not_tell(below(around.project, "sub/private"));
	must_not_write(below(around.project, "sub/fixed"));
	must_fail(unlink(below(around.project, "sub/private")), "removed what covers a file");
	must_fail(rename(below(around.project, "sub/private"), other), "moved what is hidden");
	must_fail(rename(below(around.project, "sub/fixed"), other), "moved what is read-only");
	must_fail(syscall(SYS_renameat2, AT_FDCWD, below(around.project, "sub"), AT_FDCWD, other, RENAME_EXCHANGE), "exchanged the "
		  "directory");
	must_fail(rename(below(around.project, "sub"), other), "moved the directory that leads there");
	must_fail(rmdir(below(around.project, "sub")), "removed the directory that leads there");
	must_fail(link(below(around.project, "sub/private"), other), "linked what is hidden");
	must_not_tell(other);
}

/* A mask changed: what lies behind an empty file must not be reached by writing, either. */
static void mask_written(void)
{
	if (!around.project)
		not_here("nothing may be written");
	write_file(below(around.project, "sub/private"), "overwritten");
	must_not_tell(below(around.project, "sub/private"));
	must_fail(mknod(below(around.project, "sub/device"), S_IFCHR | 0666, 0x103), "made a device");
}

/* Where the root and the mount points lie, nothing can be made or taken away. */
static void mount_points(void)
{
	static const char *const places[] = { "/proc", "/sys", "/dev", "/dev/null", "/dev/pts", "/dev/shm", "/usr" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		must_fail(rmdir(places[i]), places[i]);
		must_fail(unlink(places[i]), places[i]);
		must_fail(rename(places[i], "/moved"), places[i]);
	}
}

static void system_written(void)
{
	static const char *const places[] = { "/usr", "/usr/bin", "/bin", "/lib", "/sbin", "/lib64", "/usr/lib", "/usr/local/bin" };
	int seen = 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		seen += !access(places[i], F_OK);
		must_fail(open(below(places[i], "hostile"), O_CREAT | O_WRONLY | O_CLOEXEC, 0755), places[i]);
	}
	if (!seen)
		not_here("nothing of the system is shown");
}

/* Memory that files take is to have a bound, if a wide one. */
static void unbounded(void)
{
	static const char *const places[] = { "/tmp", "/dev", "/dev/shm", "/run", "/var/tmp", "/etc", "/" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct statvfs about;

		if (!statvfs(places[i], &about) && !(about.f_flag & ST_RDONLY) && !access(places[i], W_OK) && !about.f_blocks)
			broke("%s has no bound", places[i]);
	}
}

/* No size is too large for a file of holes; it may not take a byte more than it holds. */
static void holes(void)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct stat about;

	if (fd < 0)
		not_here("no /dev/shm: %s", strerror(errno));
	if (ftruncate(fd, 0x7fffffffff000) < 0 && ftruncate(fd, 1L << 40) < 0)
		return;
	if (fallocate(fd, 0, 0, 1L << 40) == 0)
		broke("took a terabyte");
	if (!fstat(fd, &about) && about.st_blocks > 1 << 20)
		broke("took %lld blocks", (long long)about.st_blocks);
}

/* Whoever may execute it outside is the caller then. */
static void set_id_file(void)
{
	if (!around.project)
		not_here("nothing may be written");
	const char *path = below(around.project, "set-id");
	struct stat about;

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755));
	int given = !chmod(path, 04755) && !stat(path, &about) && (about.st_mode & S_ISUID);
	unlink(path);
	if (given)
		broke("made a program with the caller's id");
}

const struct attack file_attacks[] = {
	{ "readonly-written", ALWAYS, written },
	{ "readonly-described", ALWAYS, described },
	{ "readonly-moved", ALWAYS, moved },
	{ "readonly-linked-out", ALWAYS, linked_out },
	{ "readonly-mapped", ALWAYS, mapped },
	{ "readonly-through-the-page-cache", ALWAYS, through_the_page_cache },
	{ "covered-in-a-writable-tree", ALWAYS, covered_stays },
	{ "mask-written", ALWAYS, mask_written },
	{ "mount-points-removed", ALWAYS, mount_points },
	{ "set-id-file-in-the-project", NEVER, set_id_file },
	{ "system-written", ALWAYS, system_written },
	{ "memory-file-systems-unbounded", ALWAYS, unbounded },
	{ "files-of-holes", ALWAYS, holes },
	{ 0 },
};
