/* Fuzz the decoder of what a bus says: whatever comes, all at once or in two parts, is taken for the same, and nothing runs
 * over. */
#define _GNU_SOURCE
#include "bus.h"
#include "fuzz.h"

struct outcome {
	enum bus_result result;
	struct bus_talk talk;
	size_t taken;
};

/* An exact allocation for each part, so that a byte read too far is seen. */
static struct outcome take(const uint8_t *data, size_t size, size_t first)
{
	struct outcome outcome = { .talk = { .serial = 3 } };

	for (size_t end = first; outcome.result == BUS_MORE; end = size) {
		size_t part = end - outcome.taken, taken;
		uint8_t *copy = malloc(part + !part);

		fuzz_require(copy != NULL);
		memcpy(copy, data + outcome.taken, part);
		outcome.result = bus_take(&outcome.talk, copy, part, &taken);
		free(copy);
		fuzz_require(taken <= part);
		outcome.taken += taken;
		if (end == size)
			break;
	}
	fuzz_require(memchr(outcome.talk.job, 0, sizeof(outcome.talk.job)) != NULL);
	fuzz_require(memchr(outcome.talk.words, 0, sizeof(outcome.talk.words)) != NULL);
	fuzz_require((outcome.result == BUS_REFUSED) == (outcome.talk.words[0] != 0));
	return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole = take(data, size, size);

	if (!size)
		return 0;
	struct outcome parts = take(data, size, data[size - 1] * size / 256);
	fuzz_require(whole.result == parts.result && whole.talk.lines == parts.talk.lines);
	fuzz_require(!strcmp(whole.talk.job, parts.talk.job) && !strcmp(whole.talk.words, parts.talk.words));
	return 0;
}
