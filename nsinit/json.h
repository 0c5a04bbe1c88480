/* JSON, written piece by piece. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct json {
	int fd; /* not owned */
	bool failed; /* errno says why */
	int error;
	size_t size;
	char bytes[4096];
};

void json_raw(struct json *json, const char *text);
void json_text(struct json *json, const char *text);
void json_number(struct json *json, long long number);
void json_seconds(struct json *json, long long seconds, long microseconds);
bool json_flush(struct json *json);
