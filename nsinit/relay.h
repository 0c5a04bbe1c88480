/* The caller's terminal and the sandbox's own, and the bytes between them. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "sync.h"

#define RELAY_BUFFER 16384
#define RELAY_LOOK_MS 300 /* while another job has the terminal */
#define RELAY_FLUSH_ROUNDS 64 /* of what was written before a stop; others inside may go on to write */
#define RELAY_PATIENCE_MS 200 /* for a reader that stands still, once we were asked to end */

/* Bytes that were read and not yet taken at the other end. */
struct relay_buffer {
	size_t start, size;
	char bytes[RELAY_BUFFER];
};

struct relay {
	unsigned int replaced; /* standard descriptors that the sandbox sees as its terminal (bits) */
	unsigned int piped; /* those that are a terminal outside, and inside a pipe or, for input, nothing (bits) */
	int inner[3]; /* not owned; what the sandbox gets for its standard descriptors instead, or -1 */
	int pipe_fd; /* owned; the end of that pipe for the sandbox, until it has been started */
	int terminal; /* the caller's: 0, 1 or 2; -1 without one */
	int output_fd; /* where the sandbox's output goes */
	int master_fd; /* owned; where the output comes from: the terminal that the sandbox has made, or the pipe; else -1 */
	int slave_fd; /* owned; held so that a command that closes its terminal does not lose it */
	bool keep_newlines; /* the sandbox's terminal has ONLCR cleared, as runc's */
	bool raw; /* the caller's terminal has to be restored */
	bool input_open;
	bool hurried; /* the caller has asked us to end */
	bool line_begun; /* the last byte of input was no end of a line */
	struct termios saved;
	struct relay_buffer input, output;
};

/* What relay_events() asks poll(2) for, in this order. */
enum relay_event { RELAY_INPUT, RELAY_MASTER, RELAY_OUTPUT, RELAY_EVENTS };

void relay_none(struct relay *relay);
int relay_prepare(struct relay *relay, uint32_t mode);
int relay_enter(const struct relay *relay);
void relay_describe(const struct relay *relay, struct sync_message *hello);
void relay_start(struct relay *relay, int master_fd);
bool relay_waits(const struct relay *relay);
void relay_resume(struct relay *relay);
void relay_window(const struct relay *relay);
void relay_events(const struct relay *relay, struct pollfd events[RELAY_EVENTS]);
void relay_pass(struct relay *relay, const struct pollfd events[RELAY_EVENTS]);
void relay_hurry(struct relay *relay, uint32_t signal_number);
void relay_flush(struct relay *relay);
void relay_drain(struct relay *relay, int signals_fd);
void relay_restore(struct relay *relay);
