/* The monitor of a sandbox that runs detached: it holds the streams, writes the log, and lets others attach themselves. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "attach.h"
#include "log.h"

#define KEEPER_DRAIN_ROUNDS 128 /* twice what a pipe can hold */

struct monitor;

struct keeper {
	struct monitor *monitor;
	int told_fd; /* owned; who has called waits there to be told, or -1 */
	int result_fd; /* owned; room for the result, or -1 */
	int exec_fd; /* owned; a pipe that the command's exec closes, or -1 */
	int inner[3]; /* owned; the ends of the pipes that are the command's, until it has them; or -1 */
	int output[2]; /* owned; where its stdout and stderr are read, or -1 */
	int input_fd; /* owned; where its stdin is written, or -1 */
	int master_fd, slave_fd; /* owned; of its terminal, or -1 */
	bool interactive; /* those who are attached may write to it */
	bool unheard; /* who has called was not there to be told */
	bool input_ends; /* behind what waits in `input` */
	bool line_begun; /* the last byte of input was no end of a line */
	size_t packet_size, input_at, input_size;
	char packet[1 + ATTACH_OUTPUT]; /* what was read of the output last */
	char input[1 + ATTACH_INPUT]; /* of those who are attached */
	struct log log;
	struct attach attach;
};

/* What monitor_attend() polls for in a keeper's name. */
enum keeper_event {
	KEEPER_EXEC, KEEPER_STDOUT, KEEPER_STDERR, KEEPER_INPUT, KEEPER_ATTACH,
	KEEPER_EVENTS = KEEPER_ATTACH + ATTACH_EVENTS,
};

/* Returns for how long at most, in milliseconds, or -1: for ever; not for longer than `patience`. */
int keeper_events(const struct keeper *keeper, struct pollfd events[KEEPER_EVENTS], int patience);
void keeper_pass(struct keeper *keeper, struct pollfd events[KEEPER_EVENTS]);
void keeper_starting(struct keeper *keeper, int exec_fd);
/* Take its terminal; false: it is there. */
bool keeper_terminal(struct keeper *keeper, int master_fd);
void keeper_drain(struct keeper *keeper);

/* Start the command, and return when it runs, with what `sandbox run --detach` ends with. */
int keeper_run(struct monitor *monitor);
