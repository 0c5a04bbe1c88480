#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "plan.h"

int launch_main(char *const argv[]);
int launch_plan_main(char *const argv[]);

bool launch_find_self(char self[PATH_MAX]);
bool launch_is_ours(const char *path);
bool launch_state_directory(char path[PATH_MAX]);
void launch_name_plan(const char *key, size_t size, char name[32]);

/* A descriptor from which Python reads the key, or -1. */
int launch_key_file(const char *key, size_t size);

/* A descriptor open on the plan `name` that was kept for this key and is fresh, or -1. */
int launch_find_plan(struct plan *plan, const char *state, const void *key, size_t size, const char *name);
