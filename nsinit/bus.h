/* As much of D-Bus as it takes to have systemd make a scope.  What is said was put together by Python, and is said in one
 * go; of the answers nothing is understood but whether the job that they name came to a good end. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BUS_MESSAGE_MAX 16384 /* what is asked for is answered in a few hundred bytes */

enum bus_result {
	BUS_MORE, /* there is more to come */
	BUS_DONE, /* the job has been done */
	BUS_REFUSED, /* and `words` say why */
	BUS_BROKEN, /* that is no D-Bus */
};

struct bus_talk {
	uint32_t serial; /* of the call that names the job; those before it count from 1 */
	unsigned int lines; /* of the authentication, that were read */
	char job[128]; /* its path, when it is known */
	char words[448];
};

/* Take what is whole of the `size` bytes at `data`; `*taken` are done with. */
enum bus_result bus_take(struct bus_talk *talk, const uint8_t *data, size_t size, size_t *taken);

/* A connection to the socket `path`; -1. */
int bus_connect(const char *path);

/* Read until there is a result, for `milliseconds` at most.  -1: errno says why not (EPROTO, ETIMEDOUT, EPIPE: it has hung
 * up, EINTR: we are asked to end); 0: the job was done, or `words` say why it was not. */
int bus_await(int bus_fd, struct bus_talk *talk, unsigned int milliseconds);
