/* The readiness of a sandbox, sd_notify(3): said by us, when the command runs, or by the command, through us. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READINESS_MAX 4096

struct monitor;

struct readiness {
	uint32_t mode; /* enum plan_readiness_mode; READINESS_NONE: there is nobody to be told */
	const char *host; /* the socket that we were given */
	bool due; /* the command has been executed, or that has failed */
	bool told; /* the host knows that it is ready */
	unsigned int passed; /* messages in this second */
	int64_t second;
	char socket[64], watchdog[64]; /* variables of the command's */
	char *variables[3];
};

/* By the plan, and by what the caller's environment says. */
void readiness_prepare(struct monitor *monitor);

/* How to poll for it: its descriptor or -1, and how long at most, in milliseconds or -1. */
int readiness_fd(const struct monitor *monitor);
int readiness_patience(const struct monitor *monitor);

/* There is something on its descriptor. */
void readiness_pass(struct monitor *monitor);

/* Say that it is ready, if it is; whoever could say otherwise has been heard. */
void readiness_settle(struct monitor *monitor);

/* Say that it comes to its end. */
void readiness_end(struct monitor *monitor);

/* Put what of a message of `size` bytes may go on into `text`; the number of its bytes. */
size_t readiness_filter(const char *message, size_t size, char text[READINESS_MAX]);
