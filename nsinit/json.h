/* JSON, written piece by piece. */
#pragma once

#include <stddef.h>

struct json {
	int fd; /* not owned */
	int error; /* errno of the first write that failed: nothing is written behind it */
	size_t size;
	char bytes[4096];
};

void json_raw(struct json *json, const char *text);
void json_text(struct json *json, const char *text);
void json_beginning(struct json *json, const char *text, size_t most);
void json_number(struct json *json, long long number);
void json_seconds(struct json *json, long long seconds, long microseconds);
int json_flush(struct json *json);
