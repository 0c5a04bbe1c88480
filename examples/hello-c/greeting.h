#pragma once
#include <stddef.h>

/* Write "Hello, NAME!" into `text`, cut to `size` bytes with its NUL; return the length of the whole. */
size_t greeting(char *text, size_t size, const char *name);
