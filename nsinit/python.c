#define _GNU_SOURCE
#include "python.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_OWN_FAILURE 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

/* The interpreter stands beside us: bin/sandbox, bin/python3. */
static int execute(const char *self, const char *code, char *const first[], char *const rest[])
{
	char python[PATH_MAX];
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
	char **argv = calloc(count + 16, sizeof(*argv));
	if (!argv)
		return -1;
	argv[next++] = python;
	/* -I: neither the environment nor the user's site may change what is imported. */
	argv[next++] = (char *)(uintptr_t)"-I";
	argv[next++] = (char *)(uintptr_t)"-c";
	argv[next++] = (char *)(uintptr_t)code;
	for (size_t i = 0; first[i]; i++)
		argv[next++] = first[i];
	memcpy(argv + next, rest, count * sizeof(*argv));
	execv(python, argv);
	dprintf(2, "sandbox: cannot execute %s: %s\n  hint: install sandbox again, into a virtual environment of its own\n",
		python, strerror(errno));
	free(argv);
	return -1;
}

int python_take_over(const char *self, int key_fd, const char *plan_name, long command_at, char *const argv[])
{
	char number[16], at[24];
	char *const first[] = { (char *)(uintptr_t)self, number, (char *)(uintptr_t)plan_name, at, NULL };

	snprintf(number, sizeof(number), "%d", key_fd);
	snprintf(at, sizeof(at), "%ld", command_at);
	if (key_fd >= 0)
		fcntl(key_fd, F_SETFD, 0);
	execute(self, "from sandbox.cli.start import main; main()", first, argv);
	return EXIT_OWN_FAILURE;
}

int python_explain(const char *self, int plan_fd, const struct sync_message *failure, char *const command[])
{
	char fd[16], index[16], error[16];
	char *const first[] = { fd, index, (char *)(uintptr_t)failure->call, error, (char *)(uintptr_t)failure->subject, NULL };
	sigset_t none;

	snprintf(fd, sizeof(fd), "%d", plan_fd);
	snprintf(index, sizeof(index), "%u", failure->failed_index);
	snprintf(error, sizeof(error), "%u", failure->number);
	fcntl(plan_fd, F_SETFD, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execute(self, "from sandbox.cli.refusal import main; main()", first, command);
	/* Plainer words are better than none. */
	dprintf(2, "sandbox: %s %s: %s (operation %s of the plan)\n", failure->call, failure->subject,
		strerror((int)failure->number), index);
	if (strcmp(failure->call, "exec") != 0)
		return EXIT_OWN_FAILURE;
	return failure->number == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}
