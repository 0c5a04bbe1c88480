#define _GNU_SOURCE
#include "json.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "sys.h"

static void put(struct json *json, const char *bytes, size_t size)
{
	if (size > sizeof(json->bytes) - json->size && !json_flush(json))
		return;
	if (size <= sizeof(json->bytes)) {
		memcpy(json->bytes + json->size, bytes, size);
		json->size += size;
	} else if (!write_whole(json->fd, bytes, size)) {
		json->failed = true;
		json->error = errno;
	}
}

/* false: something could not be written, now or before. */
bool json_flush(struct json *json)
{
	if (!json->failed && !write_whole(json->fd, json->bytes, json->size)) {
		json->failed = true;
		json->error = errno;
	}
	json->size = 0;
	return !json->failed;
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

/* As a string, with its quotes.  JSON is UTF-8: for a byte that is none stands U+FFFD. */
void json_text(struct json *json, const char *text)
{
	char escaped[8];

	put(json, "\"", 1);
	while (*text) {
		unsigned char byte = (unsigned char)*text;
		size_t length = character((const unsigned char *)text);

		if (length == 0)
			put(json, "\\ufffd", 6);
		else if (byte < ' ' || byte == 0x7f)
			put(json, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", byte));
		else if (byte == '"' || byte == '\\')
			put(json, "\\", 1), put(json, text, 1);
		else
			put(json, text, length);
		text += length ? length : 1;
	}
	put(json, "\"", 1);
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
