/* The protocol between the monitor and the first process of the sandbox: fixed messages
 * over a SEQPACKET pair.  docs/protocol.md draws it. */
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>
#include <termios.h>

/* Whose a signal is. */
enum signal_target { TO_COMMAND, TO_GROUP, TO_ALL };

enum sync_type {
	/* to init */
	SYNC_HELLO = 1, /* what only the host's side knows */
	SYNC_MAPPED, /* the helpers have filled the id maps */
	SYNC_SIGNAL, /* pass `number` on; `flag`: enum signal_target */
	SYNC_RESUME, /* what was asked for has been done: HOOKS are run, what was CREATED is written down */
	SYNC_START, /* go through the start gate */
	/* to the monitor */
	SYNC_TERMINAL, /* with a descriptor: the master of the sandbox's terminal */
	SYNC_READY, /* every operation is done; the next thing is the command's exec */
	SYNC_FAILURE, /* an operation failed */
	SYNC_EXIT, /* the command ended with wait status `number` */
	SYNC_STOPPED, /* the command was stopped by signal `number` */
	SYNC_HOOKS, /* run the hooks that belong here, and say RESUME */
	SYNC_FORKED, /* the first process is `number`, a sibling of the one that says so */
	SYNC_CREATED, /* the container waits at the start gate */
	SYNC_COMPANION, /* `number`: enum companion_wish; AWAIT is answered by RESUME */
	SYNC_LISTENER, /* with a descriptor: the notifications of the seccomp filter */
	SYNC_STARTING, /* with a descriptor: a pipe whose other end the command's exec closes */
	SYNC_NOTIFY, /* with a descriptor: the socket by which the command says that it is ready */
};

/* HELLO: how the process is meant, in `options` (bits). */
enum sync_option {
	SYNC_OUTLIVES = 2, /* it goes on when the monitor ends */
	SYNC_KEEP_KEYRING = 4, /* the caller's session keyring stays */
	SYNC_CONSOLE = 8, /* its terminal goes to a console socket, whose owner translates no newlines */
	SYNC_GATE = 16, /* a listening socket is the start gate, not the monitor's word */
	SYNC_TELL_START = 32, /* say STARTING */
	SYNC_TELL_READY = 64, /* have a socket for the command's own word */
};

struct sync_message {
	uint32_t type;
	uint32_t number; /* HELLO: which standard descriptors become the terminal (bits) */
	uint32_t flag; /* HELLO: `terminal` and `window` are set */
	uint32_t failed_index; /* FAILURE: the operation's place in the plan */
	uint32_t options; /* HELLO: enum sync_option */
	uint32_t descriptors; /* HELLO: so many from 3 on are the command's */
	uint64_t signal_mask; /* HELLO: the caller's */
	struct winsize window;
	struct termios terminal;
	char call[32]; /* FAILURE: the system call, "exec" for the command itself */
	char subject[512]; /* FAILURE: what it was done to */
};

int sync_send(int sync_fd, const struct sync_message *message);
int sync_send_fd(int sync_fd, const struct sync_message *message, int fd);
int sync_receive(int sync_fd, struct sync_message *message, int *fd);
