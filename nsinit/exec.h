#pragma once

/* `sandbox exec`, argv as it was called; -1: not plain. */
int exec_launch(const char *self, char *const argv[]);

/* The way back from Python, with a plan that it has made. */
int exec_plan_main(char *const argv[]);
