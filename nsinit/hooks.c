#define _GNU_SOURCE
#include "hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

#define SAID_MAX 200 /* of what a hook printed */

struct hook {
	const struct plan *plan;
	const struct plan_hook *op;
	const char *document;
	const sigset_t *signals; /* the caller's mask */
	pid_t pid;
	int input_fd, output_fd, error_fd; /* owned; our ends */
	char output[SAID_MAX], error[SAID_MAX];
};

bool hooks_present(const struct plan *plan, enum plan_hook_stage stage)
{
	for (const struct plan_op *op = plan_next(plan, NULL); op; op = plan_next(plan, op))
		if (op->code == OP_HOOK && ((const struct plan_hook *)op)->stage == stage)
			return true;
	return false;
}

/* Texts as an array that ends with NULL; never freed, as the plan is not. */
static char **array(const struct plan *plan, struct plan_texts texts)
{
	char **result = calloc(texts.count + 2, sizeof(*result));

	for (uint32_t i = 0; result && i < texts.count; i++)
		result[i] = (char *)(uintptr_t)plan_item(plan, texts, i);
	return result;
}

_Noreturn static void become_hook(const struct hook *hook, int input_fd, int output_fd, int error_fd)
{
	const char *path = plan_text(hook->plan, hook->op->path);
	char **argv = array(hook->plan, hook->op->arguments);
	/* As runc: a hook that names no environment has the runtime's. */
	char **envp = hook->op->environment.count ? array(hook->plan, hook->op->environment) : environ;

	if (!argv || !envp || dup2(input_fd, 0) < 0 || dup2(output_fd, 1) < 0 || dup2(error_fd, 2) < 0)
		_exit(127);
	if (!argv[0])
		argv[0] = (char *)(uintptr_t)path;
	const char *directory = plan_text(hook->plan, hook->op->directory);
	if (*directory && chdir(directory) < 0) {
		dprintf(2, "%s: %s", directory, strerror(errno));
		_exit(127);
	}
	/* A group of its own, so that what it started can be ended with it. */
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	if (hook->signals)
		sigprocmask(SIG_SETMASK, hook->signals, NULL);
	execve(path, argv, envp);
	dprintf(2, "%s: %s", path, strerror(errno));
	_exit(127);
}

static int start(struct hook *hook)
{
	int input[2] = { -1, -1 }, output[2] = { -1, -1 }, error[2] = { -1, -1 };
	int result = pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0 ? -1 : 0;

	if (result == 0) {
		hook->pid = fork();
		if (hook->pid == 0)
			become_hook(hook, input[0], output[1], error[1]);
		result = hook->pid < 0 ? -1 : 0;
	}
	close_fd(&input[0]);
	close_fd(&output[1]);
	close_fd(&error[1]);
	hook->input_fd = input[1];
	hook->output_fd = output[0];
	hook->error_fd = error[0];
	if (hook->input_fd >= 0)
		fcntl(hook->input_fd, F_SETFL, O_NONBLOCK);
	return result;
}

static long long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Keep the beginning of what it says; false at the end. */
static bool take(int fd, char said[SAID_MAX])
{
	char rest[4096];
	size_t length = strlen(said), room = SAID_MAX - 1 - length;
	ssize_t size = read(fd, rest, sizeof(rest));

	if (size <= 0)
		return size < 0 && errno == EINTR;
	size_t kept = (size_t)size < room ? (size_t)size : room;
	memcpy(said + length, rest, kept);
	said[length + kept] = 0;
	return true;
}

static void close_end(struct pollfd *event, int *fd)
{
	close_fd(fd);
	*fd = event->fd = -1;
}

/* Feed it and listen to it until it has ended: not until all that it started has.  false: its time is up. */
static bool attend(struct hook *hook)
{
	enum { INPUT, OUTPUT, ERROR, END, EVENTS };
	cleanup_fd int process_fd = sys_pidfd_open(hook->pid);
	struct pollfd events[EVENTS] = {
		[INPUT] = { .fd = hook->input_fd, .events = POLLOUT },
		[OUTPUT] = { .fd = hook->output_fd, .events = POLLIN },
		[ERROR] = { .fd = hook->error_fd, .events = POLLIN },
		[END] = { .fd = process_fd, .events = POLLIN },
	};
	const char *left = hook->document;
	long long end = hook->op->timeout ? milliseconds() + 1000ll * hook->op->timeout : 0;

	for (;;) {
		long long wait = end ? end - milliseconds() : -1;

		if (end && wait <= 0)
			return false;
		if (poll(events, EVENTS, (int)(wait > 60000 ? 60000 : wait)) < 0 && errno != EINTR)
			return false;
		if (events[INPUT].revents) {
			ssize_t size = write(hook->input_fd, left, strlen(left));

			left += size > 0 ? size : 0;
			if (!*left || (size < 0 && errno != EAGAIN && errno != EINTR))
				close_end(&events[INPUT], &hook->input_fd);
		}
		if (events[OUTPUT].revents && !take(hook->output_fd, hook->output))
			close_end(&events[OUTPUT], &hook->output_fd);
		if (events[ERROR].revents && !take(hook->error_fd, hook->error))
			close_end(&events[ERROR], &hook->error_fd);
		if (events[END].revents && !events[OUTPUT].revents && !events[ERROR].revents)
			return true;
	}
}

/* What it printed last may be a line. */
static const char *trimmed(char *said)
{
	for (size_t length = strlen(said); length && (said[length - 1] == '\n' || said[length - 1] == ' '); length--)
		said[length - 1] = 0;
	return said;
}

/* JSON on one line: no text in it holds the end of one. */
static void fold(char *document)
{
	char *to = document;

	for (const char *from = document; *from; from++) {
		if (*from != '\n')
			*to++ = *from;
		else
			while (from[1] == ' ')
				from++;
	}
	*to = 0;
}

static int run(struct hook *hook, char failure[HOOK_FAILURE_MAX])
{
	char how[64];
	int status = 0;

	if (start(hook) < 0) {
		snprintf(failure, HOOK_FAILURE_MAX, "%s", strerror(errno));
		return -1;
	}
	/* A hook need not read; and who runs it may yet become the command, with the signals as they were. */
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	bool in_time = attend(hook);
	signal(SIGPIPE, SIG_IGN); /* discards one that is pending, as those are that are blocked */
	signal(SIGPIPE, before);
	if (!in_time) {
		kill(-hook->pid, SIGKILL);
		kill(hook->pid, SIGKILL);
	}
	while (waitpid(hook->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (in_time && status == 0)
		return 0;
	if (!in_time)
		snprintf(how, sizeof(how), "hook ran past specified timeout of %us", hook->op->timeout);
	else if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "signal: %s", strsignal(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "exit status %d", WEXITSTATUS(status));
	snprintf(failure, HOOK_FAILURE_MAX, "%s, stdout: %s, stderr: %s", how, trimmed(hook->output), trimmed(hook->error));
	return -1;
}

int hooks_run(const struct plan *plan, enum plan_hook_stage stage, char *document, const sigset_t *signals,
	      const struct plan_op **failed, char failure[HOOK_FAILURE_MAX])
{
	fold(document);
	for (const struct plan_op *op = plan_next(plan, *failed); op; op = plan_next(plan, op)) {
		struct hook hook = {
			.plan = plan, .op = (const struct plan_hook *)op, .document = document, .signals = signals,
			.input_fd = -1, .output_fd = -1, .error_fd = -1,
		};

		if (op->code != OP_HOOK || hook.op->stage != stage)
			continue;
		int result = run(&hook, failure);
		close_fd(&hook.input_fd);
		close_fd(&hook.output_fd);
		close_fd(&hook.error_fd);
		if (result < 0) {
			*failed = op;
			return -1;
		}
	}
	return 0;
}
