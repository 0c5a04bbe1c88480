/* The command's environment: what the plan sets, and what it lets through of the caller's. */
#define _GNU_SOURCE
#include "environment.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool names_same(const char *left, const char *right)
{
	size_t length = strcspn(left, "=");

	return length == strcspn(right, "=") && !strncmp(left, right, length);
}

static bool kept(const struct plan *plan, const struct plan_environment *op, const char *variable, bool *lack)
{
	size_t length = strcspn(variable, "=");

	for (uint32_t i = 0; i < op->set.count; i++)
		if (names_same(variable, plan_item(plan, op->set, i)))
			return false;
	if (!variable[length])
		return false;
	char *name = strndup(variable, length);
	bool result = false;

	*lack |= !name;
	/* The last pattern that matches decides; one with a "!" keeps out. */
	for (uint32_t i = op->keep.count; name && i-- > 0;) {
		const char *pattern = plan_item(plan, op->keep, i);

		if (!fnmatch(pattern + (*pattern == '!'), name, FNM_NOESCAPE)) {
			result = *pattern != '!';
			break;
		}
	}
	free(name);
	return result;
}

static bool among(char *const *variables, const char *variable)
{
	for (; variables && *variables; variables++)
		if (names_same(*variables, variable))
			return true;
	return false;
}

/* `further` variables win over those of the plan. */
char **command_environment(const struct plan *plan, char *const *further)
{
	const struct plan_environment *op = (const struct plan_environment *)plan_find(plan, OP_ENVIRONMENT);
	size_t count = 0, more = 0;

	while (environ[count])
		count++;
	while (further && further[more])
		more++;
	char **result = calloc(count + more + (op ? op->set.count : 0) + 1, sizeof(*result));
	if (!result || !op)
		return result;
	char **next = result;
	bool lack = false;
	for (uint32_t i = 0; i < op->set.count; i++)
		if (!among(further, plan_item(plan, op->set, i)))
			*next++ = (char *)(uintptr_t)plan_item(plan, op->set, i);
	for (char **variable = environ; *variable; variable++)
		if (kept(plan, op, *variable, &lack) && !among(further, *variable))
			*next++ = *variable;
	for (size_t i = 0; i < more; i++)
		*next++ = further[i];
	if (lack) { /* of memory; a command without its PATH is another command */
		free(result);
		return NULL;
	}
	return result;
}
