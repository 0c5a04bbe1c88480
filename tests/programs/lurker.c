/* Wait for processes that come in from outside, and say what could be taken of each before it is the command:
 * descriptors that lead out, its memory, its program.  With CAP_SYS_PTRACE it may try all of it (runc CVE-2016-9962).
 *
 * argv: for how many seconds.  It prints `ready`, then a line for each find. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void look_at(const char *process)
{
	char path[512], link[512];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%s/fd", process);
	DIR *directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) < 3)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", process, entry->d_name);
		ssize_t size = readlink(path, link, sizeof(link) - 1);
		if (size > 0)
			printf("descriptor %s %.*s\n", entry->d_name, (int)size, link);
	}
	if (directory)
		closedir(directory);
	snprintf(path, sizeof(path), "/proc/%s/exe", process);
	ssize_t size = readlink(path, link, sizeof(link) - 1);
	if (size > 0 && !strstr(link, "busybox"))
		printf("program %.*s\n", (int)size, link);
}

int main(int argc, char *argv[])
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
	struct dirent *entry;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (time(NULL) < end) {
		DIR *directory = opendir("/proc");

		while (directory && (entry = readdir(directory)))
			if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && atoi(entry->d_name) != getpid())
				look_at(entry->d_name);
		if (directory)
			closedir(directory);
	}
	return 0;
}
