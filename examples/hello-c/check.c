#include "greeting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(size_t size, const char *name, const char *wanted, size_t length)
{
	char text[64] = "";
	size_t got = greeting(text, size, name);

	if (strcmp(text, wanted) != 0 || got != length) {
		fprintf(stderr, "greeting(%zu, %s): \"%s\", %zu; wanted \"%s\", %zu\n",
			size, name ? name : "NULL", text, got, wanted, length);
		exit(EXIT_FAILURE);
	}
}

int main(void)
{
	expect(64, "Ada", "Hello, Ada!", 11);
	expect(64, "", "Hello, world!", 13);
	expect(64, NULL, "Hello, world!", 13);
	expect(8, "Ada", "Hello, ", 11);
	return EXIT_SUCCESS;
}
