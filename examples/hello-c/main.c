/* hello [NAME…]: greet each; "-" greets each line of standard input. */
#include "config.h"
#include "greeting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef HAVE_GETLINE
#error "this C library has no getline"
#endif

static void greet(const char *name)
{
	char text[256];

	greeting(text, sizeof(text), name);
	puts(text);
}

static void greet_lines(void)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		line[strcspn(line, "\n")] = '\0';
		greet(line);
	}
	free(line);
}

int main(int argc, char *argv[])
{
	if (argc == 1)
		greet("world");
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-") == 0)
			greet_lines();
		else
			greet(argv[i]);
	}
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
