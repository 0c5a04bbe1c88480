/* What procfs and sysfs tell and take. */
#define _GNU_SOURCE
#include "hostile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Process 1 is the program's own where the runtime stays out. */
static void need_init(void)
{
	if (!(around.promised & INIT))
		not_here("process 1 is this program's");
}

static void init_image(void)
{
	char path[64];

	need_init();
	must_not_write("/proc/1/exe");
	int image = open("/proc/1/exe", O_RDONLY | O_CLOEXEC);
	if (image < 0)
		image = open("/proc/1/exe", O_PATH | O_CLOEXEC);
	if (image < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", image);
	must_not_write(path);
}

static void init_memory(void)
{
	static const char *const files[] = { "mem", "maps", "smaps", "environ", "auxv", "syscall", "stack", "pagemap", "io",
					     "personality", "map_files", "numa_maps", "wchan_", "timers" };

	need_init();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = open(below("/proc/1", files[i]), O_RDONLY | O_CLOEXEC);
		char byte;

		if (fd >= 0 && read(fd, &byte, 1) == 1 && strcmp(files[i], "timers"))
			broke("read /proc/1/%s", files[i]);
	}
}

static void init_places(void)
{
	static const char *const places[] = { "root", "cwd", "fd/0", "fd/1", "fd/3", "ns/mnt", "ns/user", "ns/net", "ns/pid", "exe" };

	need_init();
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		must_fail(open(below("/proc/1", places[i]), O_RDONLY | O_CLOEXEC | O_NONBLOCK), below("opened", places[i]));
}

/* What a root inside may set for process 1 is its own affair: it may end it, too. */
static int own_affair(const char *name)
{
	static const char *const names[] = { "sched", "autogroup", "comm", "clear_refs", "coredump_filter", "oom_adj", "oom_score_adj", "timerslack_ns" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return 1;
	return 0;
}

/* Whatever can be written in the directory of process 1, or joined. */
static void init_settings(void)
{
	need_init();
	DIR *directory = opendir("/proc/1");
	struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		if (entry->d_type == DT_REG && !own_affair(entry->d_name))
			must_fail(write_file(below("/proc/1", entry->d_name), "1"), below("wrote /proc/1", entry->d_name));
	must_not_write("/proc/1/mem");
	must_fail(write_file("/proc/1/timerslack_ns", "60000"), "slowed process 1 down");
	for (int i = 0; i < 8; i++) {
		static const char *const kinds[] = { "mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time" };
		int fd = open(below("/proc/1/ns", kinds[i]), O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && setns(fd, 0) == 0)
			broke("joined the %s namespace of process 1", kinds[i]);
	}
	int process = (int)syscall(SYS_pidfd_open, 1, 0);
	if (process >= 0)
		must_fail(setns(process, CLONE_NEWNS), "joined the mounts of process 1");
}

static char writable[512];

static int look_at(const char *path, const struct stat *about, int kind, struct FTW *where)
{
	if (where->level > 7)
		return FTW_SKIP_SUBTREE;
	if (kind == FTW_D || kind == FTW_DNR || kind == FTW_DP) {
		const char *name = path + where->base;
		int process = where->level == 1 && (isdigit((unsigned char)*name) || !strcmp(name, "self") || !strcmp(name, "thread-self"));

		return process ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
	}
	/* What is masked is /dev/null. */
	if (kind != FTW_F || !S_ISREG(about->st_mode) || access(path, W_OK))
		return FTW_CONTINUE;
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0) {
		close(fd);
		snprintf(writable, sizeof(writable), "%s", path);
		return FTW_STOP;
	}
	return FTW_CONTINUE;
}

static void walk(const char *top)
{
	writable[0] = 0;
	nftw(top, look_at, 32, FTW_PHYS | FTW_ACTIONRETVAL);
	if (writable[0])
		broke("%s can be opened for writing", writable);
}

static void proc_written(void) { walk("/proc"); }

static void sys_written(void)
{
	if (access("/sys/class", F_OK))
		not_here("no /sys");
	walk("/sys");
}

static void known_switches(void)
{
	static const char *const files[] = { "sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hotplug",
		"sys/kernel/hostname", "sys/kernel/domainname", "sys/kernel/sysrq", "sys/kernel/ns_last_pid", "sys/kernel/randomize_va_space",
		"sys/user/max_user_namespaces", "sys/fs/binfmt_misc/register", "sys/fs/protected_symlinks", "sys/vm/drop_caches",
		"sys/vm/overcommit_memory", "sys/net/ipv4/ip_forward", "sys/net/ipv4/ping_group_range", "sysrq-trigger",
		"irq/default_smp_affinity", "timer_list", "latency_stats", "scsi/scsi", "acpi/wakeup", "mtrr", "fs/xfs/stat" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		/* /proc/sys/net belongs to whoever owns the network. */
		if (write_file(below("/proc", files[i]), "x") >= 0)
			if (strncmp(files[i], "timer_list", 10) && strcmp(files[i], "latency_stats") && strcmp(files[i], "scsi/scsi"))
				broke("wrote /proc/%s", files[i]);
}

static void memory_of_the_machine(void)
{
	static const char *const files[] = { "/proc/kcore", "/proc/kmem", "/proc/kmsg", "/proc/kpagemap", "/proc/kpageflags", "/dev/mem",
		"/dev/kmem", "/dev/port", "/dev/kmsg", "/proc/vmcore", "/sys/kernel/debug/sched", "/sys/kernel/tracing/trace",
		"/proc/slabinfo", "/sys/firmware/dmi/tables/DMI", "/proc/sched_debug", "/proc/timer_list", "/proc/keys" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char content[64];

		if (read_file(files[i], content, sizeof(content)) > 0)
			broke("read %s", files[i]);
	}
}

static void own_id_maps(void)
{
	must_fail(write_file("/proc/self/uid_map", "0 0 1\n"), "wrote uid_map");
	must_fail(write_file("/proc/self/gid_map", "0 0 1\n"), "wrote gid_map");
	/* Anybody may write projid_map; project ids can be changed in the first namespace alone. */
	must_fail(write_file("/proc/self/setgroups", "allow"), "wrote setgroups");
}

static void another_user(void)
{
	must_fail(setuid(geteuid() + 1), "became another user");
	must_fail(setgid(getegid() + 1), "became another group");
	must_fail(setgroups(0, NULL), "left its groups");
}

static void own_clock(void)
{
	must_fail(write_file("/proc/self/timens_offsets", "monotonic 100000 0\n"), "changed the offsets of the clocks");
}

static void own_oom_score(void)
{
	char now[32] = "";

	read_file("/proc/self/oom_score_adj", now, sizeof(now));
	must_fail(write_file("/proc/self/oom_score_adj", atoi(now) <= -1000 ? "-1001" : "-1000"), "made itself immortal");
}

static void own_label(void)
{
	static const char *const files[] = { "current", "exec", "fscreate", "sockcreate", "keycreate", "apparmor/exec", "smack/current" };
	char before[256] = "", after[256] = "";

	if (read_file("/proc/self/attr/current", before, sizeof(before)) < 1 || strstr(before, "unconfined"))
		not_here("no security module confines anybody here");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		const char *path = below("/proc/self/attr", files[i]);

		if (write_file(path, "unconfined") >= 0 || write_file(path, "changeprofile unconfined") >= 0)
			broke("wrote %s", path);
	}
	read_file("/proc/self/attr/current", after, sizeof(after));
	if (strcmp(before, after))
		broke("the label was %s and is %s", before, after);
}

/* Nobody else's processes: 1, whoever started us, and our own. */
static void processes(void)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;

	if (!directory)
		not_here("no /proc");
	while ((entry = readdir(directory))) {
		int pid = atoi(entry->d_name);
		char name[64] = "?";

		if (!pid || pid == 1 || pid == getpid() || pid == getppid())
			continue;
		read_file(below(below("/proc", entry->d_name), "comm"), name, sizeof(name));
		if (strncmp(name, "hostile", 7) && name[0] != '?')
			broke("process %d, %s", pid, name);
	}
}

static void cgroup_name(void)
{
	char content[4096];
	const char *path;

	if (read_file("/proc/self/cgroup", content, sizeof(content)) < 1)
		not_here("no cgroups");
	path = strstr(content, "0::");
	if (path && strncmp(path, "0::/\n", 5))
		broke("the cgroup is %s", path);
}

/* Sources of mounts are named in mountinfo; that they are is told in the documents. */
static void mount_sources(void)
{
	char line[8192];
	FILE *file = fopen("/proc/self/mountinfo", "re");

	while (file && fgets(line, sizeof(line), file)) {
		char root[4096] = "", point[4096] = "";

		if (sscanf(line, "%*d %*d %*s %4095s %4095s", root, point) == 2 && root[0] == '/' && root[1] &&
		    strncmp(root, "/null", 5) && strcmp(root, point))
			broke("%s lies outside at %s", point, root);
	}
}

/* Through a mount's number, statmount(2) tells of mounts; only those of our own namespace. */
static void mounts_of_others(void)
{
	struct {
		unsigned size, spare;
		unsigned long long mnt_id, param, mnt_ns_id;
	} request = { .size = 32 };
	unsigned long long ids[64];
	unsigned long long ours = 0;

	/* NS_GET_MNTNS_ID, as old as these numbers (Linux 6.11). */
	int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, _IOR(0xb7, 5, unsigned long long), &ours) < 0)
		not_here("mount namespaces have no numbers");
	close(fd);
	/* Counted from the start of the system on: those of the host's are the lowest. */
	for (unsigned long long id = 1; id < 600; id++) {
		request.mnt_id = 0xffffffffffffffffULL;
		request.mnt_ns_id = id;
		long got = syscall(458, &request, ids, 64, 0);
		if (got > 0 && id != ours)
			broke("listed %ld mounts of the namespace %llu", got, id);
	}
}

const struct attack proc_attacks[] = {
	{ "init-image", ALWAYS, init_image },
	{ "init-memory", ALWAYS, init_memory },
	{ "init-places", ALWAYS, init_places },
	{ "init-settings", ALWAYS, init_settings },
	{ "proc-written", POWERLESS, proc_written },
	{ "sys-written", POWERLESS, sys_written },
	{ "proc-known-switches", ALWAYS, known_switches },
	{ "memory-of-the-machine", ALWAYS, memory_of_the_machine },
	{ "id-maps", ALWAYS, own_id_maps },
	{ "another-user", POWERLESS, another_user },
	{ "clock-offsets", ALWAYS, own_clock },
	{ "oom-score", ALWAYS, own_oom_score },
	{ "security-label", ALWAYS, own_label },
	{ "processes-of-others", ALWAYS, processes },
	{ "cgroup-name", ALWAYS, cgroup_name },
	{ "mount-sources", NEVER, mount_sources },
	{ "mounts-of-others", ALWAYS, mounts_of_others },
	{ 0 },
};
