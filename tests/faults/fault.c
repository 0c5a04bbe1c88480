/* nsinit with a fault in it, for the tests: linked by `ld --wrap`, so that the sources know nothing of it, and the program
 * that is installed has none of it.
 *
 *     SANDBOX_FAULT="FD ROLE NUMBER ACTION ERRNO"
 *
 * ROLE's NUMBERth call of those in calls.h goes wrong.  ACTION: `fail`, with ERRNO; `end`, it never returns, as
 * whoever holds FD's other side kills or stops the process (itself it could not: process 1 of a namespace is out of reach of
 * its own signals).  ROLE `*`: nothing goes wrong.
 *
 * FD is a SEQPACKET socket.  It is told of the call that goes wrong, or of all: `ROLE NUMBER CALL OPERATION`, where OPERATION
 * is the place in the plan, or -1.  The end of file there means that no process of ours is left.
 *
 * Roles: `monitor`; `child`, what it forks; `keeper`, of which that becomes one, from its setsid(2) on; `entering`, its clone, until our image is executed; `between`, which joins
 * namespaces; `first`, the first process; `command`, what that forks to become the command. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "environment.h"
#include "plan.h"
#include "run.h"

#define VARIABLE "SANDBOX_FAULT"
#define NOTES_FROM 600 /* out of the way of the numbers that descriptors are given */

static struct {
	int notes_fd;
	const char *role;
	int count, op;
	bool within; /* a call of libc's own, or of ours here: it is the one around it that counts */
	char wanted[16], action[8];
	int number, error;
} fault = { .notes_fd = -1, .role = "monitor", .op = -1 };

/* All are called alike: their arguments are in registers, and seven are enough. */
#define CALL(name) void *real_##name(long a, ...) __asm__("__real_" #name);
#include "calls.h"
#undef CALL

int real_main(int argc, char *argv[]) __asm__("__real_main");
int real_plan_dispatch(struct run *run, const struct plan_op *op) __asm__("__real_plan_dispatch");
char **real_command_environment(const struct plan *plan, char *const *further) __asm__("__real_command_environment");
int real_sys_execveat(int fd, char *const argv[], char *const envp[]) __asm__("__real_sys_execveat");
int wrap_main(int argc, char *argv[]) __asm__("__wrap_main");
int wrap_plan_dispatch(struct run *run, const struct plan_op *op) __asm__("__wrap_plan_dispatch");
char **wrap_command_environment(const struct plan *plan, char *const *further) __asm__("__wrap_command_environment");
int wrap_sys_execveat(int fd, char *const argv[], char *const envp[]) __asm__("__wrap_sys_execveat");

static void note(const char *call)
{
	char text[96];
	int length = snprintf(text, sizeof(text), "%s %d %s %d", fault.role, fault.count, call, fault.op);

	real_syscall(SYS_sendto, fault.notes_fd, text, length, MSG_NOSIGNAL, NULL, 0);
}

/* The errno with which `call` is to fail, or 0. */
static int strike(const char *call)
{
	char go;

	if (fault.notes_fd < 0 || fault.within)
		return 0;
	fault.count++;
	if (*fault.wanted == '*') {
		note(call);
		return 0;
	}
	if (fault.count != fault.number || strcmp(fault.wanted, fault.role) != 0)
		return 0;
	note(call);
	if (!strcmp(fault.action, "wait"))
		real_syscall(SYS_recvfrom, fault.notes_fd, &go, sizeof(go), 0, NULL, NULL);
	return fault.error;
}

static void become(const char *role)
{
	fault.role = role;
	fault.count = 0;
	fault.within = false;
}

/* A process that was just made by `call`. */
static void be_born(const char *call)
{
	if (!strcmp(call, "fork"))
		become(!strcmp(fault.role, "first") ? "command" : "child");
	else
		become(!strcmp(fault.role, "monitor") || !strcmp(fault.role, "keeper") ? "entering" : "first");
}

static void *failed(const char *call)
{
	return !strcmp(call, "calloc") || !strcmp(call, "malloc") ? NULL : (void *)-1;
}

#define CALL(name)                                                                                                  \
	void *wrap_##name(long a, long b, long c, long d, long e, long f, long g) __asm__("__wrap_" #name);         \
	void *wrap_##name(long a, long b, long c, long d, long e, long f, long g)                                   \
	{                                                                                                           \
		if (!strcmp(#name, "setsid") && !strcmp(fault.role, "child"))                                       \
			become("keeper");                                                                           \
		/* A keeper lets go of all descriptors that it does not know. */                                    \
		if (!strcmp(#name, "syscall") && a == SYS_close_range && b < NOTES_FROM && c >= NOTES_FROM)         \
			c = NOTES_FROM - 1;                                                                         \
		int before = errno, error = strike(#name);                                                          \
		bool within = fault.within;                                                                         \
                                                                                                                    \
		if (error) {                                                                                        \
			errno = error;                                                                              \
			return failed(#name);                                                                       \
		}                                                                                                   \
		errno = before;                                                                                     \
		fault.within = true;                                                                                \
		void *result = real_##name(a, b, c, d, e, f, g);                                                    \
		fault.within = within;                                                                              \
		if (!(int)(long)result && (!strcmp(#name, "fork") ||                                                \
					   (!strcmp(#name, "syscall") && (a == SYS_clone3 || a == SYS_clone))))     \
			be_born(#name);                                                                             \
		return result;                                                                                      \
	}
#include "calls.h"

/* An operation goes wrong as a whole before it has done anything, or when all of it is done. */
int wrap_plan_dispatch(struct run *run, const struct plan_op *op)
{
	int error, result;

	fault.op = (int)plan_index(run->plan, op);
	error = strike("before");
	if (error)
		return refuse_with(run, error, "before", "");
	result = real_plan_dispatch(run, op);
	error = strike("after");
	fault.op = -1;
	return error ? refuse_with(run, error, "after", "") : result;
}

/* Our word is carried over the exec beside the command's environment; who reads it takes it out. */
char **wrap_command_environment(const struct plan *plan, char *const *further)
{
	char **variables = real_command_environment(plan, further), *word = NULL;
	size_t count = 0;

	if (!variables || fault.notes_fd < 0)
		return variables;
	while (variables[count])
		count++;
	bool within = fault.within;
	fault.within = true;
	char **more = realloc(variables, (count + 2) * sizeof(*more));
	if (!more || asprintf(&word, VARIABLE "=%d %s %d %s %d", fault.notes_fd, fault.wanted, fault.number, fault.action,
			      fault.error) < 0)
		abort();
	fault.within = within;
	more[count] = word;
	more[count + 1] = NULL;
	return more;
}

int wrap_sys_execveat(int fd, char *const argv[], char *const envp[])
{
	if (fault.notes_fd >= 0)
		real_fcntl(fault.notes_fd, F_SETFD, 0L);
	return real_sys_execveat(fd, argv, envp);
}

int wrap_main(int argc, char *argv[])
{
	const char *word = getenv(VARIABLE);
	int fd;

	if (word && sscanf(word, "%d %15s %d %7s %d", &fd, fault.wanted, &fault.number, fault.action, &fault.error) == 5) {
		fault.notes_fd = (int)(long)real_fcntl(fd, F_DUPFD_CLOEXEC, (long)NOTES_FROM);
		close(fd);
	}
	unsetenv(VARIABLE);
	if (argc && !strcmp(argv[0], "sandbox-init"))
		become("first");
	else if (argc && (!strcmp(argv[0], "sandbox-join") || !strcmp(argv[0], "sandbox-enter")))
		become("between");
	return real_main(argc, argv);
}
