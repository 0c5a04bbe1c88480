/* The program is in the sandbox's user namespace, where it may enter the network namespace, and in a process namespace of its
 * own, whose process 1 is ours and dies with the monitor: the kernel ends all that is in there with it.  By themselves such
 * programs go into the background, change their ids, which takes a parent-death signal from them, and do not all notice that the
 * namespace which they serve is gone. */
#define _GNU_SOURCE
#include "minder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter.h"
#include "exit.h"
#include "sys.h"

static void say(int fd, enum sync_type type, const char *call, const char *subject, int error)
{
	struct sync_message message = { .type = type, .number = (uint32_t)error };

	strncpy(message.call, call, sizeof(message.call) - 1);
	strncpy(message.subject, subject, sizeof(message.subject) - 1);
	sync_send(fd, &message);
}

_Noreturn static void give_up(const struct minder *minder, const char *call, const char *subject)
{
	say(minder->fd, SYNC_FAILURE, call, subject, errno);
	_exit(EXIT_OWN_FAILURE);
}

/* --- process 1 of its namespace --------------------------------------------------------------------- */

static int lay_over(const char *directory)
{
	return mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700");
}

/* Make the directories on the way to `path`. */
static int make_way(const char *path)
{
	char part[PATH_MAX];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = 0;
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

/* Of the host's tree what the plan leaves it, and in a directory of ours a name for the network namespace: by a descriptor or
 * a process id the program could not open it, once it has given up its capabilities. */
static void name_network(const struct minder *minder, int network_fd)
{
	const char *staging = plan_text(minder->plan, minder->op->staging);
	char from[32], to[PATH_MAX];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", network_fd);
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		give_up(minder, "mount", "/");
	for (uint32_t i = 0; i < minder->op->covered.count; i++) {
		const char *covered = plan_item(minder->plan, minder->op->covered, i);

		if (lay_over(covered) < 0 && errno != ENOENT)
			give_up(minder, "mount", covered);
	}
	if (snprintf(to, sizeof(to), "%s/net", staging) >= (int)sizeof(to))
		give_up(minder, "mount", staging);
	/* It may lie below one of them. */
	if (minder->op->covered.count && make_way(to) < 0)
		give_up(minder, "mkdir", staging);
	if (lay_over(staging) < 0)
		give_up(minder, "mount", staging);
	cleanup_fd int file_fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file_fd < 0 || mount(from, to, NULL, MS_BIND, NULL) < 0)
		give_up(minder, "mount", to);
}

_Noreturn static void become_program(const struct minder *minder, int error_fd, int ready_fd)
{
	const char *path = plan_text(minder->plan, minder->op->path);
	char *const envp[] = { (char *)(uintptr_t) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	char **argv = calloc(minder->op->arguments.count + 2, sizeof(*argv));
	struct run run = { .plan = minder->plan, .sync_fd = -1 };
	const int wanted = (int)minder->op->ready_fd;
	sigset_t none;

	if (!argv || enter_keep_capabilities(&run) < 0 || dup2(error_fd, 2) < 0 || (wanted && dup2(ready_fd, wanted) < 0) ||
	    sys_close_on_exec_from(wanted ? (unsigned int)wanted + 1 : 3) < 0)
		_exit(126);
	argv[0] = (char *)(uintptr_t)path;
	for (uint32_t i = 0; i < minder->op->arguments.count; i++)
		argv[i + 1] = (char *)(uintptr_t)plan_item(minder->plan, minder->op->arguments, i);
	for (int number = 1; number <= 64; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, envp);
	dprintf(2, "%s", strerror(errno));
	_exit(127);
}

static void start_program(struct minder *minder)
{
	int error[2], ready[2] = { -1, -1 };
	sigset_t children;

	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	minder->children_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (minder->children_fd < 0 || pipe2(error, O_CLOEXEC) < 0 || (minder->op->ready_fd && pipe2(ready, O_CLOEXEC) < 0))
		give_up(minder, "pipe2", "");
	/* Out of the way of the number that it is to have. */
	if (minder->op->ready_fd && (ready[1] = fcntl(ready[1], F_DUPFD_CLOEXEC, 64)) < 0)
		give_up(minder, "F_DUPFD", "");
	minder->program = fork();
	if (minder->program < 0)
		give_up(minder, "fork", "");
	if (minder->program == 0)
		become_program(minder, error[1], ready[1]);
	close(error[1]);
	close_fd(&ready[1]);
	minder->error_fd = error[0];
	minder->ready_fd = ready[0];
}

static void is_ready(struct minder *minder)
{
	if (!minder->ready)
		say(minder->fd, SYNC_READY, "", "", 0);
	minder->ready = true;
}

/* The beginning of what it says; all of it is read. */
static void listen_to(struct minder *minder)
{
	char rest[1024];
	size_t length = strlen(minder->said), room = sizeof(minder->said) - 1 - length;
	ssize_t size = read(minder->error_fd, rest, sizeof(rest));

	if (size <= 0) {
		close_fd(&minder->error_fd);
		minder->error_fd = -1;
		return;
	}
	size_t kept = (size_t)size < room ? (size_t)size : room;
	memcpy(minder->said + length, rest, kept);
	minder->said[length + kept] = 0;
}

/* One that went into the background is ready when the process that we made has ended well; what it left is ours to reap.
 * With the last of them all is over. */
static void collect(struct minder *minder)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(minder->children_fd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != minder->program || minder->ready)
			continue;
		if (status || minder->op->ready_fd) {
			fcntl(minder->error_fd, F_SETFL, O_NONBLOCK);
			listen_to(minder);
			errno = 0;
			give_up(minder, "companion", minder->said);
		}
		is_ready(minder);
	}
	if (pid < 0 && errno == ECHILD)
		_exit(0);
}

_Noreturn static void keep(struct minder *minder, int network_fd)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char byte;

	/* All else that the monitor holds is not for us. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 ||
	    dup2(null_fd, 2) < 0 || chdir("/") < 0)
		give_up(minder, "prctl", "");
	setsid();
	name_network(minder, network_fd);
	close(network_fd);
	start_program(minder);
	for (;;) {
		struct pollfd events[] = {
			{ .fd = minder->fd, .events = POLLIN },
			{ .fd = minder->children_fd, .events = POLLIN },
			{ .fd = minder->error_fd, .events = POLLIN },
			{ .fd = minder->ready_fd, .events = POLLIN },
		};

		if (poll(events, 4, -1) < 0 && errno != EINTR)
			give_up(minder, "poll", "");
		if (events[0].revents) /* the monitor is gone */
			_exit(0);
		if (events[2].revents)
			listen_to(minder);
		if (events[3].revents) {
			if (read(minder->ready_fd, &byte, 1) == 1)
				is_ready(minder);
			close_fd(&minder->ready_fd);
			minder->ready_fd = -1;
		}
		if (events[1].revents)
			collect(minder);
	}
}

/* --- ports --------------------------------------------------------------------------------------------- */

struct claim {
	uint16_t first, last;
	uint32_t datagram;
};

/* Has somebody else this port?  What else may be wrong with it is the program's to say. */
static bool is_taken(int family, uint32_t port, bool datagram)
{
	const int yes = 1;
	const struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	const struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	const bool six = family == AF_INET6;
	cleanup_fd int fd = socket(family, (datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) < 0)
		return false;
	/* What has just been closed is no hindrance. */
	if (!datagram)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	return bind(fd, six ? (const struct sockaddr *)&any6 : (const struct sockaddr *)&any, six ? sizeof(any6) : sizeof(any)) < 0 &&
	       errno == EADDRINUSE;
}

/* pasta is content with a port that it gets of one of IPv4 and IPv6: who has the other would be taken for the sandbox. */
static void claim_ports(const struct minder *minder)
{
	const uint8_t *claims = plan_blob(minder->plan, minder->op->claimed);
	struct claim claim;

	for (uint32_t at = 0; at + sizeof(claim) <= minder->op->claimed.size; at += sizeof(claim)) {
		memcpy(&claim, claims + at, sizeof(claim));
		for (uint32_t port = claim.first; port <= claim.last; port++)
			if (is_taken(AF_INET, port, claim.datagram) || is_taken(AF_INET6, port, claim.datagram))
				give_up(minder, "companion", strerror(EADDRINUSE));
	}
}

/* --- on the way there ------------------------------------------------------------------------------- */

/* Close all but two descriptors, which get the numbers 3 and 4. */
static int keep_two(int *first, int *second)
{
	int high[] = { fcntl(*first, F_DUPFD_CLOEXEC, 16), fcntl(*second, F_DUPFD_CLOEXEC, 16) };

	if (high[0] < 0 || high[1] < 0 || dup3(high[0], 3, O_CLOEXEC) < 0 || dup3(high[1], 4, O_CLOEXEC) < 0)
		return -1;
	*first = 3;
	*second = 4;
	return sys_close_from(5);
}

_Noreturn void minder_go_between(struct minder *minder, pid_t first_process)
{
	struct sync_message forked = { .type = SYNC_FORKED };
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", first_process);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		give_up(minder, "prctl", "");
	claim_ports(minder);
	int process_fd = sys_pidfd_open(first_process);
	if (process_fd < 0 || setns(process_fd, CLONE_NEWUSER) < 0)
		give_up(minder, "setns", "");
	int network_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (network_fd < 0 && errno == ENOENT) /* it has ended, and nobody has collected it */
		errno = ESRCH;
	if (network_fd < 0)
		give_up(minder, "open", path);
	if (keep_two(&minder->fd, &network_fd) < 0)
		give_up(minder, "close_range", "");
	pid_t child = sys_clone(CLONE_NEWPID | CLONE_NEWNS, -1, true);
	if (child == 0)
		keep(minder, network_fd);
	if (child < 0)
		give_up(minder, "clone3", "");
	forked.number = (uint32_t)child;
	_exit(sync_send(minder->fd, &forked) < 0 ? EXIT_OWN_FAILURE : 0);
}
