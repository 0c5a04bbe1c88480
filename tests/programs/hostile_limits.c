/* The cgroup that limits the program, and what is kept of it outside: its record, its log, whoever listens there. */
#define _GNU_SOURCE
#include "hostile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLONE_INTO_CGROUP_FLAG 0x200000000ULL

static const char *const limits[] = { "memory.max", "memory.high", "memory.swap.max", "memory.oom.group", "memory.reclaim", "pids.max",
				      "cpu.max", "cpu.weight", "io.max", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "cgroup.max.depth",
				      "cgroup.max.descendants", "cgroup.freeze", "cgroup.kill", "cgroup.subtree_control",
				      "cgroup.type", "cgroup.pressure", "memory.pressure", "cpu.pressure" };

/* Every way by which the hierarchy may be reached, from the nearest on; an empty string ends it. */
static const char *const *hierarchies(void)
{
	static char own[4096 + 16];
	static const char *found[8];
	char content[4096];
	size_t count = 0;

	found[count++] = "/sys/fs/cgroup";
	found[count++] = "/sys/fs/cgroup/..";
	found[count++] = "/proc/1/root/sys/fs/cgroup";
	found[count++] = "/proc/self/root/../sys/fs/cgroup";
	char *path = read_file("/proc/self/cgroup", content, sizeof(content)) > 0 ? strstr(content, "0::") : NULL;
	if (path) {
		path[strcspn(path, "\n")] = 0;
		snprintf(own, sizeof(own), "/sys/fs/cgroup%s", path + 3);
		found[count++] = own;
	}
	if (around.cgroup)
		found[count++] = around.cgroup;
	found[count] = NULL;
	return found;
}

static void rewritten(void)
{
	for (const char *const *top = hierarchies(); *top; top++)
		for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
			must_not_write(below(*top, limits[i]));
}

/* By a descriptor that was left open, too. */
static void enter(int directory, const char *where)
{
	static const char *const doors[] = { "cgroup.procs", "cgroup.threads", "../cgroup.procs" };

	for (size_t i = 0; directory >= 0 && i < sizeof(doors) / sizeof(doors[0]); i++) {
		int fd = openat(directory, doors[i], O_WRONLY | O_CLOEXEC);

		if (fd >= 0 && write(fd, "0", 1) == 1)
			broke("entered %s/%s", where, doors[i]);
	}
}

static void left(void)
{
	struct statfs about;

	for (int fd = 0; fd < 256; fd++)
		if (!fstatfs(fd, &about) && about.f_type == CGROUP2_SUPER_MAGIC)
			broke("descriptor %d is a cgroup's", fd);
	for (const char *const *top = hierarchies(); *top; top++) {
		int directory = open(*top, O_PATH | O_DIRECTORY | O_CLOEXEC);

		enter(directory, *top);
		if (directory >= 0 && !mkdirat(directory, "hostile-below", 0700)) {
			unlinkat(directory, "hostile-below", AT_REMOVEDIR);
			broke("made a cgroup in %s", *top);
		}
	}
}

/* Born elsewhere. */
static void born(void)
{
	struct stat own = { 0 }, about;

	stat("/sys/fs/cgroup", &own);
	for (const char *const *top = hierarchies(); *top; top++) {
		uint64_t arguments[11] = { CLONE_INTO_CGROUP_FLAG };

		arguments[4] = SIGCHLD;
		/* Into the one that it is in it may always be. */
		int directory = open(*top, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (directory < 0 || fstat(directory, &about) || about.st_ino == own.st_ino)
			continue;
		arguments[10] = (uint64_t)directory;
		long child = syscall(SYS_clone3, arguments, sizeof(arguments));
		if (child == 0)
			_exit(0);
		if (child > 0)
			broke("had a child in %s", *top);
	}
}

/* Who is outside the process namespace has the number 0 there. */
static void others(void)
{
	char content[65536];

	if (access("/sys/fs/cgroup/cgroup.procs", F_OK))
		not_here("no /sys/fs/cgroup");
	if (read_file("/sys/fs/cgroup/cgroup.procs", content, sizeof(content)) < 1)
		return;
	if (!strncmp(content, "0\n", 2) || strstr(content, "\n0\n"))
		broke("there are others in its cgroup");
	if (around.cgroup && !access(around.cgroup, F_OK))
		broke("%s is shown", around.cgroup);
}

/* A hierarchy of its own making has the cgroup of its namespace for its root, whose limits are not its to change. */
static void mounted(void)
{
	become_root_inside();
	if (unshare(CLONE_NEWCGROUP) < 0 || mount("none", "/tmp", "cgroup2", 0, NULL) < 0)
		return;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strcmp(limits[i], "cgroup.subtree_control") && write_file(below("/tmp", limits[i]), "max") >= 0)
			broke("changed %s by a mount of its own", limits[i]);
}

static void state_reached(void)
{
	static const char *const members[] = { "state.json", "plan", "log", "log.1", "result.json", "start-gate" };

	if (!around.state)
		not_here("no such place");
	if (opendir(around.state))
		broke("looked into %s", around.state);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const char *path = below(around.state, members[i]);

		must_not_tell(path);
		must_not_write(path);
		must_fail(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), "made a file there");
	}
	must_fail(open(below(around.state, "result.json.new"), O_WRONLY | O_CREAT | O_EXCL, 0600), "wrote a result");
	must_fail(rename(below(around.state, "log"), below(around.state, "gone")), "moved the log away");
}

/* Whoever keeps it running, as one who attaches; whoever is told that it is ready. */
static void doors(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	static const char *const names[] = { "attach", "notify/notify.sock", "notify/socket" };

	if (!around.state)
		not_here("no such place");
	for (size_t name = 0; name < sizeof(names) / sizeof(names[0]); name++)
		for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
			struct sockaddr_un address = { .sun_family = AF_UNIX };
			int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);

			snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/%s", around.state, names[name]);
			must_fail(connect(fd, (struct sockaddr *)&address, sizeof(address)), names[name]);
			close(fd);
		}
}

const struct attack limits_attacks[] = {
	{ "limits-rewritten", ALWAYS, rewritten },
	{ "cgroup-left", ALWAYS, left },
	{ "cgroup-by-birth", ALWAYS, born },
	{ "cgroup-of-others", CGROUP, others },
	{ "limits-by-a-mount-in-a-namespace", CGROUP, mounted },
	{ "state-of-the-sandbox", ALWAYS, state_reached },
	{ "doors-of-the-keeper", ALWAYS, doors },
	{ 0 },
};
