/* `sandbox exec`: a further command in a sandbox that runs.  The plain cases are done here, by the sandbox's own plan; with
 * options that ask for another process, and for all words, Python is called. */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "exit.h"
#include "launch.h"
#include "listing.h"
#include "monitor.h"
#include "options.h"
#include "plan.h"
#include "python.h"
#include "sys.h"

#define END_PATIENCE_MS 500 /* for a sandbox that may be ending */
#define LOOK_MS 50 /* the same, where the command's end may have another cause */

struct visit {
	const char *self; /* our own program */
	const char *id; /* or its beginning */
	char *const *command;
	uint32_t terminal; /* enum plan_terminal_mode; TERMINAL_AUTO: nothing was said */
	bool detach;
};

static const struct option_entry *find_option(const char *word)
{
	for (size_t i = 0; i < sizeof(exec_option_table) / sizeof(exec_option_table[0]); i++) {
		const struct option_entry *entry = &exec_option_table[i];

		if (!strcmp(entry->name, word) || (entry->letter && word[1] == entry->letter && !word[2]))
			return entry;
	}
	return NULL;
}

static bool parse(struct visit *visit, char *const *word)
{
	for (; *word && (*word)[0] == '-'; word++) {
		const struct option_entry *entry = find_option(*word);

		if (!entry || !entry->keeps_plan || entry->takes_value)
			return false;
		if (!strcmp(entry->name, "--detach"))
			visit->detach = true;
		else if (!strcmp(entry->name, "--tty") || !strcmp(entry->name, "--no-tty"))
			visit->terminal = entry->name[2] == 'n' ? TERMINAL_NEVER : TERMINAL_ALWAYS; /* the last one counts */
		else
			return false;
	}
	visit->id = *word;
	word += *word != NULL;
	if (*word && !strcmp(*word, "--"))
		word++;
	visit->command = word;
	/* Nobody would hold the terminal. */
	return visit->id && *word && !(visit->detach && visit->terminal == TERMINAL_ALWAYS);
}

/* The one directory whose name begins with `start`, in `name`; false: there is none, or more. */
static bool find_unique(const char *directory_path, const char *start, char name[256])
{
	cleanup_fd int fd = open(directory_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct listing listing = { .fd = fd };
	size_t length = strlen(start), found = 0;
	const struct dirent *entry;

	while (found < 2 && (entry = listing_next(&listing)))
		if (entry->d_name[0] != '.' && !strncmp(entry->d_name, start, length)) {
			strcpy(name, entry->d_name);
			found++;
		}
	return found == 1;
}

static int open_visited(const struct visit *visit, const char *containers, struct container *container)
{
	char name[256];

	if (!container_open(container, containers, visit->id))
		return 0;
	container_close(container);
	if (!*visit->id || !find_unique(containers, visit->id, name))
		return -1;
	return container_open(container, containers, name);
}

static uint32_t terminal_mode(const struct visit *visit, const struct container *container, const struct plan *plan)
{
	const struct plan_terminal *op = (const struct plan_terminal *)plan_find(plan, OP_TERMINAL);

	if (visit->terminal != TERMINAL_AUTO)
		return visit->terminal;
	/* A container's plan speaks of its first process. */
	return container->held && op ? op->mode : (uint32_t)TERMINAL_AUTO;
}

static bool is_joinable(const struct container *container)
{
	enum container_status status = container_status(container);

	return status == CONTAINER_RUNNING || status == CONTAINER_CREATED;
}

/* Whoever does not wait has no use for a pipe that somebody else reads to its end, and keeps no terminal; a file stays.
 * Returns what standard error was. */
static int leave_streams(void)
{
	struct stat status;
	int error_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3; fd++)
		if (null_fd < 0 || fstat(fd, &status) < 0 || (!S_ISREG(status.st_mode) && dup2(null_fd, fd) < 0))
			return -1;
	return error_fd;
}

static bool has_ended(const struct monitor *monitor, int patience)
{
	struct pollfd event = { .fd = monitor->process_fd, .events = POLLIN };

	return poll(&event, 1, patience) == 1;
}

/* Did it fail because the sandbox is at its end?  Nobody enters one that dies, or lives on in it. */
static bool is_ending(const struct monitor *monitor)
{
	bool suspect = !strcmp(monitor->failure.call, "setns") || !strcmp(monitor->failure.call, "init");

	return has_ended(monitor, suspect ? END_PATIENCE_MS : 0);
}

/* -1: it has ended, and nothing was run. */
static int join(const struct visit *visit, struct container *container, const struct plan *plan, int plan_fd)
{
	const struct plan_terminal *terminal = (const struct plan_terminal *)plan_find(plan, OP_TERMINAL);
	struct monitor monitor = MONITOR_INITIALIZER;

	monitor.plan = plan;
	monitor.plan_fd = plan_fd;
	monitor.self = visit->self;
	monitor.command = visit->command;
	monitor.container = container;
	monitor.options = visit->detach ? SYNC_OUTLIVES : 0;
	monitor.process_fd = container_process(container);
	if (monitor.process_fd < 0)
		return -1;
	cleanup_fd int error_fd = visit->detach ? leave_streams() : -1;
	if (visit->detach && error_fd < 0)
		monitor_fail(&monitor, OP_CONTAINER, "open", "/dev/null");
	if (relay_prepare(&monitor.relay, terminal_mode(visit, container, plan)) < 0)
		monitor_fail(&monitor, OP_TERMINAL, "pipe2", "");
	monitor.relay.keep_newlines = terminal && !terminal->newlines;
	if (!monitor.failed)
		monitor_start(&monitor);
	if (!monitor.failed)
		monitor_attend(&monitor, GOAL_RUNNING);
	if (monitor.running && !monitor.failed && visit->detach)
		return 0;
	if (monitor.running && !monitor.failed)
		monitor_attend(&monitor, GOAL_END);
	monitor_finish(&monitor);
	if (error_fd >= 0)
		dup2(error_fd, 2); /* for the words to come */
	if (!monitor.failed) {
		const bool killed = WIFSIGNALED(monitor.status) && WTERMSIG(monitor.status) == SIGKILL;
		if (killed && monitor.oom.limit)
			oom_explain(&monitor);
		else if (killed && has_ended(&monitor, LOOK_MS))
			dprintf(2, "sandbox: %s has ended\n", container->id);
		return monitor_end(&monitor);
	}
	if (!monitor.ready && is_ending(&monitor))
		return -1;
	return python_explain(visit->self, plan_fd, &monitor.failure, -1, -1, visit->command);
}

int exec_launch(const char *self, char *const argv[])
{
	char containers[PATH_MAX + 16];
	struct visit visit = { .self = self, .terminal = TERMINAL_AUTO };
	struct container container;
	struct plan plan;

	if (!parse(&visit, argv + 2) || !launch_state_directory(containers))
		return -1;
	strcat(containers, "/containers");
	if (open_visited(&visit, containers, &container) < 0)
		return -1;
	int plan_fd = container_open_plan(&container);
	if (plan_fd < 0 || !is_joinable(&container) || plan_read(&plan, plan_fd) < 0)
		return -1;
	return join(&visit, &container, &plan, plan_fd);
}

/* argv: our name, the number of a descriptor open on a plan, what python_restore_signals() takes, the directory of all
 * containers, the id, how (a letter of "tn" for the terminal, "d" to leave it), the command. */
int exec_plan_main(char *const argv[])
{
	char self[PATH_MAX];
	struct container container;
	struct plan plan;

	for (int i = 1; i < 7; i++)
		if (!argv[i])
			return EXIT_OWN_FAILURE;
	if (!launch_find_self(self))
		return EXIT_OWN_FAILURE;
	struct visit visit = {
		.self = self, .id = argv[4], .command = argv + 6, .detach = strchr(argv[5], 'd'),
		.terminal = strchr(argv[5], 't') ? TERMINAL_ALWAYS : strchr(argv[5], 'n') ? TERMINAL_NEVER : TERMINAL_AUTO,
	};
	python_restore_signals(atoi(argv[2]));
	int plan_fd = atoi(argv[1]);
	int status = -1;
	if (!plan_read(&plan, plan_fd) && !container_open(&container, argv[3], visit.id) && is_joinable(&container))
		status = join(&visit, &container, &plan, plan_fd);
	if (status >= 0)
		return status;
	dprintf(2, "sandbox: %s has ended\n", visit.id);
	return EXIT_OWN_FAILURE;
}
