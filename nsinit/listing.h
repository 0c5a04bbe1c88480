/* The names in a directory, read without memory and without a further descriptor. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

struct listing {
	int fd; /* not owned; open for reading, and nobody else reads by it meanwhile */
	bool failed; /* what there is beyond is not known */
	size_t at, size;
	_Alignas(struct dirent) char bytes[2048];
};

/* The next entry but `.` and `..`, until the call after; NULL: there is no more, or it cannot be read. */
const struct dirent *listing_next(struct listing *listing);
