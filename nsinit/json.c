#define _GNU_SOURCE
#include "json.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "sys.h"

static void write_out(struct json *json, const char *bytes, size_t size)
{
	if (!json->error && !write_whole(json->fd, bytes, size))
		json->error = errno ? errno : EIO;
}

static void put(struct json *json, const char *bytes, size_t size)
{
	if (size > sizeof(json->bytes) - json->size) {
		write_out(json, json->bytes, json->size);
		json->size = 0;
	}
	if (size > sizeof(json->bytes)) {
		write_out(json, bytes, size);
		return;
	}
	memcpy(json->bytes + json->size, bytes, size);
	json->size += size;
}

/* -1: something could not be written, now or before; errno says why. */
int json_flush(struct json *json)
{
	write_out(json, json->bytes, json->size);
	json->size = 0;
	errno = json->error;
	return json->error ? -1 : 0;
}

void json_raw(struct json *json, const char *text)
{
	put(json, text, strlen(text));
}

/* The length of the character that `text` begins with, 0 if that is not UTF-8 as RFC 3629 has it: neither a longer form
 * than needed, nor a surrogate, nor beyond U+10FFFF. */
static size_t character(const unsigned char *text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : text[0] >> 3 == 30 ? 4 : 0;

	if (length < 2)
		return length;
	uint32_t code = text[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if (text[i] >> 6 != 2) /* the end, too */
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	return code < least[length] || code > 0x10ffff || code >> 11 == 0x1b ? 0 : length;
}

/* As a string, with its quotes, of at most `most` bytes of the text; an ellipsis stands for the rest.  JSON is UTF-8: for
 * a byte that is none stands U+FFFD. */
void json_beginning(struct json *json, const char *text, size_t most)
{
	char escaped[8];

	put(json, "\"", 1);
	while (*text) {
		unsigned char byte = (unsigned char)*text;
		size_t length = character((const unsigned char *)text), size = length ? length : 1;

		if (size > most) {
			put(json, "\xe2\x80\xa6", 3);
			break;
		}
		if (length == 0)
			put(json, "\\ufffd", 6);
		else if (byte < ' ' || byte == 0x7f)
			put(json, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", byte));
		else if (byte == '"' || byte == '\\')
			put(json, "\\", 1), put(json, text, 1);
		else
			put(json, text, length);
		text += size;
		most -= size;
	}
	put(json, "\"", 1);
}

void json_text(struct json *json, const char *text)
{
	json_beginning(json, text, SIZE_MAX);
}

void json_number(struct json *json, long long number)
{
	char text[32];

	put(json, text, (size_t)snprintf(text, sizeof(text), "%lld", number));
}

void json_seconds(struct json *json, long long seconds, long microseconds)
{
	char text[48];

	put(json, text, (size_t)snprintf(text, sizeof(text), "%lld.%06ld", seconds, microseconds));
}
