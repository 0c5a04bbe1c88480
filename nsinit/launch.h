#pragma once

int launch_main(char *const argv[]);
int launch_plan_main(char *const argv[]);
