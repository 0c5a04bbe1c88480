/* A program beside the sandbox, for as long as that runs: its user-mode network. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct monitor;

struct companion {
	pid_t pid; /* our child, process 1 of a process namespace in which the program is, or 0 */
	int fd; /* owned; its words, and at its end that of file, or -1 */
	bool ready;
	bool awaited; /* the first process waits for it to be ready */
	bool lost; /* it has ended before the sandbox */
};

/* What the first process asks for. */
enum companion_wish { COMPANION_START, COMPANION_AWAIT };

void companion_wish(struct monitor *monitor, enum companion_wish wish);
void companion_hear(struct monitor *monitor);
void companion_end(struct monitor *monitor);
