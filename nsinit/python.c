#define _GNU_SOURCE
#include "python.h"
#include "exit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum start { QUICK, ORDINARY };

#define ASIDE "SANDBOX_ASIDE_" /* sandbox/kernel/aside.py */

extern char **environ;

/* By these the loader, the C library and OpenSSL execute what lies in a directory that the variable names: the caller's
 * command may want that, and finds it by a project's path; our own interpreter does not. */
static bool leads_astray(const char *entry)
{
	static const char *const starts[] = { "LD_", "GLIBC_TUNABLES=", "GCONV_PATH=", "LOCPATH=", "OPENSSL_" };

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
		if (!strncmp(entry, starts[i], strlen(starts[i])))
			return true;
	return false;
}

/* The environment with those under other names, of which there are `*aside`; NULL: no memory. */
static char **set_aside(size_t *aside)
{
	size_t count = 0;

	*aside = 0;
	while (environ[count])
		count++;
	char **result = calloc(count + 1, sizeof(*result));
	for (size_t i = 0; result && i < count; i++) {
		result[i] = environ[i];
		if (!leads_astray(environ[i]))
			continue;
		result[i] = malloc(sizeof(ASIDE) + strlen(environ[i]));
		if (!result[i])
			return NULL;
		++*aside;
		strcpy(result[i], ASIDE);
		strcat(result[i], environ[i]);
	}
	return result;
}

void python_take_back(void)
{
	for (char **entry = environ; entry && *entry; entry++)
		if (!strncmp(*entry, ASIDE, sizeof(ASIDE) - 1))
			*entry += sizeof(ASIDE) - 1;
}

/* Where our modules and what they need lie, beside bin/; false: somewhere else, and site.py has to find it. */
static bool find_packages(const char *self, size_t directory, char packages[PATH_MAX])
{
	static const char *const needed[] = { "sandbox", "msgspec" };
	char path[PATH_MAX + 32];
	const char *parent = memrchr(self, '/', directory);

	if (!parent || snprintf(packages, PATH_MAX, "%.*s/" PYTHON_PACKAGES, (int)(parent - self), self) >= PATH_MAX)
		return false;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s/__init__.py", packages, needed[i]);
		if (access(path, R_OK) < 0)
			return false;
	}
	return true;
}

/* The interpreter stands beside us: bin/sandbox, bin/python3.  `module` has a main().
 *
 * A quick start goes without site.py (-S), a third of the time of a bare interpreter, and tells Python where to look. */
static int execute(const char *self, enum start start, const char *module, char *const first[], char *const rest[])
{
	char python[PATH_MAX], packages[PATH_MAX], code[256];
	const char *name = strrchr(self, '/');
	size_t count = 0, next = 0;

	if (!name || (size_t)(name - self) + sizeof("/python3") > sizeof(python)) {
		errno = ENOENT;
		return -1;
	}
	memcpy(python, self, (size_t)(name - self));
	strcpy(python + (name - self), "/python3");
	while (rest[count])
		count++;
	size_t aside;
	char **argv = calloc(count + 16, sizeof(*argv)), **environment = set_aside(&aside);
	if (!argv || !environment)
		return -1;
	bool quick = start == QUICK && find_packages(self, (size_t)(name - self), packages);
	snprintf(code, sizeof(code), "%s%sfrom %s import main; main()",
		 quick ? "import sys; sys.path.append(sys.argv.pop(1)); " : "",
		 aside ? "from sandbox.kernel.aside import give_back; give_back(); " : "", module);
	argv[next++] = python;
	/* -I: neither the environment nor the user's site may change what is imported. */
	argv[next++] = (char *)(uintptr_t)"-I";
	if (quick)
		argv[next++] = (char *)(uintptr_t)"-S";
	argv[next++] = (char *)(uintptr_t)"-c";
	argv[next++] = code;
	if (quick)
		argv[next++] = packages;
	for (size_t i = 0; first[i]; i++)
		argv[next++] = first[i];
	memcpy(argv + next, rest, count * sizeof(*argv));
	execve(python, argv, environment);
	dprintf(2, "sandbox: cannot execute %s: %s\n  hint: install sandbox again, into a virtual environment of its own\n",
		python, strerror(errno));
	free(argv);
	return -1;
}

static bool is_default(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) && action.sa_handler == SIG_DFL;
}

/* Python ignores SIGPIPE and SIGXFSZ, which the command must not inherit unless the caller ignores them; and an
 * interrupt while it starts would show its insides, so that this is put off until it has done its work. */
static int prepare_signals(void)
{
	sigset_t interrupt, before;
	/* Where the locale is C, Python sets this variable for its children (PEP 538): it is not the caller's. */
	int signals = (getenv("LC_CTYPE") ? 0 : UNSET_CTYPE) |
		      (is_default(SIGPIPE) ? RESET_PIPE : 0) | (is_default(SIGXFSZ) ? RESET_XFSZ : 0);

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	if (!sigprocmask(SIG_BLOCK, &interrupt, &before) && !sigismember(&before, SIGINT))
		signals |= UNBLOCK_INT;
	return signals;
}

void python_restore_signals(int signals)
{
	sigset_t interrupt;

	if (signals & UNSET_CTYPE)
		unsetenv("LC_CTYPE");
	if (signals & RESET_PIPE)
		signal(SIGPIPE, SIG_DFL);
	if (signals & RESET_XFSZ)
		signal(SIGXFSZ, SIG_DFL);
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	if (signals & UNBLOCK_INT)
		sigprocmask(SIG_UNBLOCK, &interrupt, NULL);
}

int python_take_over(const char *self, int key_fd, const char *plan_name, long command_at, char *const argv[])
{
	char number[16], at[24], signals[16];
	char *const first[] = { (char *)(uintptr_t)self, number, (char *)(uintptr_t)plan_name, at, signals, NULL };

	snprintf(number, sizeof(number), "%d", key_fd);
	snprintf(at, sizeof(at), "%ld", command_at);
	snprintf(signals, sizeof(signals), "%d", prepare_signals());
	if (key_fd >= 0)
		fcntl(key_fd, F_SETFD, 0);
	/* All but a run is typer's, which may lie wherever site.py finds it. */
	execute(self, key_fd >= 0 ? QUICK : ORDINARY, "sandbox.cli.start", first, argv);
	return EXIT_OWN_FAILURE;
}

/* Engines' calls: the descriptors that are the command's stay open on the way. */
static int execute_engine(const char *self, unsigned int descriptors, const char *module, char *const first[],
			  char *const words[])
{
	for (int fd = 3; fd < 3 + (int)descriptors; fd++)
		fcntl(fd, F_SETFD, 0);
	execute(self, QUICK, module, first, words);
	return EXIT_FAILURE;
}

int python_compile(const char *self, int key_fd, const char *name, unsigned int descriptors, char *const words[])
{
	char number[16], signals[16];
	char *const first[] = { (char *)(uintptr_t)self, number, (char *)(uintptr_t)name, signals, NULL };

	snprintf(number, sizeof(number), "%d", key_fd);
	snprintf(signals, sizeof(signals), "%d", prepare_signals());
	if (key_fd >= 0)
		fcntl(key_fd, F_SETFD, 0);
	return execute_engine(self, descriptors, "sandbox.engine.packed", first, words);
}

int python_engine(const char *self, unsigned int descriptors, char *const words[])
{
	char *const first[] = { (char *)(uintptr_t)self, NULL };

	return execute_engine(self, descriptors, "sandbox.engine.start", first, words);
}

/* A failure as the words that Python is told it in. */
struct telling {
	char plan_fd[16], index[16], error[16], report_fd[16], page_fd[16];
	char *words[8];
};

static void leave_open(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

static void plain_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
}

/* Tell it by what stays open, and with the signals as a program expects them. */
static void prepare_telling(struct telling *telling, int plan_fd, const struct sync_message *failure, int report_fd,
			    int page_fd)
{
	char *const words[] = { telling->plan_fd, telling->index, (char *)(uintptr_t)failure->call, telling->error,
				(char *)(uintptr_t)failure->subject, telling->report_fd, telling->page_fd, NULL };

	memcpy(telling->words, words, sizeof(words));
	snprintf(telling->plan_fd, sizeof(telling->plan_fd), "%d", plan_fd);
	snprintf(telling->index, sizeof(telling->index), "%u", failure->failed_index);
	snprintf(telling->error, sizeof(telling->error), "%u", failure->number);
	snprintf(telling->report_fd, sizeof(telling->report_fd), "%d", report_fd);
	snprintf(telling->page_fd, sizeof(telling->page_fd), "%d", page_fd);
	leave_open(plan_fd);
	leave_open(report_fd);
	leave_open(page_fd);
	plain_signals();
}

int python_refuse(const char *self, int plan_fd, const struct sync_message *failure, char *const words[])
{
	struct telling telling;

	prepare_telling(&telling, plan_fd, failure, -1, -1);
	telling.words[5] = NULL; /* an engine's call has no report */
	return execute_engine(self, 0, "sandbox.engine.refusal", telling.words, words);
}

int python_explain(const char *self, int plan_fd, const struct sync_message *failure, int report_fd, int page_fd,
		   char *const command[])
{
	char subject[sizeof(failure->subject)];
	struct telling telling;

	prepare_telling(&telling, plan_fd, failure, report_fd, page_fd);
	execute(self, QUICK, "sandbox.cli.refusal", telling.words, command);
	/* Plainer words are better than none; a name may hold what a terminal takes for a command. */
	memcpy(subject, failure->subject, sizeof(subject));
	for (char *at = subject; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	dprintf(2, "sandbox: %s %s: %s (operation %s of the plan)\n", failure->call, subject,
		strerror((int)failure->number), telling.index);
	if (strcmp(failure->call, "exec") != 0)
		return EXIT_OWN_FAILURE;
	return exec_exit_status((int)failure->number);
}

int python_page(const char *self, int document_fd, int directory_fd, const char *path)
{
	char document[16], directory[16];
	char *const words[] = { document, directory, (char *)(uintptr_t)path, NULL }, *const none[] = { NULL };

	snprintf(document, sizeof(document), "%d", document_fd);
	snprintf(directory, sizeof(directory), "%d", directory_fd);
	leave_open(document_fd);
	leave_open(directory_fd);
	plain_signals();
	execute(self, QUICK, "sandbox.cli.page", words, none);
	return EXIT_OWN_FAILURE;
}
