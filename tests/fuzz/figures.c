/* Fuzz what is read of a cgroup's files and of /proc/PID/status: a number or none, a name that fits.  The words are a file, the
 * beginning of a line, and a key. */
#define _GNU_SOURCE
#include "figures.h"
#include "fuzz.h"
#include "oom.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oom_process process;
	struct fuzz_words split;

	fuzz_split(&split, data, size);
	if (split.count > 0) {
		const char *line = split.count > 1 ? split.words[1] : NULL, *key = split.count > 2 ? split.words[2] : NULL;

		fuzz_require(figures_find(split.words[0], line ? line : "", NULL) >= -1);
		if (key) {
			fuzz_require(figures_find(split.words[0], line, key) >= -1);
			fuzz_require(figures_find(split.words[0], NULL, key) >= -1);
		}
		if (oom_parse(&process, split.words[0])) {
			fuzz_require(process.inside > 0 && process.weight >= 0);
			fuzz_require(*process.name && memchr(process.name, 0, sizeof(process.name)) && !strchr(process.name, '\n'));
		}
	}
	free(split.bytes);
	return 0;
}
