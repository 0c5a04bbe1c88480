/* Fuzz what a contained program says to its service manager: what goes on is lines of the few kinds that are its own to
 * say, and nothing that a terminal obeys. */
#include "readiness.h"

#include <string.h>

#include "fuzz.h"

static int is_known(const char *line, size_t size)
{
	static const char *const known[] = { "READY=1", "STOPPING=1", "RELOADING=1", "WATCHDOG=1" };
	static const char *const begin[] = { "ERRNO=", "MONOTONIC_USEC=", "STATUS=" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (size == strlen(known[i]) && !memcmp(line, known[i], size))
			return 1;
	for (size_t i = 0; i < sizeof(begin) / sizeof(begin[0]); i++)
		if (size >= strlen(begin[i]) && !memcmp(line, begin[i], strlen(begin[i])))
			return 1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[READINESS_MAX];

	if (size > READINESS_MAX)
		return 0;
	size_t length = readiness_filter((const char *)data, size, text);
	fuzz_require(length < sizeof(text) && !text[length] && strlen(text) == length);
	for (const char *line = text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		fuzz_require(end && is_known(line, (size_t)(end - line)));
		for (const char *byte = line; byte < end; byte++)
			fuzz_require((unsigned char)*byte >= 0x20 && *byte != 0x7f);
	}
	return 0;
}
