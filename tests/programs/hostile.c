/* A program that wants out.  It tries every attack in the catalogue, each in a process of its own, and says
 *
 *     NAME held | NAME BROKE: how | NAME n/a: why
 *
 * hostile [--list] [ATTACK…] [hidden=PATH] [fixed=DIRECTORY] [project=DIRECTORY] [abstract=NAME] [socket=PATH]
 *         [cgroup=DIRECTORY]
 *         [state=DIRECTORY] [port=NUMBER] [key=NUMBER] [outside=PID]
 *         [promise=filter|nested|network|init|powerless|bare|cgroup]…
 *
 * Static, so that it runs in any root. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIME 20 /* seconds for one attack */

struct surroundings around;

static const struct attack *const catalogue[] = { open_attacks, file_attacks, proc_attacks, mount_attacks,
						  call_attacks, reach_attacks, limits_attacks, process_attacks };
static const char *const promises[] = { "filter", "nested", "network", "init", "powerless", "bare", "cgroup" };

static const struct attack *current;
static int report_fd = -1;

/* --- what attacks say --- */

static void say(const char *verdict, const char *format, va_list arguments)
{
	char line[1024];
	int length = snprintf(line, sizeof(line), "%s", verdict);

	vsnprintf(line + length, sizeof(line) - (size_t)length, format, arguments);
	for (char *c = line; *c; c++)
		if (*c == '\n')
			*c = ' ';
	if (write(report_fd, line, strlen(line)) < 0)
		_exit(3);
	_exit(0);
}

void broke(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say((current->promise & ~around.promised) ? "n/a: no such promise: " : "BROKE: ", format, arguments);
	_exit(3);
}

void not_here(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say("n/a: ", format, arguments);
	_exit(3);
}

/* --- what attacks have in common --- */

const char *below(const char *directory, const char *name)
{
	static char paths[16][4096];
	static int next;
	char *path = paths[next++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

ssize_t read_file(const char *path, char *content, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t length = 0;
	ssize_t got = fd < 0 ? -1 : 0;

	while (fd >= 0 && length < size - 1 && (got = read(fd, content + length, size - 1 - length)) > 0)
		length += (size_t)got;
	content[length] = 0;
	if (fd >= 0)
		close(fd);
	return got < 0 && !length ? -1 : (ssize_t)length;
}

long write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	long result = write(fd, text, strlen(text));
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

void must_not_tell(const char *path)
{
	char content[4096];

	if (read_file(path, content, sizeof(content)) > 0 && strstr(content, "canary"))
		broke("read %s", path);
}

void must_not_tell_fd(int fd, const char *how)
{
	char content[4096];
	ssize_t got = pread(fd, content, sizeof(content) - 1, 0);

	if (got > 0) {
		content[got] = 0;
		if (strstr(content, "canary"))
			broke("read it %s", how);
	}
}

void must_not_write(const char *path)
{
	static const int ways[] = { O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_WRONLY | O_TRUNC };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (open(path, ways[i] | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) >= 0)
			broke("opened %s for writing", path);
}

void must_fail(long result, const char *what)
{
	if (result >= 0)
		broke("%s", what);
}

void become_root_inside(void)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		not_here("no namespaces inside: %s", strerror(errno));
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1\n", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1\n", gid);
	write_file("/proc/self/gid_map", map);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* --- the run --- */

static void wait_for_end(const struct attack *attack, pid_t child, int read_end)
{
	char line[1024];
	ssize_t length = read(read_end, line, sizeof(line) - 1);
	int status;

	close(read_end);
	if (waitpid(child, &status, 0) != child)
		status = 0;
	if (length > 0)
		line[length] = 0;
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		strcpy(line, "held");
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		strcpy(line, "BROKE: it did not end");
	else if (WIFSIGNALED(status))
		snprintf(line, sizeof(line), "BROKE: ended by signal %d", WTERMSIG(status));
	else if (status)
		snprintf(line, sizeof(line), "BROKE: it failed with %d", WEXITSTATUS(status));
	else
		strcpy(line, "held");
	printf("%s %s\n", attack->name, line);
	fflush(stdout);
}

static void run(const struct attack *attack)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		_exit(2);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		close(ends[0]);
		report_fd = ends[1];
		current = attack;
		signal(SIGALRM, SIG_DFL);
		alarm(TIME);
		attack->try();
		_exit(0);
	}
	close(ends[1]);
	wait_for_end(attack, child, ends[0]);
}

static void look_at_descriptors(void)
{
	for (int fd = 3; fd < 4096; fd++)
		if (fcntl(fd, F_GETFD) >= 0) {
			size_t used = strlen(around.inherited);

			snprintf(around.inherited + used, sizeof(around.inherited) - used, " %d", fd);
		}
}

static int chosen(int argc, char *argv[], const char *name)
{
	int any = 0;

	for (int i = 1; i < argc; i++)
		if (!strchr(argv[i], '=') && strcmp(argv[i], "--list")) {
			any = 1;
			if (!strcmp(argv[i], name))
				return 1;
		}
	return !any;
}

static void understand(char *word)
{
	char *value = strchr(word, '=');

	if (!value)
		return;
	*value++ = 0;
	if (!strcmp(word, "hidden")) around.hidden = value;
	if (!strcmp(word, "fixed")) around.fixed = value;
	if (!strcmp(word, "project")) around.project = value;
	if (!strcmp(word, "abstract")) around.abstract = value;
	if (!strcmp(word, "socket")) around.socket = value;
	if (!strcmp(word, "cgroup")) around.cgroup = value;
	if (!strcmp(word, "state")) around.state = value;
	if (!strcmp(word, "port")) around.port = atoi(value);
	if (!strcmp(word, "key")) around.key = atoi(value);
	if (!strcmp(word, "outside")) around.outside = atoi(value);
	for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++)
		if (!strcmp(word, "promise") && !strcmp(value, promises[i]))
			around.promised |= 1 << i;
	*--value = '=';
}

/* By the machine's own root nothing of this is tried. */
static void refuse_to_do_harm(void)
{
	unsigned inside, outside, count;
	FILE *map = fopen("/proc/self/uid_map", "re");

	if (map && fscanf(map, "%u %u %u", &inside, &outside, &count) == 3 && count == 4294967295U && !geteuid()) {
		fputs("hostile: not as root\n", stderr);
		exit(2);
	}
	if (map)
		fclose(map);
}

int main(int argc, char *argv[])
{
	int list = argc > 1 && !strcmp(argv[1], "--list");

	refuse_to_do_harm();
	look_at_descriptors();
	around.program = argv[0];
	for (int i = 1; i < argc; i++)
		understand(argv[i]);
	for (size_t i = 0; i < sizeof(catalogue) / sizeof(catalogue[0]); i++)
		for (const struct attack *attack = catalogue[i]; attack->name; attack++) {
			if (list)
				printf("%s\n", attack->name);
			else if (chosen(argc, argv, attack->name))
				run(attack);
		}
	puts("end of the catalogue");
	return 0;
}
