/* The first process inside. */
#pragma once

#include "run.h"

int init_main(char *const argv[]);

/* What it has in common with one that comes in where others are, join.c. */
void init_run(struct run *run, char *const argv[]);
int init_open_host(struct run *run);
void init_await_hello(struct run *run);
uint64_t init_late_namespaces(const struct plan *plan);
int init_proceed(struct run *run, char *const argv[]);
int init_fail(const struct run *run);
