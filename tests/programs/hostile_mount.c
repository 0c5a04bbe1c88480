/* Changing what is mounted: with the rights that are there, and with those of a namespace made inside. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLONE_TREE 1 /* OPEN_TREE_CLONE */
#define FROM_EMPTY 4 /* MOVE_MOUNT_F_EMPTY_PATH */

static long new_attributes(int fd, const char *path, unsigned long long set, unsigned long long clear, unsigned long long propagation)
{
	unsigned long long attributes[4] = { set, clear, propagation, 0 };

	return syscall(SYS_mount_setattr, fd, path, AT_RECURSIVE | (path[0] ? 0 : AT_EMPTY_PATH), attributes, sizeof(attributes));
}

/* Call for each mount point, the last one first. */
static void for_each_mount(void (*what)(const char *point))
{
	static char points[256][512];
	int count = 0;
	char line[8192];
	FILE *file = fopen("/proc/self/mountinfo", "re");

	while (file && count < 256 && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*d %*d %*s %*s %511s", points[count]) == 1)
			count++;
	if (file)
		fclose(file);
	while (count-- > 0)
		what(points[count]);
}

/* --- with the rights that are there --- */

static void mounted(void)
{
	static const char *const kinds[] = { "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup2", "overlay", "fuse", "ramfs",
					     "devtmpfs", "debugfs", "bpf", "binfmt_misc" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		must_fail(mount("none", "/tmp", kinds[i], 0, NULL), kinds[i]);
		must_fail(syscall(SYS_fsopen, kinds[i], 0), kinds[i]);
	}
	must_fail(mount("/", "/tmp", NULL, MS_BIND | MS_REC, NULL), "bound the root");
	must_fail(mount("/proc/self/fd/0", "/tmp", NULL, MS_BIND, NULL), "bound a descriptor");
	must_fail(mount("/dev", "/tmp", NULL, MS_MOVE, NULL), "moved /dev");
}

static void remount(const char *point)
{
	must_fail(mount(NULL, point, NULL, MS_REMOUNT, NULL), "mounted it anew");
	must_fail(mount(NULL, point, NULL, MS_REMOUNT | MS_BIND, NULL), "mounted it writable");
	must_fail(mount(NULL, point, NULL, MS_SHARED | MS_REC, NULL), "shared it");
	must_fail(mount(NULL, point, NULL, MS_SLAVE | MS_REC, NULL), "enslaved it");
	must_fail(new_attributes(AT_FDCWD, point, 0, 0xff, 0), "took its attributes");
	must_fail(new_attributes(AT_FDCWD, point, 0, 0, MS_SHARED), "shared it");
	must_fail(syscall(SYS_fspick, AT_FDCWD, point, 0), "picked it");
}

static void changed(void)
{
	for_each_mount(remount);
	remount("/");
}

static void umounted(const char *point)
{
	must_fail(umount2(point, MNT_DETACH), "took it away");
	must_fail(umount2(point, MNT_FORCE | MNT_DETACH), "took it away by force");
	must_fail(umount2(point, MNT_EXPIRE), "let it expire");
}

static void uncovered(void) { for_each_mount(umounted); }

static void by_descriptor(const char *point)
{
	must_fail(syscall(SYS_open_tree, AT_FDCWD, point, CLONE_TREE | AT_RECURSIVE), "copied it");
	must_fail(syscall(SYS_open_tree, AT_FDCWD, point, CLONE_TREE), "copied it alone");
	int place = open(point, O_PATH | O_CLOEXEC);
	must_fail(syscall(SYS_move_mount, place, "", AT_FDCWD, "/tmp", FROM_EMPTY), "moved it");
	close(place);
}

static void copied(void) { for_each_mount(by_descriptor); }

static void other_root(void)
{
	int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must_fail(syscall(SYS_pivot_root, ".", "."), "turned the root");
	must_fail(syscall(SYS_pivot_root, "/tmp", "/tmp"), "turned the root");
	if (!chroot("/tmp")) {
		fchdir(old);
		for (int i = 0; i < 64; i++)
			if (chdir(".."))
				break;
		must_not_tell(below(".", around.hidden));
		if (around.promised & POWERLESS)
			broke("changed the root");
	}
}

/* What is above the root is nothing. */
static void above(void)
{
	char path[4096] = "/";

	for (int i = 0; i < 512; i++)
		if (chdir(".."))
			break;
	must_not_tell(below(".", around.hidden));
	if (!getcwd(path, sizeof(path)) || strcmp(path, "/"))
		broke("got to %s", path);
}

static void devices(void)
{
	static const struct { int major, minor; } nodes[] = { { 8, 0 }, { 1, 1 }, { 1, 2 }, { 1, 3 }, { 1, 11 }, { 254, 0 }, { 7, 0 }, { 5, 1 }, { 4, 0 }, { 10, 229 } };
	const char *places[] = { "/tmp", "/dev", "/dev/shm", around.project, "." };

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		for (size_t j = 0; j < sizeof(places) / sizeof(places[0]); j++)
			for (int block = 0; places[j] && block < 2; block++) {
				const char *path = below(places[j], "node");
				mode_t kind = block ? S_IFBLK : S_IFCHR;

				/* With the number 0:0 it is a whiteout, which is none. */
				if (!mknod(path, kind | 0666, (dev_t)(nodes[i].major << 8 | nodes[i].minor)))
					broke("made the device %d:%d", nodes[i].major, nodes[i].minor);
			}
}

/* --- with those of a namespace made inside: what came with it cannot be undone --- */

static int gained;

static void loosen(const char *point)
{
	gained = 0;
	if (!umount2(point, MNT_DETACH) && strcmp(point, "/"))
		gained = 1;
	mount(NULL, point, NULL, MS_REMOUNT | MS_BIND, NULL);
	new_attributes(AT_FDCWD, point, 0, 0xff, 0);
}

static void locked(void)
{
	become_root_inside();
	for_each_mount(loosen);
	must_not_tell(around.hidden);
	char path[64];
	if (read_file("/proc/kcore", path, sizeof(path)) > 0 || read_file("/proc/keys", path, sizeof(path)) > 0)
		broke("uncovered a part of /proc");
	must_not_write("/proc/sysrq-trigger");
	must_not_write("/proc/sys/kernel/core_pattern");
	if (around.fixed)
		must_not_write(below(around.fixed, "note"));
	if (around.project) {
		must_not_tell(below(around.project, "sub/private"));
		must_not_write(below(around.project, "sub/fixed"));
	}
}

/* What covers something is left behind where the tree below it is copied without it. */
static void copied_without(void)
{
	become_root_inside();
	static const char *const trees[] = { "/", "/proc", "/sys", "/dev" };
	const char *places[] = { around.project, around.fixed, "/", "/proc" };

	mkdir("/tmp/tree", 0700);
	for (size_t i = 0; i < 4; i++) {
		int tree = (int)syscall(SYS_open_tree, AT_FDCWD, places[i] ? places[i] : trees[i], CLONE_TREE);

		if (tree < 0)
			continue;
		new_attributes(tree, "", 0, 0xff, 0);
		int private_file = openat(tree, "sub/private", O_RDONLY), note = openat(tree, "note", O_WRONLY);
		int keys = openat(tree, i == 3 ? "keys" : "absent", O_RDONLY);
		char content[64];
		if (private_file >= 0)
			must_not_tell_fd(private_file, "without what covers it");
		if (note >= 0 && around.fixed && places[i] == around.fixed)
			broke("copied it writable");
		if (keys >= 0 && read(keys, content, 1) == 1)
			broke("copied /proc without what covers it");
		close(tree);
	}
}

/* A /proc of its own would not have what covers the outer one. */
static void own_proc(void)
{
	become_root_inside();
	if (unshare(CLONE_NEWPID))
		not_here("no process namespace: %s", strerror(errno));
	pid_t child = fork();
	if (!child) {
		char content[64];

		if (mount("proc", "/tmp", "proc", 0, NULL))
			_exit(0);
		_exit(read_file("/tmp/kcore", content, sizeof(content)) > 0 || write_file("/tmp/sysrq-trigger", "") >= 0 ? 7 : 6);
	}
	int status;
	waitpid(child, &status, 0);
	if (WEXITSTATUS(status) == 7)
		broke("a /proc without what covers it");
}

const struct attack mount_attacks[] = {
	{ "mount-new", POWERLESS, mounted },
	{ "mount-changed", POWERLESS, changed },
	{ "mount-taken-away", POWERLESS, uncovered },
	{ "mount-by-descriptor", POWERLESS, copied },
	{ "another-root", ALWAYS, other_root },
	{ "above-the-root", ALWAYS, above },
	{ "devices-made", ALWAYS, devices },
	{ "locked-mounts-in-a-namespace", ALWAYS, locked },
	{ "copies-of-mounts-in-a-namespace", ALWAYS, copied_without },
	{ "another-proc-in-a-namespace", ALWAYS, own_proc },
	{ 0 },
};
