/* `sandbox run --detach`: the launcher forks, the child becomes the sandbox's monitor, and the parent ends when the command
 * runs, or tells why it does not.
 *
 * A keeper has nothing of its caller's: no terminal, stream, directory or descriptor. */
#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "exit.h"
#include "monitor.h"
#include "python.h"
#include "sandbox.h"
#include "sys.h"

#define RESULT_ROOM 16384 /* for what is in a result beside the plan's record of it */
#define SAMPLE_ROOM 128 /* six numbers */

static const struct plan_keep *asked(const struct monitor *monitor)
{
	return (const struct plan_keep *)plan_find(monitor->plan, OP_KEEP);
}

/* --- before the command runs ---------------------------------------------------------------------------- */

static void close_all_but(unsigned int one, unsigned int other)
{
	unsigned int low = one < other ? one : other, high = one < other ? other : one;

	if (low > 3)
		syscall(SYS_close_range, 3, low - 1, 0);
	if (high > low + 1)
		syscall(SYS_close_range, low + 1, high - 1, 0);
	syscall(SYS_close_range, high + 1, ~0u, 0);
}

/* A full disk must not cost the result: its room is taken beforehand. */
static int reserve_result(struct keeper *keeper, int directory_fd)
{
	const struct plan_report *report = (const struct plan_report *)plan_find(keeper->monitor->plan, OP_REPORT);
	off_t room = RESULT_ROOM + (report ? (off_t)strlen(plan_text(keeper->monitor->plan, report->record)) : 0);

	const struct plan_samples *samples = (const struct plan_samples *)plan_find(keeper->monitor->plan, OP_SAMPLES);
	room += samples ? (off_t)samples->most * SAMPLE_ROOM : 0;
	for (char *const *word = keeper->monitor->command; *word; word++)
		room += 6 * (off_t)strlen(*word) + 3; /* of a byte may become \u001b */
	keeper->result_fd = openat(directory_fd, "result.json.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (keeper->result_fd < 0)
		return -1;
	return fallocate(keeper->result_fd, FALLOC_FL_KEEP_SIZE, 0, room) < 0 && errno != EOPNOTSUPP && errno != ENOSYS ? -1 : 0;
}

static int open_streams(struct keeper *keeper, const struct plan_keep *op)
{
	int pair[2];

	for (int i = 0; i < 2; i++) {
		if (pipe2(pair, O_CLOEXEC) < 0)
			return -1;
		keeper->output[i] = pair[0];
		keeper->inner[1 + i] = pair[1];
		if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
			return -1;
	}
	if (!op->interactive) {
		keeper->inner[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return keeper->inner[0] < 0 ? -1 : 0;
	}
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -1;
	keeper->inner[0] = pair[0];
	keeper->input_fd = pair[1];
	return fcntl(pair[1], F_SETFL, O_NONBLOCK);
}

static void prepare(struct keeper *keeper)
{
	struct monitor *monitor = keeper->monitor;
	const struct plan_terminal *terminal = (const struct plan_terminal *)plan_find(monitor->plan, OP_TERMINAL);
	const int directory_fd = monitor->registered.fd;
	const struct plan_keep *op = asked(monitor);

	keeper->interactive = op->interactive;
	relay_none(&monitor->relay);
	if (terminal && terminal->mode == TERMINAL_ALWAYS)
		monitor->relay.replaced = 7;
	else if (open_streams(keeper, op) < 0)
		monitor_fail(monitor, OP_KEEP, "pipe2", "");
	for (int fd = 0; fd < 3; fd++)
		monitor->relay.inner[fd] = keeper->inner[fd];
	if (!monitor->failed && log_open(&keeper->log, directory_fd, op->log_size) < 0)
		monitor_fail(monitor, OP_KEEP, "openat", "log");
	if (!monitor->failed && reserve_result(keeper, directory_fd) < 0)
		monitor_fail(monitor, OP_KEEP, "fallocate", "result.json");
	if (!monitor->failed && attach_open(&keeper->attach, directory_fd) < 0)
		monitor_fail(monitor, OP_KEEP, "bind", "attach");
}

/* The terminal of the sandbox is there; the ends of the pipes are the command's alone. */
static void leave_caller(struct keeper *keeper)
{
	for (int i = 0; i < 3; i++) {
		close_fd(&keeper->inner[i]);
		keeper->inner[i] = keeper->monitor->relay.inner[i] = -1;
	}
	if (chdir("/") < 0 && !keeper->monitor->failed)
		monitor_fail(keeper->monitor, OP_KEEP, "chdir", "/");
	umask(077);
}

/* --- what the caller is told ---------------------------------------------------------------------------- */

static int leave_streams(void)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3; fd++)
		if (null_fd < 0 || dup2(null_fd, fd) < 0)
			return -1;
	return 0;
}

/* The sandbox's id; whoever is not there to hear it would not know what runs. */
static void tell_id(struct keeper *keeper)
{
	struct sync_message message = { .type = SYNC_READY };

	strncpy(message.subject, keeper->monitor->registered.id, sizeof(message.subject) - 1);
	if (leave_streams() < 0) {
		monitor_fail(keeper->monitor, OP_KEEP, "open", "/dev/null");
		return;
	}
	keeper->unheard = sync_send(keeper->told_fd, &message) < 0;
	close_fd(&keeper->told_fd);
	keeper->told_fd = -1;
}

static void tell_failure(struct keeper *keeper)
{
	struct sync_message message = keeper->monitor->failure;

	message.type = SYNC_FAILURE;
	sync_send_fd(keeper->told_fd, &message, keeper->monitor->report.file.directory_fd);
}

/* --- its end -------------------------------------------------------------------------------------------- */

static int write_result(struct keeper *keeper, int directory_fd, int status)
{
	if (report_compose(keeper->result_fd, keeper->monitor, status) < 0)
		return -1;
	off_t end = lseek(keeper->result_fd, 0, SEEK_CUR);
	if (end < 0 || ftruncate(keeper->result_fd, end) < 0)
		return -1;
	return renameat(directory_fd, "result.json.new", directory_fd, "result.json");
}

/* With a cgroup that does not go the record of it stays, for whoever comes next. */
static void remove_all(struct container *registered, bool gone)
{
	if (gone)
		container_remove(registered);
	else
		container_close(registered);
}

/* What was written stays with the result, unless nobody wants it or knows of it. */
static void leave(struct keeper *keeper, int status)
{
	struct container *registered = &keeper->monitor->registered;

	log_end(&keeper->log);
	bool gone = !cgroup_end(registered->cgroup, registered->cgroup_inode, CGROUP_PATIENCE_MS);
	if (keeper->unheard || asked(keeper->monitor)->remove || write_result(keeper, registered->fd, status) < 0) {
		remove_all(registered, gone);
		return;
	}
	unlinkat(registered->fd, "plan", 0);
	unlinkat(registered->fd, "attach", 0);
	container_close(registered);
}

static int end(struct keeper *keeper)
{
	struct monitor *monitor = keeper->monitor;

	/* Before there is a result: what is kept is known to somebody. */
	if (!monitor->failed && keeper->told_fd >= 0)
		tell_id(keeper);
	if (monitor->failed && keeper->told_fd >= 0) {
		struct container *registered = &monitor->registered;
		if (registered->fd >= 0)
			remove_all(registered, !cgroup_end(registered->cgroup, registered->cgroup_inode, CGROUP_PATIENCE_MS));
		tell_failure(keeper);
		return EXIT_OWN_FAILURE;
	}
	int status = monitor->failed ? EXIT_OWN_FAILURE : monitor->deadline.reached ? EXIT_TIMED_OUT : monitor_exit_status(monitor);
	keeper_drain(keeper);
	leave(keeper, status);
	report_write(monitor, status);
	attach_end(&keeper->attach, keeper->packet, keeper->packet_size, status);
	return status;
}

static int keep(struct monitor *monitor, int told_fd)
{
	static struct keeper keeper = { .result_fd = -1, .exec_fd = -1, .inner = { -1, -1, -1 }, .output = { -1, -1 }, .input_fd = -1,
					.master_fd = -1, .slave_fd = -1, .log = { .fd = -1 } };

	keeper.monitor = monitor;
	keeper.told_fd = told_fd;
	attach_none(&keeper.attach);
	monitor->keeper = &keeper;
	monitor->options |= SYNC_TELL_START;
	close_all_but((unsigned int)monitor->plan_fd, (unsigned int)told_fd);
	setsid();
	sandbox_prepare(monitor);
	if (!monitor->failed)
		prepare(&keeper);
	if (!monitor->failed)
		monitor_start(monitor);
	leave_caller(&keeper);
	if (!monitor->failed)
		monitor_attend(monitor, GOAL_RUNNING);
	if (monitor->running && !monitor->failed) {
		tell_id(&keeper);
		if (keeper.unheard)
			kill(monitor->init, SIGKILL);
		if (!monitor->failed)
			monitor_attend(monitor, GOAL_END);
	}
	monitor_finish(monitor);
	return end(&keeper);
}

/* --- who has called -------------------------------------------------------------------------------------- */

static int say_id(const char *id)
{
	if (dprintf(1, "%s\n", id) >= 0)
		return 0;
	dprintf(2, "sandbox: %s runs, but standard output cannot be written: %s\n", id, strerror(errno));
	return EXIT_OWN_FAILURE;
}

int keeper_run(struct monitor *monitor)
{
	struct sync_message message = { 0 };
	int pair[2], report_fd = -1;

	pid_t child = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? -1 : fork();
	if (child == 0) {
		close(pair[0]);
		_exit(keep(monitor, pair[1]));
	}
	if (child < 0) {
		monitor_fail(monitor, OP_KEEP, "fork", "");
		return python_explain(monitor->self, monitor->plan_fd, &monitor->failure, -1, -1, monitor->command);
	}
	close(pair[1]);
	int received = sync_receive(pair[0], &message, &report_fd);
	if (received > 0 && message.type == SYNC_READY)
		return say_id(message.subject);
	if (received < 0) /* nobody would hear from it */
		kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (received <= 0) { /* it was killed, and with it all that it had started */
		errno = 0;
		monitor_fail(monitor, OP_KEEP, "init", "exited");
		message = monitor->failure;
	}
	report_prepare(monitor); /* for the page: nothing has run that could have led it elsewhere */
	return python_explain(monitor->self, monitor->plan_fd, &message, report_fd, monitor->report.page.directory_fd, monitor->command);
}
