/* Exit statuses of our own, those of the shell and of env(1); sandbox/errors.py has the same. */
#pragma once

#define EXIT_TIMED_OUT 124
#define EXIT_OWN_FAILURE 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

/* What a command that cannot be executed ends with, by the errno of its execve(2). */
static inline int exec_exit_status(int error)
{
	return error == 2 /* ENOENT */ || error == 20 /* ENOTDIR */ ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}
