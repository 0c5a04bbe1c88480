/* What a container's first process finds, a fact a line: `name value`.  Compares OCI runtimes.
 *
 * Static, needs nothing of the root file system and writes to standard output alone, so that two
 * runtimes that do the same print the same.  What differs from run to run is left out (numbers of
 * mounts, inodes of pipes), or printed for the reader to fold (namespaces).
 *
 * argv: more to look at, see `look`; `hook NAME FILE` makes it a hook that writes down what it finds,
 * `fail` a hook that fails, `nap` a command that says nothing, and not at once. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

static void lines_of(const char *path, const char *name)
{
	char line[4096];
	FILE *file = fopen(path, "re");

	if (!file) {
		printf("%s unreadable %d\n", name, errno);
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		printf("%s %s\n", name, line);
	}
	fclose(file);
}

static void status(void)
{
	static const char *const wanted[] = { "Umask",	"Uid",	  "Gid",    "Groups", "CapInh",	    "CapPrm",
					      "CapEff", "CapBnd", "CapAmb", "Threads", "NoNewPrivs", "Seccomp:",
					      "SigBlk", "SigIgn", "SigCgt", "NSpid" };
	char line[4096];
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file))
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i]))) {
				line[strcspn(line, ":")] = ' ';
				line[strcspn(line, "\n")] = 0;
				printf("status.%s\n", line);
			}
	if (file)
		fclose(file);
	printf("uid %u %u gid %u %u\n", getuid(), geteuid(), getgid(), getegid());
}

/* Point, type, source, root, options, propagation without the groups' numbers, options of the file system. */
static void mounts(void)
{
	char line[4096];
	FILE *file = fopen("/proc/self/mountinfo", "re");

	while (file && fgets(line, sizeof(line), file)) {
		char *field[32] = { NULL }, *rest = line, propagation[64] = "";
		int count = 0, dash = 0;

		line[strcspn(line, "\n")] = 0;
		while (count < 31 && (field[count] = strsep(&rest, " ")))
			count++;
		for (dash = 6; dash < count && strcmp(field[dash], "-"); dash++) {
			field[dash][strcspn(field[dash], ":")] = 0;
			strcat(strcat(propagation, field[dash]), ",");
		}
		if (dash + 3 < count)
			printf("mount %s type=%s source=%s root=%s %s propagation=%s %s\n", field[4], field[dash + 1],
			       *field[dash + 2] ? field[dash + 2] : "''", field[3], field[5], *propagation ? propagation : "private",
			       field[dash + 3]);
	}
	if (file)
		fclose(file);
}

static void limits(void)
{
	for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
		struct rlimit limit;

		if (!getrlimit((__rlimit_resource_t)resource, &limit))
			printf("rlimit %d %lld %lld\n", resource, (long long)limit.rlim_cur, (long long)limit.rlim_max);
	}
}

static void entry(const char *path)
{
	static char link[4096];
	struct stat about;

	if (lstat(path, &about)) {
		printf("entry %s absent %d\n", path, errno);
		return;
	}
	ssize_t length = readlink(path, link, sizeof(link) - 1);
	link[length < 0 ? 0 : length] = 0;
	printf("entry %s mode=%o owner=%u:%u device=%lx size=%lld%s%s\n", path, about.st_mode, about.st_uid, about.st_gid,
	       (unsigned long)about.st_rdev, S_ISREG(about.st_mode) ? (long long)about.st_size : 0, *link ? " -> " : "", link);
}

static void directory(const char *path)
{
	struct dirent **entries;
	char full[4096];
	int count = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++)
		if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, "..")) {
			snprintf(full, sizeof(full), "%s/%s", strcmp(path, "/") ? path : "", entries[i]->d_name);
			entry(full);
		}
}

/* Whether anything is to be had at a path, and whether its file system is read-only. */
static void view(const char *path)
{
	struct stat about;
	struct statvfs system;
	char buffer[16];

	if (stat(path, &about) || statvfs(path, &system)) {
		printf("view %s absent %d\n", path, errno);
		return;
	}
	const char *what = "other", *content = "some";
	int error = 0;
	if (S_ISDIR(about.st_mode)) {
		DIR *dir = opendir(path);
		int count = 0;

		what = "directory";
		error = dir ? 0 : errno;
		while (dir && readdir(dir))
			count++;
		content = count > 2 ? "some" : "none";
		if (dir)
			closedir(dir);
	} else if (S_ISREG(about.st_mode) || S_ISCHR(about.st_mode)) {
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		ssize_t count = fd < 0 ? -1 : read(fd, buffer, sizeof(buffer));

		what = S_ISREG(about.st_mode) ? "file" : "device";
		error = count < 0 ? errno : 0;
		content = count > 0 ? "some" : "none";
		close(fd);
	}
	printf("view %s %s %s error=%d %s%s%s%s\n", path, what, content, error, system.f_flag & ST_RDONLY ? "ro" : "rw",
	       system.f_flag & ST_NOSUID ? ",nosuid" : "", system.f_flag & ST_NODEV ? ",nodev" : "",
	       system.f_flag & ST_NOEXEC ? ",noexec" : "");
}

static void namespaces(void)
{
	static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time",
					     "time_for_children", "user", "uts" };
	char path[64], link[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		ssize_t length = readlink(path, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = 0;
		printf("namespace %s %s\n", names[i], link);
	}
}

static void descriptors(void)
{
	for (int fd = 0; fd < 256; fd++) {
		char path[64], link[4096];
		struct stat about;
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t length = readlink(path, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = 0;
		fstat(fd, &about);
		if (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode))
			link[strcspn(link, ":")] = 0;
		printf("descriptor %d %s mode=%o owner=%u:%u%s\n", fd, link, about.st_mode & S_IFMT, about.st_uid, about.st_gid,
		       flags & FD_CLOEXEC ? " cloexec" : "");
	}
}

static void terminal(void)
{
	for (int fd = 0; fd < 3; fd++) {
		struct termios modes;
		struct winsize size;

		if (!isatty(fd))
			continue;
		ioctl(fd, TIOCGWINSZ, &size);
		tcgetattr(fd, &modes);
		printf("terminal %d %s iflag=%o oflag=%o cflag=%o lflag=%o rows=%d columns=%d\n", fd, ttyname(fd) ? ttyname(fd) : "?",
		       modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag, size.ws_row, size.ws_col);
		printf("terminal %d foreground=%d session=%d\n", fd, tcgetpgrp(fd) == getpgrp(), tcgetsid(fd) == getsid(0));
	}
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	printf("controlling-terminal %d\n", fd < 0 ? errno : 0);
	close(fd);
}

static void process(void)
{
	char text[4096];
	struct sched_param priority = { 0 };
	cpu_set_t processors;
	int signal = 0, mode = 0;

	printf("pid %s\n", getpid() == 1 ? "1" : "other");
	printf("session %s group %s\n", getsid(0) == getpid() ? "own" : "other", getpgrp() == getpid() ? "own" : "other");
	printf("cwd %s\n", getcwd(text, sizeof(text)) ? text : "unreachable");
	printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
	int policy = sched_getscheduler(0);
	sched_getparam(0, &priority);
	sched_getaffinity(0, sizeof(processors), &processors);
	printf("scheduler %d %d processors %d\n", policy, priority.sched_priority, CPU_COUNT(&processors));
	printf("ioprio %ld\n", syscall(SYS_ioprio_get, 1, 0));
	printf("personality %x\n", personality(0xffffffff));
	prctl(PR_GET_PDEATHSIG, &signal);
	printf("pdeathsig %d dumpable %d keepcaps %d securebits %d timerslack %d\n", signal, prctl(PR_GET_DUMPABLE),
	       prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS), prctl(PR_GET_TIMERSLACK));
	signal = 0;
	prctl(PR_GET_CHILD_SUBREAPER, &signal);
	printf("subreaper %d\n", signal);
	syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0);
	printf("mempolicy %d\n", mode);
	lines_of("/proc/self/oom_score_adj", "oom_score_adj");
	lines_of("/proc/self/comm", "comm");
	/* keyctl(2): describe the session keyring, without making one. */
	long length = syscall(SYS_keyctl, 6, -3, text, sizeof(text) - 1);
	text[length < 0 ? 0 : length] = 0;
	printf("keyring %s %d\n", text, length < 0 ? errno : 0);
}

static void machine(void)
{
	struct utsname names;
	char line[4096];
	FILE *file;

	uname(&names);
	printf("hostname %s\ndomainname %s\nmachine %s\n", names.nodename, names.domainname, names.machine);
	lines_of("/proc/self/uid_map", "uid_map");
	lines_of("/proc/self/gid_map", "gid_map");
	lines_of("/proc/self/setgroups", "setgroups");
	lines_of("/proc/self/timens_offsets", "timens_offsets");
	file = fopen("/proc/self/cgroup", "re");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "0::", 3))
			printf("cgroup %s", line + 3);
	if (file)
		fclose(file);
	file = fopen("/proc/net/dev", "re");
	while (file && fgets(line, sizeof(line), file))
		if (strchr(line, ':')) {
			line[strcspn(line, ":")] = 0;
			printf("net %s\n", line + strspn(line, " "));
		}
	if (file)
		fclose(file);
}

/* A system call in a process of its own: its result, its error or the signal that it died of.
 * `text` is NUMBER[:ARGUMENT…]; an argument that is no number is passed as text. */
static void call(const char *text)
{
	char copy[256], *rest = copy, *word;
	long argument[6] = { 0 };
	int count = 0, result, channel[2];

	snprintf(copy, sizeof(copy), "%s", text);
	long number = atol(strsep(&rest, ":"));
	while (count < 6 && (word = strsep(&rest, ":"))) {
		char *end;

		argument[count] = strtol(word, &end, 0);
		if (*end)
			argument[count] = (long)word;
		count++;
	}
	fflush(stdout);
	if (pipe2(channel, O_CLOEXEC))
		return;
	pid_t child = fork();
	if (child == 0) {
		long answer = syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);

		answer = answer < 0 ? errno : 0;
		_exit(write(channel[1], &answer, sizeof(answer)) < 0);
	}
	close(channel[1]);
	long answer = 0;
	ssize_t got = read(channel[0], &answer, sizeof(answer));
	close(channel[0]);
	waitpid(child, &result, 0);
	if (got == sizeof(answer))
		printf("call %s error %ld\n", text, answer);
	else
		printf("call %s signal %d\n", text, WIFSIGNALED(result) ? WTERMSIG(result) : 0);
}

/* `read:FILE`, `view:PATH`, `entry:PATH`, `list:DIRECTORY`, `write:FILE`, `call:NUMBER[:ARGUMENT…]`, `exit:STATUS`,
 * `signal:NUMBER` (to itself), `wait:` (for ever). */
static void look(char *what)
{
	char *value = strchr(what, ':');

	if (!value)
		return;
	*value++ = 0;
	if (!strcmp(what, "read")) {
		char name[4200];

		snprintf(name, sizeof(name), "read %s", value);
		lines_of(value, name);
	} else if (!strcmp(what, "view")) {
		view(value);
	} else if (!strcmp(what, "entry")) {
		entry(value);
	} else if (!strcmp(what, "list")) {
		directory(value);
	} else if (!strcmp(what, "write")) {
		int fd = open(value, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

		printf("write %s %d\n", value, fd < 0 ? errno : 0);
		close(fd);
	} else if (!strcmp(what, "call")) {
		call(value);
	} else if (!strcmp(what, "exit")) {
		exit(atoi(value));
	} else if (!strcmp(what, "signal")) {
		fflush(stdout);
		kill(getpid(), atoi(value));
	} else if (!strcmp(what, "wait")) {
		fflush(stdout);
		pause();
	}
}

/* In the order of the calls, one append each: the hooks of one container share the file. */
static int hook(const char *name, const char *path)
{
	char input[8192] = "", where[4096];
	size_t length = fread(input, 1, sizeof(input) - 1, stdin);

	input[length] = 0;
	if (!freopen(path, "ae", stdout))
		return 70;
	printf("hook %s stdin %s\n", name, input);
	printf("hook %s cwd %s\n", name, getcwd(where, sizeof(where)) ? where : "unreachable");
	for (char **variable = environ; *variable; variable++)
		printf("hook %s env %s\n", name, *variable);
	for (int fd = 3; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0 && fd != fileno(stdout))
			printf("hook %s descriptor\n", name);
	static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "user", "uts" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char link[64];

		snprintf(where, sizeof(where), "/proc/self/ns/%s", names[i]);
		ssize_t count = readlink(where, link, sizeof(link) - 1);
		link[count < 0 ? 0 : count] = 0;
		printf("hook %s namespace %s %s\n", name, names[i], link);
	}
	/* What the runtime has done by now: the new root stands or not, the pid file is there or not. */
	printf("hook %s pid-file %d root %d\n", name, access("pid", F_OK), access("/oci_probe", F_OK));
	return 0;
}

int main(int argc, char *argv[])
{
	if (argc == 4 && !strcmp(argv[1], "hook"))
		return hook(argv[2], argv[3]);
	if (argc == 2 && !strcmp(argv[1], "fail"))
		return fputs("this hook fails\n", stderr) < 0 ? 4 : 3;
	if (argc == 2 && !strcmp(argv[1], "nap"))
		return usleep(300000);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	descriptors();
	status();
	process();
	machine();
	namespaces();
	terminal();
	limits();
	mounts();
	directory("/");
	directory("/dev");
	for (int i = 0; i < argc; i++)
		printf("argument %s\n", argv[i]);
	for (char **variable = environ; *variable; variable++)
		printf("env %s\n", *variable);
	for (int i = 1; i < argc; i++)
		look(argv[i]);
	return 0;
}
