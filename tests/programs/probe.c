/* What a contained program sees and may do, a fact a line: `name value`.
 *
 * Static, so that it runs in any root.  Used to compare runtimes, and to show that nothing is
 * reachable that ought not to be: each attempt says `refused ERRNO` or `done`. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void attempt(const char *name, long result)
{
	if (result < 0)
		printf("try.%s refused %d\n", name, errno);
	else
		printf("try.%s done\n", name);
}

static void lines_of(const char *path, const char *name, const char *only)
{
	char line[4096];
	FILE *file = fopen(path, "re");

	if (!file) {
		printf("%s absent\n", name);
		return;
	}
	while (fgets(line, sizeof(line), file))
		if (!only || !strncmp(line, only, strlen(only)))
			printf("%s %s", name, line);
	fclose(file);
}

static void status(void)
{
	static const char *const wanted[] = { "Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
					      "Seccomp:" };

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		lines_of("/proc/self/status", "status", wanted[i]);
}

/* Mount point, type, root and options, without the numbers that differ from run to run. */
static void mounts(void)
{
	char line[4096];
	FILE *file = fopen("/proc/self/mountinfo", "re");

	while (file && fgets(line, sizeof(line), file)) {
		char root[1024], point[1024], options[1024], type[64] = "";
		const char *rest = strstr(line, " - ");

		if (sscanf(line, "%*d %*d %*s %1023s %1023s %1023s", root, point, options) == 3 && rest) {
			sscanf(rest, " - %63s", type);
			printf("mount %s %s %s %s\n", point, type, root, options);
		}
	}
	if (file)
		fclose(file);
}

static void limits(void)
{
	for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
		struct rlimit limit;

		if (!getrlimit((__rlimit_resource_t)resource, &limit))
			printf("rlimit %d %llu %llu\n", resource, (unsigned long long)limit.rlim_cur,
			       (unsigned long long)limit.rlim_max);
	}
}

static void directory(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char full[4096], link[1024] = "";
		struct stat about;

		snprintf(full, sizeof(full), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] == '.' || lstat(full, &about))
			continue;
		if (readlink(full, link, sizeof(link) - 1) < 0)
			link[0] = 0;
		printf("entry %s %o %lx %s\n", full, about.st_mode & S_IFMT, (unsigned long)about.st_rdev, link);
	}
}

static void machine(void)
{
	struct utsname names;
	char where[4096];

	uname(&names);
	printf("hostname %s\ndomainname %s\n", names.nodename, names.domainname);
	printf("cwd %s\n", getcwd(where, sizeof(where)) ? where : "unreachable");
	mode_t mask = umask(0);
	umask(mask);
	printf("umask %04o\nnice %d\n", mask, getpriority(PRIO_PROCESS, 0));
	lines_of("/proc/self/oom_score_adj", "oom_score_adj", NULL);
	lines_of("/proc/net/dev", "net", NULL);
	for (int fd = 0; fd < 256; fd++)
		if (fd > 2 && fcntl(fd, F_GETFD) >= 0)
			printf("descriptor %d\n", fd);
}

static long write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	long result = write(fd, text, strlen(text));
	close(fd);
	return result;
}

static long in_child(int (*function)(void))
{
	int result;
	pid_t child = fork();

	if (child == 0)
		_exit(function() < 0 ? errno : 0);
	waitpid(child, &result, 0);
	errno = WIFEXITED(result) ? WEXITSTATUS(result) : 255;
	return errno ? -1 : 0;
}

static int new_user_namespace(void) { return unshare(CLONE_NEWUSER); }
static int new_mount_namespace(void) { return unshare(CLONE_NEWNS); }
static int by_clone(void)
{
	pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (child == 0)
		_exit(0);
	return child;
}
static int by_clone3(void)
{
	unsigned long long args[11] = { CLONE_NEWUSER, 0, 0, 0, SIGCHLD };
	pid_t child = (pid_t)syscall(SYS_clone3, args, sizeof(args));

	if (child == 0)
		_exit(0);
	return child;
}
static int become_root(void) { return setuid(0); }
static int drop_groups(void) { return setgroups(0, NULL); }
static int new_root(void) { return chroot("/"); }
static int trace_init(void) { return (int)ptrace(PTRACE_ATTACH, 1, 0, 0); }

static long abstract_socket(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path + 1, name, sizeof(address.sun_path) - 2);
	long result = connect(fd, (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + 1 + strlen(name)));
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

static long internet(const char *host, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, host, &address.sin_addr);
	long result = connect(fd, (struct sockaddr *)&address, sizeof(address));
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

static void attempts(int argc, char *argv[])
{
	attempt("unshare-user", in_child(new_user_namespace));
	attempt("unshare-mount", in_child(new_mount_namespace));
	attempt("clone-user", in_child(by_clone));
	attempt("clone3-user", in_child(by_clone3));
	attempt("setuid-0", in_child(become_root));
	attempt("setgroups", in_child(drop_groups));
	attempt("chroot", in_child(new_root));
	attempt("mount-tmpfs", mount("none", "/tmp", "tmpfs", 0, NULL));
	attempt("remount-rw", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	attempt("umount-proc", umount2("/proc", MNT_DETACH));
	attempt("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
	attempt("mknod", mknod("/tmp/probe-device", S_IFCHR | 0600, 0x801));
	if (getpid() != 1) { /* else it would be we ourselves */
		attempt("ptrace-1", in_child(trace_init));
		attempt("open-1-exe", open("/proc/1/exe", O_RDWR | O_CLOEXEC));
		attempt("open-1-mem", open("/proc/1/mem", O_RDWR | O_CLOEXEC));
		attempt("open-1-root", open("/proc/1/root/etc", O_RDONLY | O_CLOEXEC));
		attempt("open-1-fd", open("/proc/1/fd", O_RDONLY | O_CLOEXEC));
		attempt("kill-1", kill(1, SIGKILL));
	}
	attempt("write-sysrq", write_file("/proc/sysrq-trigger", "h"));
	attempt("write-core_pattern", write_file("/proc/sys/kernel/core_pattern", "|/tmp/x"));
	attempt("write-hostname", write_file("/proc/sys/kernel/hostname", "x"));
	attempt("write-userns", write_file("/proc/sys/user/max_user_namespaces", "100"));
	attempt("write-uid_map", write_file("/proc/self/uid_map", "0 0 1"));
	attempt("write-cgroup", write_file("/sys/fs/cgroup/cgroup.procs", "0"));
	attempt("write-usr", open("/usr/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	attempt("write-etc", open("/etc/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	attempt("write-root", open("/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	attempt("write-dev", open("/dev/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	attempt("sethostname", sethostname("x", 1));
	attempt("io_uring", syscall(SYS_io_uring_setup, 4, NULL));
	attempt("bpf", syscall(SYS_bpf, 0, NULL, 0));
	attempt("keyctl", syscall(SYS_keyctl, 0, -3, 0));
	attempt("add_key", syscall(SYS_add_key, "user", "probe", "x", 1, -3));
	attempt("userfaultfd", syscall(SYS_userfaultfd, 1));
	attempt("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	attempt("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	attempt("socket-vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	attempt("socket-packet", socket(AF_PACKET, SOCK_RAW, 0));
	attempt("tiocsti", ioctl(0, 0x5412UL | 1UL << 40, "x"));
	attempt("loopback", internet("127.0.0.1", 1));
	for (int i = 1; i < argc; i++) {
		char name[4096];

		if (argv[i][0] == '@') {
			snprintf(name, sizeof(name), "abstract-%s", argv[i] + 1);
			attempt(name, abstract_socket(argv[i] + 1));
		} else if (argv[i][0] == ':') {
			snprintf(name, sizeof(name), "port-%s", argv[i] + 1);
			attempt(name, internet("127.0.0.1", atoi(argv[i] + 1)));
		} else {
			snprintf(name, sizeof(name), "open-%s", argv[i]);
			attempt(name, open(argv[i], O_RDONLY | O_CLOEXEC));
		}
	}
}

/* argv: paths to open, `@NAME` abstract sockets and `:PORT` loopback ports of the host to connect to. */
int main(int argc, char *argv[])
{
	status();
	mounts();
	limits();
	directory("/");
	directory("/dev");
	machine();
	for (char **variable = environ; *variable; variable++)
		printf("env %s\n", *variable);
	attempts(argc, argv);
	return 0;
}
