#define _GNU_SOURCE
#include "listing.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libc's `struct dirent` is the kernel's of getdents64(2), in glibc and in musl. */
_Static_assert(offsetof(struct dirent, d_reclen) == 16 && offsetof(struct dirent, d_name) == 19, "another struct dirent");

const struct dirent *listing_next(struct listing *listing)
{
	for (;;) {
		if (listing->at == listing->size) {
			long size = syscall(SYS_getdents64, listing->fd, listing->bytes, sizeof(listing->bytes));

			listing->failed = size < 0;
			listing->at = 0;
			listing->size = size > 0 ? (size_t)size : 0;
			if (size <= 0)
				return NULL;
		}
		const struct dirent *entry = (const void *)(listing->bytes + listing->at);
		listing->at += entry->d_reclen;
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			return entry;
	}
}
