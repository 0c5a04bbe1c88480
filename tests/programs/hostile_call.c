/* System calls that are not to reach the kernel, by whatever door. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HIGH (1L << 40) /* what the kernel does not look at, and a careless filter does */

static void refused(const char *name, long number, long a, long b, long c, long d, long e)
{
	errno = 0;
	long result = syscall(number, a, b, c, d, e, 0L);
	if (result >= 0 || (errno != EPERM && errno != ENOSYS && errno != EACCES))
		broke("%s reached the kernel: %s", name, result < 0 ? strerror(errno) : "done");
}

/* The filter's word is looked for: arguments are such that the kernel would have another. */
#define CALL(function, name, ...) \
	static void function(void) { refused(name, __VA_ARGS__); }
CALL(ring, "io_uring_setup", SYS_io_uring_setup, 4, 0, 0, 0, 0)
CALL(ring_enter, "io_uring_enter", SYS_io_uring_enter, -1, 0, 0, 0, 0)
CALL(ring_register, "io_uring_register", SYS_io_uring_register, -1, 0, 0, 0, 0)
CALL(programs, "bpf", SYS_bpf, 9999, 0, 0, 0, 0)
CALL(faults, "userfaultfd", SYS_userfaultfd, 1, 0, 0, 0, 0)
CALL(counters, "perf_event_open", SYS_perf_event_open, 0, 0, -1, -1, 0)
CALL(keys, "keyctl", SYS_keyctl, 9999, 0, 0, 0, 0)
CALL(new_key, "add_key", SYS_add_key, 0, 0, 0, 0, 0)
CALL(request, "request_key", SYS_request_key, 0, 0, 0, 0, 0)
CALL(by_handle, "open_by_handle_at", SYS_open_by_handle_at, -1, 0, 0, 0, 0)
CALL(notify, "fanotify_init", SYS_fanotify_init, 0xffffffffL, 0, 0, 0, 0)
CALL(quotas, "quotactl", SYS_quotactl, 0x80000700L, 0, 0, 0, 0)
CALL(quotas_fd, "quotactl_fd", SYS_quotactl_fd, -1, 0, 0, 0, 0)
CALL(old_segments, "modify_ldt", SYS_modify_ldt, 0, 0, 0, 0, 0)
CALL(new_clone, "clone3", SYS_clone3, 0, 0, 0, 0, 0)
CALL(kernel_log, "syslog", SYS_syslog, 10, 0, 0, 0, 0)
CALL(label, "lsm_set_self_attr", 460, 0, 0, 0, 0, 0)

/* The kernel itself refuses these to whoever has no right over the machine. */
static void machine(void)
{
	static const struct { const char *name; long number, a, b, c; } calls[] = {
		{ "kexec_load", SYS_kexec_load, 0, 0, 0 }, { "kexec_file_load", SYS_kexec_file_load, -1, -1, 0 },
		{ "init_module", SYS_init_module, 0, 0, 0 }, { "finit_module", SYS_finit_module, -1, 0, 0 },
		{ "delete_module", SYS_delete_module, 0, 0, 0 }, { "swapon", SYS_swapon, 0, 0, 0 }, { "swapoff", SYS_swapoff, 0, 0, 0 },
		{ "acct", SYS_acct, 0, 0, 0 }, { "settimeofday", SYS_settimeofday, 0, 0, 0 },
#ifdef __x86_64__
		{ "iopl", SYS_iopl, 3, 0, 0 }, { "ioperm", SYS_ioperm, 0x80, 1, 1 },
#endif
		{ "vhangup", SYS_vhangup, 0, 0, 0 }, { "sethostname", SYS_sethostname, (long)"x", 1, 0 },
		{ "setdomainname", SYS_setdomainname, (long)"x", 1, 0 }, { "reboot", SYS_reboot, 0, 0, 0 } };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (syscall(calls[i].number, calls[i].a, calls[i].b, calls[i].c) >= 0)
			broke("%s", calls[i].name);
}

static void clocks(void)
{
	struct timespec now;

	/* The time that it is: who may set it does no harm. */
	clock_gettime(CLOCK_REALTIME, &now);
	must_fail(clock_settime(CLOCK_REALTIME, &now), "set the clock");
	struct { unsigned modes; char rest[256]; } change = { .modes = 1 };
	must_fail(syscall(SYS_adjtimex, &change), "turned the clock");
}

static void families(void)
{
	static const struct { const char *name; int number; } kinds[] = { { "packet", 17 }, { "vsock", 40 }, { "alg", 38 },
		{ "bluetooth", 31 }, { "can", 29 }, { "xdp", 44 }, { "tipc", 30 }, { "rds", 21 }, { "key", 15 }, { "nfc", 39 }, { "smc", 43 },
		{ "qipcrtr", 42 }, { "kcm", 41 }, { "ppp", 24 }, { "ax25", 3 }, { "x25", 9 }, { "rxrpc", 33 }, { "mctp", 45 } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type++)
			for (int high = 0; high < 2; high++) {
				long family = kinds[i].number | (high ? HIGH : 0);

				if (syscall(SYS_socket, family, type, 0) >= 0 || syscall(SYS_socket, family, type | SOCK_NONBLOCK, 0) >= 0)
					broke("a socket of the family %s", kinds[i].name);
				if (errno != EAFNOSUPPORT && errno != EPERM && errno != ENOSYS && errno != EINVAL)
					broke("the family %s was looked for: %s", kinds[i].name, strerror(errno));
			}
}

static void raw_sockets(void)
{
	must_fail(socket(AF_INET, SOCK_RAW, 1), "a raw socket");
	must_fail(socket(AF_INET6, SOCK_RAW, 58), "a raw socket");
	must_fail(socket(AF_PACKET, SOCK_RAW, 0), "a packet socket");
}

/* On a file that is no terminal the kernel says ENOTTY: whatever else is said, the filter said. */
static void typed(void)
{
	static const unsigned long requests[] = { 0x5412, 0x541C };
	int files[] = { 0, 1, 2, open("/dev/tty", O_RDWR | O_CLOEXEC), open("/dev/null", O_RDWR | O_CLOEXEC) };

	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < sizeof(files) / sizeof(files[0]); j++)
			for (int shift = 31; shift < 64; shift++) {
				long asked = (long)(requests[i] | (shift > 31 ? 1UL << shift : 0));

				if (syscall(SYS_ioctl, files[j], asked, "x") >= 0 || (errno != EPERM && errno != EBADF))
					broke("ioctl %lx: %s", asked, strerror(errno));
			}
}

/* --- namespaces --- */

static const long kinds[] = { CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP,
			      0x80, CLONE_NEWUSER | CLONE_NEWNS };

static void by_unshare(void)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		must_fail(syscall(SYS_unshare, kinds[i]), "unshare");
		must_fail(syscall(SYS_unshare, kinds[i] | HIGH), "unshare with high bits");
	}
}

static void by_clone(void)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (int high = 0; high < 2; high++) {
			if (kinds[i] == 0x80) /* in clone it is a part of the signal's number */
				continue;
			long child = syscall(SYS_clone, kinds[i] | SIGCHLD | (high ? HIGH : 0), 0, 0, 0, 0);

			if (!child)
				_exit(0);
			must_fail(child, "clone");
		}
}

static void by_clone3(void)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		unsigned long long arguments[11] = { (unsigned long long)kinds[i], 0, 0, 0, SIGCHLD };
		long child = syscall(SYS_clone3, arguments, sizeof(arguments));

		if (!child)
			_exit(0);
		must_fail(child, "clone3");
	}
}

/* Flags in memory that change after a filter could have looked at them. */
static volatile unsigned long long changing[11] = { 0, 0, 0, 0, SIGCHLD };

static int change(void *nothing)
{
	(void)nothing;
	for (;;)
		changing[0] = changing[0] ? 0 : CLONE_NEWUSER;
	return 0;
}

static void by_change(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t writer = clone(change, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
	int gained = 0;

	if (writer < 0)
		not_here("no thread: %s", strerror(errno));
	for (int i = 0; i < 500 && !gained; i++) {
		char map[64];
		int status = 0;
		pid_t child = (pid_t)syscall(SYS_clone3, changing, sizeof(changing));

		/* In a new user namespace nothing is mapped. */
		if (!child)
			_exit(read_file("/proc/self/uid_map", map, sizeof(map)) == 0);
		gained = child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status);
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	if (gained)
		broke("a namespace by flags that changed");
}

static void by_setns(void)
{
	static const char *const files[] = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time", "pid_for_children" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = open(below("/proc/self/ns", files[i]), O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		/* NS_GET_USERNS, NS_GET_PARENT: what is above cannot be had either. */
		int user = ioctl(fd, 0xb701), parent = ioctl(fd, 0xb702);
		must_fail(setns(fd, 0), files[i]);
		if (parent >= 0)
			broke("the namespace above ours, %s", files[i]);
		if (user >= 0)
			must_fail(setns(user, 0), "setns");
	}
}

/* --- other doors to the kernel --- */

#ifdef __x86_64__
static void old_door(void)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	if (result > 0)
		broke("getpid by int 0x80");
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(54L), "b"(0L), "c"(0x5412L), "d"(0L) : "memory", "r8", "r9", "r10", "r11");
	if (result != -ENOSYS)
		broke("ioctl by int 0x80");
}

static void narrow_door(void)
{
	if (syscall(0x40000000L + SYS_getpid) > 0)
		broke("getpid by x32");
	if (syscall(0x40000000L + 514, 0, 0x5412, 0) >= 0 || errno != ENOSYS)
		broke("ioctl by x32: %s", strerror(errno));
}
#else
static void old_door(void) { not_here("written for x86-64"); }
static void narrow_door(void) { not_here("written for x86-64"); }
#endif

static void weakened(void)
{
	/* READ_IMPLIES_EXEC, MMAP_PAGE_ZERO, and one with a high bit */
	refused("personality", SYS_personality, 0x0400000, 0, 0, 0, 0);
	refused("personality", SYS_personality, 0x0100000, 0, 0, 0, 0);
	refused("personality", SYS_personality, 0x0400000 | HIGH, 0, 0, 0, 0);
}

const struct attack call_attacks[] = {
	{ "call-io_uring_setup", FILTER, ring }, { "call-io_uring_enter", FILTER, ring_enter },
	{ "call-io_uring_register", FILTER, ring_register }, { "call-bpf", FILTER, programs }, { "call-userfaultfd", FILTER, faults },
	{ "call-perf_event_open", FILTER, counters }, { "call-keyctl", FILTER, keys }, { "call-add_key", FILTER, new_key },
	{ "call-request_key", FILTER, request }, { "call-open_by_handle_at", FILTER, by_handle }, { "call-fanotify_init", FILTER, notify },
	{ "call-quotactl", FILTER, quotas }, { "call-quotactl_fd", FILTER, quotas_fd }, { "call-modify_ldt", FILTER, old_segments },
	{ "call-clone3", NESTED, new_clone }, { "call-syslog", FILTER, kernel_log }, { "call-lsm_set_self_attr", FILTER, label },
	{ "calls-of-the-machine", ALWAYS, machine }, { "clock", ALWAYS, clocks }, { "sockets-of-rare-families", FILTER, families },
	{ "sockets-raw", POWERLESS, raw_sockets }, { "typed-into-the-terminal", FILTER, typed }, { "namespaces-by-unshare", NESTED, by_unshare },
	{ "namespaces-by-clone", NESTED, by_clone }, { "namespaces-by-clone3", NESTED, by_clone3 }, { "namespaces-by-setns", ALWAYS, by_setns },
	{ "namespaces-by-flags-that-change", NESTED, by_change },
	{ "call-by-int-0x80", FILTER, old_door }, { "call-by-x32", FILTER, narrow_door }, { "personality", FILTER, weakened },
	{ 0 },
};
