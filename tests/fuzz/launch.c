/* Fuzz the launcher's command line: whatever the words are, the command begins at one of them, behind options that the
 * table knows, or Python looks at them; and the key holds all before it. */
#define _GNU_SOURCE
#include "../../nsinit/launch.c"

#include "fuzz.h"

static struct key key;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_words split;
	char name[32];

	fuzz_split(&split, data, size);
	char *const *command = find_command(split.words);
	if (command) {
		size_t before = (size_t)(command - split.words);

		fuzz_require(before < split.count);
		/* Without an option before it, it is the first word, or the one behind `--`. */
		fuzz_require(split.words[0][0] == '-' || before == 0);
		fuzz_require(before == 0 || strcmp(split.words[0], "--") || before == 1);
		if (make_key(&key, split.words, command)) {
			fuzz_require(key.size <= sizeof(key.bytes) && !key.bytes[key.size - 1]);
			launch_name_plan(key.bytes, key.size, name);
			fuzz_require(strlen(name) == strlen("0123456789abcdef.plan"));
		}
	}
	free(split.bytes);
	return 0;
}
