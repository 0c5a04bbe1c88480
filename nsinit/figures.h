/* What the kernel has counted of a cgroup; docs/report.md has the names. */
#pragma once

#include <stddef.h>

#include "json.h"

#define FIGURES 28

/* One that is not known, as its file is not there, or says "max", is -1. */
struct figures {
	long long values[FIGURES];
};

void figures_clear(struct figures *figures);
void figures_read(struct figures *figures, const char *cgroup);
void figures_put(struct json *json, const struct figures *figures);

/* The number that `text`, a file of a cgroup, has in the line that begins with the word `line` (NULL: in all lines, added
 * up) behind `key=` (NULL: as the next word); -1: it has none. */
long long figures_find(const char *text, const char *line, const char *key);

/* The whole file, ended by a NUL; -1: it is not there, or longer. */
int figures_load(int fd, char *text, size_t size);
