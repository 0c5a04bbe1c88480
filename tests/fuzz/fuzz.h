/* What the fuzz targets share: bytes as words, and a plan made of nothing but texts. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_WORDS_MAX 64

struct fuzz_words {
	char *bytes; /* owned; an exact allocation, so that a byte read too far is seen */
	char *words[FUZZ_WORDS_MAX + 1];
	size_t count;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes between NULs, as many as there is room for; NULL-terminated, as argv is. */
static inline void fuzz_split(struct fuzz_words *split, const uint8_t *data, size_t size)
{
	split->count = 0;
	split->bytes = malloc(size + 1);
	if (!split->bytes)
		abort();
	if (size)
		memcpy(split->bytes, data, size);
	split->bytes[size] = 0;
	for (size_t at = 0; at < size && split->count < FUZZ_WORDS_MAX; at += strlen(split->bytes + at) + 1)
		split->words[split->count++] = split->bytes + at;
	split->words[split->count] = NULL;
}

static inline void fuzz_require(int holds)
{
	if (!holds)
		abort();
}
