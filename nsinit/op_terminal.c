/* The terminal of the sandbox's own, and the standard streams. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

/* As the caller's is, where there is one; else of the size that the plan gives. */
static int set_modes(struct run *run, int master_fd)
{
	const struct plan_terminal *op = (const struct plan_terminal *)plan_find(run->plan, OP_TERMINAL);
	struct termios modes = run->hello.terminal;
	struct winsize window = run->hello.window;

	if (!run->hello.flag) {
		if (tcgetattr(run->slave_fd, &modes) < 0)
			return refuse(run, "tcgetattr", "/dev/pts/ptmx");
		window = (struct winsize){
			.ws_row = op ? (unsigned short)op->rows : 0, .ws_col = op ? (unsigned short)op->columns : 0,
		};
	}
	/* Whoever is given the master has the terminal as it comes, as from runc. */
	if (op && !op->newlines && !(run->hello.options & SYNC_OUTLIVES))
		modes.c_oflag &= ~(tcflag_t)ONLCR;
	if (tcsetattr(run->slave_fd, TCSANOW, &modes) < 0)
		return refuse(run, "tcsetattr", "/dev/pts/ptmx");
	if ((window.ws_row || window.ws_col) && ioctl(master_fd, TIOCSWINSZ, &window) < 0)
		return refuse(run, "TIOCSWINSZ", "/dev/pts/ptmx");
	return 0;
}

int op_open_terminal(struct run *run, const struct plan_open_terminal *op)
{
	struct sync_message message = { .type = SYNC_TERMINAL };
	struct stat status;
	int unlocked = 0;

	(void)op;
	if (!run->hello.number)
		return 0;
	cleanup_fd int master_fd = open_below(run, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
	if (master_fd < 0 || fstat(master_fd, &status) < 0)
		return refuse(run, "openat2", "/dev/pts/ptmx");
	if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(5, 2))
		return refuse_with(run, ENODEV, "fstat", "/dev/pts/ptmx");
	if (ioctl(master_fd, TIOCSPTLCK, &unlocked) < 0)
		return refuse(run, "TIOCSPTLCK", "/dev/pts/ptmx");
	/* By the master, not by the name: the slave of this very instance. */
	run->slave_fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (run->slave_fd < 0)
		return refuse(run, "TIOCGPTPEER", "/dev/pts/ptmx");
	if (set_modes(run, master_fd) < 0)
		return -1;
	if (sync_send_fd(run->sync_fd, &message, master_fd) < 0)
		return refuse(run, "sendmsg", "terminal");
	return 0;
}

int op_new_session(struct run *run, const struct plan_new_session *op)
{
	(void)op;
	if (setsid() < 0)
		return refuse(run, "setsid", "");
	if (run->slave_fd < 0)
		return 0;
	/* Where nobody types into it, a password prompt must fail rather than wait: then it is no controlling terminal. */
	if (run->hello.number & 1 && ioctl(run->slave_fd, TIOCSCTTY, 0) < 0)
		return refuse(run, "TIOCSCTTY", "");
	for (int fd = 0; fd < 3; fd++)
		if (run->hello.number >> fd & 1 && dup2(run->slave_fd, fd) < 0)
			return refuse(run, "dup2", "");
	return 0;
}

/* To have a stream is not to be able to open it again, by /dev/stdout: that is its owner's.  The group stays, which may
 * be one that the mount prefers; so does what may not be changed: a file of an owner whom nobody here is, a read-only
 * file system, an owner without an id here (as runc's fixStdioPermissions). */
static int own_stream(struct run *run, int fd, uid_t uid)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return refuse(run, "fstat", "");
	if (status.st_uid == uid || (S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3)))
		return 0;
	if (fchown(fd, uid, (gid_t)-1) < 0 && errno != EINVAL && errno != EPERM && errno != EROFS)
		return refuse(run, "fchown", "");
	return 0;
}

int op_own_streams(struct run *run, const struct plan_own_streams *op)
{
	for (int fd = 0; fd < 3; fd++)
		/* Those that become the terminal go to nobody. */
		if (!(run->slave_fd >= 0 && run->hello.number >> fd & 1) && own_stream(run, fd, op->uid) < 0)
			return -1;
	return run->slave_fd < 0 ? 0 : own_stream(run, run->slave_fd, op->uid);
}
