/* `sandbox-oci`: runc's command line.  What is plain is done here; anything else is Python's. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "engine_options.h"
#include "plan.h"

/* A call as it was parsed. */
struct engine_call {
	const char *self; /* our own program */
	char *const *words; /* all behind our name, as they were given */
	enum engine_verb verb;
	const char *values[ENGINE_VALUES]; /* NULL: not given; of a flag: "" */
	bool keeps_plan; /* nothing was asked for that a plan depends on */
	const char *id;
	char *const *arguments; /* behind the id */
	unsigned int descriptors; /* to be handed in from 3 on */
	unsigned int listening; /* of them by $LISTEN_FDS */
	char root[PATH_MAX];
	char containers[PATH_MAX]; /* the directory of all containers */
};

int engine_main(char *const argv[]);
int engine_plan_main(char *const argv[]);

/* Not as plain as it looked: let Python do it, or say why not. */
int engine_give_up(const struct engine_call *call);

int create_main(const struct engine_call *call, const struct plan *plan, int plan_fd);
int exec_main(const struct engine_call *call, const struct plan *plan, int plan_fd);

/* -1: not plain. */
int verb_state(const struct engine_call *call);
int verb_start(const struct engine_call *call);
int verb_kill(const struct engine_call *call);
int verb_delete(const struct engine_call *call);
