/* Fuzz what reaches the command of the environment.  The words are `+PATTERN` of keep, `=NAME=VALUE` of set,
 * `!NAME=VALUE` of the variables that win over both, and the caller's own. */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <unistd.h>

#include "environment.h"
#include "fuzz.h"
#include "plan.h"

#define TEXTS_MAX 8192

struct image {
	struct plan_header header;
	struct plan_environment op;
	uint32_t lists[2 * FUZZ_WORDS_MAX];
	char texts[TEXTS_MAX];
};

static int names_same(const char *left, const char *right)
{
	size_t length = strcspn(left, "=");

	return length == strcspn(right, "=") && !memcmp(left, right, length);
}

static int named_in(char *const *variables, const char *variable)
{
	while (*variables && !names_same(*variables, variable))
		variables++;
	return *variables != NULL;
}

/* By the words alone: does the last pattern that matches let it through? */
static int let_through(char *const *patterns, const char *variable)
{
	char name[TEXTS_MAX];
	int through = 0;

	strcpy(name, variable);
	name[strcspn(name, "=")] = 0;
	for (; *patterns; patterns++) {
		const char *pattern = *patterns + (**patterns == '!');
		if (!fnmatch(pattern, name, FNM_NOESCAPE))
			through = **patterns != '!';
	}
	return through;
}

static uint32_t add(struct image *image, size_t *used, const char *text)
{
	uint32_t at = (uint32_t)*used;

	strcpy(image->texts + *used, text);
	*used += strlen(text) + 1;
	return at;
}

static void finish(struct image *image, uint32_t kept, uint32_t set)
{
	image->op.head = (struct plan_op){ .code = OP_ENVIRONMENT, .size = sizeof(image->op) };
	image->op.keep = (struct plan_texts){ 0, kept };
	image->op.set = (struct plan_texts){ FUZZ_WORDS_MAX, set };
	memcpy(image->header.magic, PLAN_MAGIC, sizeof(image->header.magic));
	image->header.instruction_set = PLAN_INSTRUCTION_SET;
	image->header.size = sizeof(*image);
	image->header.key_at = image->header.inputs_at = image->header.blobs_at = sizeof(*image);
	image->header.ops_at = offsetof(struct image, op);
	image->header.ops_size = sizeof(image->op);
	image->header.ops_count = 1;
	image->header.lists_at = offsetof(struct image, lists);
	image->header.lists_count = 2 * FUZZ_WORDS_MAX;
	image->header.texts_at = offsetof(struct image, texts);
	image->header.texts_size = sizeof(image->texts);
	image->header.checksum = plan_checksum((const uint8_t *)image, sizeof(*image));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image image;
	char *patterns[FUZZ_WORDS_MAX + 1] = { 0 }, *set[FUZZ_WORDS_MAX + 1] = { 0 }, *further[FUZZ_WORDS_MAX + 1] = { 0 },
	     *callers[FUZZ_WORDS_MAX + 1] = { 0 };
	uint32_t counts[4] = { 0 };
	size_t used = 1;
	struct fuzz_words split;
	struct plan plan;

	if (size > TEXTS_MAX / 2)
		return 0;
	image = (struct image){ 0 };
	fuzz_split(&split, data, size);
	for (size_t i = 0; i < split.count; i++) {
		char *word = split.words[i];

		if (*word == '+') {
			image.lists[counts[0]] = add(&image, &used, word + 1);
			patterns[counts[0]++] = word + 1;
		} else if (*word == '=') {
			image.lists[FUZZ_WORDS_MAX + counts[1]] = add(&image, &used, word + 1);
			set[counts[1]++] = word + 1;
		} else if (*word == '!') {
			further[counts[2]++] = word + 1;
		} else {
			callers[counts[3]++] = word;
		}
	}
	finish(&image, counts[0], counts[1]);
	fuzz_require(!plan_parse(&plan, (const uint8_t *)&image, sizeof(image)));
	char **before = environ;
	environ = callers;
	char **result = command_environment(&plan, further);
	environ = before;
	fuzz_require(result != NULL);
	for (char **variable = callers; *variable; variable++) {
		int expected = strchr(*variable, '=') && !named_in(further, *variable) && !named_in(set, *variable) &&
			       let_through(patterns, *variable);
		char **found = result;

		while (*found && *found != *variable)
			found++;
		fuzz_require(expected == (*found != NULL));
	}
	for (char **variable = further; *variable; variable++)
		fuzz_require(named_in(result, *variable));
	for (char **variable = set; *variable; variable++)
		fuzz_require(named_in(result, *variable));
	free(result);
	free(split.bytes);
	return 0;
}
