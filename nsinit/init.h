#pragma once

int init_main(char *const argv[]);
