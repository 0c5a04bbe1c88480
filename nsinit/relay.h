/* The caller's terminal and the sandbox's own, and the bytes between them. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "sync.h"

#define RELAY_BUFFER 16384

struct relay {
	unsigned int replaced; /* standard descriptors that the sandbox sees as its terminal (bits) */
	int terminal; /* the caller's: 0, 1 or 2; -1 without one */
	int output; /* where the sandbox's output goes */
	int master_fd; /* owned; -1 until the sandbox has made its terminal */
	bool raw; /* the caller's terminal has to be restored */
	bool input_open;
	struct termios saved;
	size_t pending; /* bytes of input that the sandbox's terminal has not taken yet */
	size_t pending_at;
	char input[RELAY_BUFFER];
};

void relay_prepare(struct relay *relay, uint32_t mode);
void relay_describe(const struct relay *relay, struct sync_message *hello);
void relay_start(struct relay *relay, int master_fd);
void relay_window(const struct relay *relay);
void relay_events(const struct relay *relay, struct pollfd *input, struct pollfd *master);
void relay_pass(struct relay *relay, short input_events, short master_events);
void relay_drain(struct relay *relay);
void relay_restore(struct relay *relay);
