/* Those who are attached to a detached sandbox: they see what its command writes from then on, and may write to it.
 *
 * A packet begins with a letter, what follows is its content; docs/protocol.md has them all. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define ATTACHED_MAX 16 /* at a time */
#define ATTACH_INPUT 4096 /* bytes of input in a packet */
#define ATTACH_OUTPUT 8192 /* of output */
#define ATTACH_PATIENCE_MS 2000 /* so long is waited for one that does not take what it was sent */

enum attach_letter {
	/* to who is attached */
	ATTACH_HELLO = 'h', /* a byte: enum attach_flag */
	ATTACH_STDOUT = 'o',
	ATTACH_STDERR = 'e',
	ATTACH_EXIT = 'x', /* a byte: the exit status; the last packet */
	/* to the keeper */
	ATTACH_DATA = 'i', /* input */
	ATTACH_CLOSE = 'c', /* the input has ended */
	ATTACH_WINDOW = 'w', /* rows and columns, 16 bits each, little-endian */
};

enum attach_flag { ATTACH_TERMINAL = 1, ATTACH_INTERACTIVE = 2 };

struct attach {
	int socket_fd; /* owned; who wants to be attached connects to it, or -1 */
	int fds[ATTACHED_MAX]; /* owned; or -1 */
	bool owed[ATTACHED_MAX]; /* who has not taken the last packet yet */
	struct timespec since; /* when it was sent */
};

struct attach_packet {
	enum attach_letter letter; /* 0: none that we know */
	const char *bytes; /* of ATTACH_DATA */
	size_t size;
	uint16_t rows, columns; /* of ATTACH_WINDOW */
};

void attach_none(struct attach *attach);
int attach_open(struct attach *attach, int directory_fd);
struct attach_packet attach_read(const char *bytes, size_t size);

/* What to poll for: the socket, then those who are attached, of whom packets are wanted if `takes`.  Returns for how long
 * at most, in milliseconds; -1: for ever. */
#define ATTACH_EVENTS (1 + ATTACHED_MAX)
int attach_events(const struct attach *attach, struct pollfd events[ATTACH_EVENTS], bool takes);

/* Take in who knocks, with `flags` for a greeting. */
void attach_accept(struct attach *attach, const struct pollfd events[ATTACH_EVENTS], unsigned char flags);

/* The packet, in `bytes`, of one who has written, into `packet`; false: there is none, or no more. */
bool attach_receive(struct attach *attach, struct pollfd events[ATTACH_EVENTS], char bytes[1 + ATTACH_INPUT],
		    struct attach_packet *packet);

/* Is somebody behind?  Until nobody is, the next packet has to wait. */
bool attach_waits(const struct attach *attach);
void attach_send(struct attach *attach, const char *packet, size_t size);
/* The same packet, for those who were behind; who does not take it for too long is let go. */
void attach_again(struct attach *attach, const char *packet, size_t size);

/* Wait until nobody is behind, or is let go. */
void attach_settle(struct attach *attach, const char *packet, size_t size);

/* Say `status` to all, and let them go. */
void attach_end(struct attach *attach, const char *packet, size_t size, int status);
