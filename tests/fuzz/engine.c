/* Fuzz the command line of sandbox-oci: what is plain points into the words, in their order; all else is Python's. */
#define _GNU_SOURCE
#include "../../nsinit/engine.c"

#include "fuzz.h"

static int is_within(const struct fuzz_words *split, const char *text)
{
	return text >= split->words[0] && text <= split->words[split->count - 1] + strlen(split->words[split->count - 1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_words split;
	struct engine_call call;

	fuzz_split(&split, data, size);
	if (parse(&call, split.words)) {
		fuzz_require(call.verb < VERBS && call.id && is_within(&split, call.id));
		for (int value = 0; value < ENGINE_VALUES; value++)
			fuzz_require(!call.values[value] || !*call.values[value] || is_within(&split, call.values[value]));
		fuzz_require(call.arguments > split.words && call.arguments <= split.words + split.count);
		fuzz_require(call.arguments[-1] == call.id);
		fuzz_require(call.descriptors <= 2 * MOST_DESCRIPTORS && call.listening <= call.descriptors);
		/* What the id is good for is decided by one function, before it is part of any path. */
		if (container_id_valid(call.id))
			fuzz_require(!strchr(call.id, '/') && strcmp(call.id, ".") && strcmp(call.id, "..") && *call.id);
	}
	free(split.bytes);
	return 0;
}
