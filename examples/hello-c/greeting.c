#include "greeting.h"

#include <stdio.h>

size_t greeting(char *text, size_t size, const char *name)
{
	int length = snprintf(text, size, "Hello, %s!", name && *name ? name : "world");

	return length < 0 ? 0 : (size_t)length;
}
