/* D-Bus specification, "Message Protocol".  All that comes is somebody else's: every length is checked before it is gone by. */
#define _GNU_SOURCE
#include "bus.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

#define LINE_MAX_SIZE 1024
#define LOOK_MS 100
#define CONNECT_TRIES 500
#define CONNECT_LOOK_MS 10

enum { METHOD_RETURN = 2, ERROR = 3, SIGNAL = 4 };
enum { FIELD_MEMBER = 3, FIELD_ERROR_NAME = 4, FIELD_REPLY_SERIAL = 5, FIELD_OF_SIGNATURE = 8 };

/* Bytes of a message that are being read; alignment counts from its start. */
struct cursor {
	const uint8_t *data;
	size_t at, end;
	bool failed;
};

struct header {
	uint8_t type;
	uint32_t reply_serial; /* 0: none */
	const char *member, *error_name, *signature; /* in the message */
};

static void skip_to(struct cursor *cursor, size_t alignment)
{
	size_t next = (cursor->at + alignment - 1) / alignment * alignment;

	if (next > cursor->end)
		cursor->failed = true;
	else
		cursor->at = next;
}

static uint8_t take_byte(struct cursor *cursor)
{
	if (cursor->failed || cursor->at == cursor->end) {
		cursor->failed = true;
		return 0;
	}
	return cursor->data[cursor->at++];
}

static uint32_t take_number(struct cursor *cursor)
{
	uint32_t number = 0;

	skip_to(cursor, 4);
	for (int shift = 0; shift < 32; shift += 8)
		number |= (uint32_t)take_byte(cursor) << shift;
	return number;
}

/* `length` bytes that end with a NUL behind them, and hold none. */
static const char *take_text(struct cursor *cursor, uint32_t length)
{
	const char *text = (const char *)cursor->data + cursor->at;

	if (cursor->failed || length >= cursor->end - cursor->at || memchr(text, 0, (size_t)length + 1) != text + length) {
		cursor->failed = true;
		return "";
	}
	cursor->at += (size_t)length + 1;
	return text;
}

static const char *take_string(struct cursor *cursor)
{
	return take_text(cursor, take_number(cursor));
}

/* Fields are strings, paths, signatures and numbers, and there are no others. */
static void take_field(struct cursor *cursor, struct header *header)
{
	skip_to(cursor, 8);
	uint8_t code = take_byte(cursor);
	const char *type = take_text(cursor, take_byte(cursor)), *text = NULL;
	uint32_t number = 0;

	if (!strcmp(type, "s") || !strcmp(type, "o"))
		text = take_string(cursor);
	else if (!strcmp(type, "g"))
		text = take_text(cursor, take_byte(cursor));
	else if (!strcmp(type, "u"))
		number = take_number(cursor);
	else
		cursor->failed = true;
	if (code == FIELD_REPLY_SERIAL && !text)
		header->reply_serial = number;
	if (!text)
		return;
	if (code == FIELD_MEMBER)
		header->member = text;
	else if (code == FIELD_ERROR_NAME)
		header->error_name = text;
	else if (code == FIELD_OF_SIGNATURE)
		header->signature = text;
}

/* What a person reads: no control characters of somebody else's. */
static void keep_words(struct bus_talk *talk, const char *name, const char *text)
{
	snprintf(talk->words, sizeof(talk->words), "%s%s%s", name, *text ? ": " : "", text);
	for (char *at = talk->words; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
}

/* JobRemoved: its number, path, unit and result. */
static enum bus_result take_end(struct bus_talk *talk, struct cursor *body, const struct header *header)
{
	if (strcmp(header->member, "JobRemoved") != 0 || strcmp(header->signature, "uoss") != 0 || !talk->job[0])
		return BUS_MORE;
	take_number(body);
	const char *job = take_string(body);
	take_string(body);
	const char *result = take_string(body);
	if (body->failed)
		return BUS_BROKEN;
	if (strcmp(job, talk->job) != 0)
		return BUS_MORE;
	if (!strcmp(result, "done"))
		return BUS_DONE;
	keep_words(talk, "job", result);
	return BUS_REFUSED;
}

static enum bus_result take_body(struct bus_talk *talk, struct cursor *body, const struct header *header)
{
	bool ours = header->reply_serial && header->reply_serial <= talk->serial;

	switch (header->type) {
	case ERROR:
		if (!ours)
			return BUS_MORE;
		const char *text = header->signature[0] == 's' ? take_string(body) : "";
		if (body->failed)
			return BUS_BROKEN;
		/* Without any words it would be taken for success. */
		keep_words(talk, *header->error_name ? header->error_name : "an error without a name", text);
		return BUS_REFUSED;
	case METHOD_RETURN:
		if (header->reply_serial != talk->serial)
			return BUS_MORE;
		const char *job = strcmp(header->signature, "o") ? "" : take_string(body);
		if (body->failed || !*job || strlen(job) >= sizeof(talk->job))
			return BUS_BROKEN;
		strcpy(talk->job, job);
		return BUS_MORE;
	case SIGNAL:
		return take_end(talk, body, header);
	default:
		return BUS_MORE;
	}
}

/* Its size, 0 where that is not there yet; SIZE_MAX: it is none, or larger than any that is waited for. */
static size_t message_size(const uint8_t *data, size_t size, size_t *fields_end)
{
	struct cursor start = { .data = data, .at = 4, .end = size };

	/* The bus is this machine's, and so is the order of bytes. */
	if (size && data[0] != 'l')
		return SIZE_MAX;
	if (size < 16)
		return 0;
	uint32_t body = take_number(&start);
	take_number(&start);
	uint32_t fields = take_number(&start);
	if (data[3] != 1 || body > BUS_MESSAGE_MAX || fields > BUS_MESSAGE_MAX)
		return SIZE_MAX;
	*fields_end = 16 + (size_t)fields;
	size_t whole = (*fields_end + 7) / 8 * 8 + body;
	return whole > BUS_MESSAGE_MAX ? SIZE_MAX : whole;
}

static enum bus_result take_message(struct bus_talk *talk, const uint8_t *data, size_t size, size_t *taken)
{
	struct header header = { .member = "", .error_name = "", .signature = "" };
	size_t fields_end = 0, whole = message_size(data, size, &fields_end);

	*taken = 0;
	if (whole == SIZE_MAX)
		return BUS_BROKEN;
	if (!whole || whole > size)
		return BUS_MORE;
	struct cursor fields = { .data = data, .at = 16, .end = fields_end }, body = { .data = data, .end = whole };
	header.type = data[1];
	while (!fields.failed && fields.at < fields.end)
		take_field(&fields, &header);
	body.at = fields_end;
	skip_to(&body, 8);
	if (fields.failed || body.failed)
		return BUS_BROKEN;
	*taken = whole;
	return take_body(talk, &body, &header);
}

/* DATA asks us who we are, the socket has told it: OK is the answer to our empty one. */
static enum bus_result take_line(struct bus_talk *talk, const uint8_t *data, size_t size, size_t *taken)
{
	const uint8_t *end = memmem(data, size < LINE_MAX_SIZE ? size : LINE_MAX_SIZE, "\r\n", 2);

	*taken = 0;
	if (!end)
		return size < LINE_MAX_SIZE ? BUS_MORE : BUS_BROKEN;
	size_t length = (size_t)(end - data);
	*taken = length + 2;
	const char *wanted = talk->lines++ ? "OK " : "DATA";
	if (length >= strlen(wanted) && !memcmp(data, wanted, strlen(wanted)))
		return BUS_MORE;
	if (length < 8 || memcmp(data, "REJECTED", 8))
		return BUS_BROKEN;
	keep_words(talk, "the bus does not know us", "");
	return BUS_REFUSED;
}

enum bus_result bus_take(struct bus_talk *talk, const uint8_t *data, size_t size, size_t *taken)
{
	enum bus_result result = BUS_MORE;
	size_t part = 1;

	for (*taken = 0; result == BUS_MORE && part && *taken < size; *taken += part)
		result = talk->lines < 2 ? take_line(talk, data + *taken, size - *taken, &part)
					 : take_message(talk, data + *taken, size - *taken, &part);
	return result;
}

int bus_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	for (int tries = 0; fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0; tries++) {
		int error = errno;

		/* So many wait for the bus that no more can, yet. */
		if (error == EAGAIN && tries < CONNECT_TRIES) {
			poll(NULL, 0, CONNECT_LOOK_MS);
			continue;
		}
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Signals are held back: whoever wants us to end is not to wait for the bus. */
static bool is_to_end(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (sigismember(&pending, ends[i]) == 1)
			return true;
	return false;
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

/* -1: errno; 0: there is something to be read, or we look again. */
static int wait_for(int bus_fd, long long end)
{
	struct pollfd event = { .fd = bus_fd, .events = POLLIN };
	long long left = end - now_ms();

	if (left <= 0)
		return fail(ETIMEDOUT);
	if (is_to_end())
		return fail(EINTR);
	return poll(&event, 1, left < LOOK_MS ? (int)left : LOOK_MS) < 0 && errno != EINTR ? -1 : 0;
}

int bus_await(int bus_fd, struct bus_talk *talk, unsigned int milliseconds)
{
	static uint8_t buffer[2 * BUS_MESSAGE_MAX];
	const long long end = now_ms() + milliseconds;
	size_t used = 0, taken;

	for (;;) {
		ssize_t size = recv(bus_fd, buffer + used, sizeof(buffer) - used, MSG_DONTWAIT);

		if (size == 0)
			return fail(EPIPE);
		if (size < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
		if (size < 0) {
			if (wait_for(bus_fd, end) < 0)
				return -1;
			continue;
		}
		used += (size_t)size;
		switch (bus_take(talk, buffer, used, &taken)) {
		case BUS_MORE:
			break;
		case BUS_DONE:
		case BUS_REFUSED:
			return 0;
		case BUS_BROKEN:
			return fail(EPROTO);
		}
		/* Somebody who never comes to the point is not listened to for ever. */
		if (now_ms() > end)
			return fail(ETIMEDOUT);
		memmove(buffer, buffer + taken, used - taken);
		used -= taken;
	}
}
