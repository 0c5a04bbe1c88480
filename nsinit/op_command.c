/* Where the command is, and where it starts. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

/* A directory that we were left in from outside shows as "(unreachable)…" (runc CVE-2024-21626).
 *
 * A plan may try twice: as root, whom some directories let in that refuse the command's user, and as that user, whom
 * others let in. */
int op_working_directory(struct run *run, const struct plan_working_directory *op)
{
	const char *path = plan_text(run->plan, op->path);
	char where[PATH_MAX];

	if (op->again && run->arrived)
		return 0;
	if (chdir(path) < 0)
		return refuse(run, "chdir", path);
	if (syscall(SYS_getcwd, where, sizeof(where)) < 0)
		return refuse(run, "getcwd", path);
	if (where[0] != '/')
		return refuse_with(run, ENOENT, "getcwd", path);
	run->arrived = true;
	return 0;
}

/* --- the command ------------------------------------------------------------------------------------ */

static bool is_command(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return false;
	if (!S_ISREG(status.st_mode)) {
		errno = EACCES;
		return false;
	}
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Where there is no `/` in it, what cannot be executed is passed over, and counts as absent. */
int op_find_command(struct run *run, const struct plan_find_command *op)
{
	const char *name = run->command, *directory = getenv("PATH");
	char path[PATH_MAX];

	(void)op;
	if (strchr(name, '/'))
		return is_command(name) ? 0 : refuse(run, "exec", name);
	while (directory && *name) {
		const char *end = strchrnul(directory, ':');
		int length = snprintf(path, sizeof(path), "%.*s%s%s", (int)(end - directory), directory,
				      end > directory ? "/" : "./", name);

		if (length > 0 && (size_t)length < sizeof(path) && is_command(path))
			return 0;
		directory = *end ? end + 1 : NULL;
	}
	return refuse_with(run, ENOENT, "exec", name);
}

/* --- home --------------------------------------------------------------------------------------------- */

#define PASSWD_MAX (1 << 20)
#define PASSWD_LINE_MAX 1024

/* The home in `line` if it is that of `uid`: name:password:uid:gid:gecos:home:shell.  What is not plainly so is nobody's:
 * nothing is guessed (crun, 2026). */
static const char *home_in(char *line, uint32_t uid)
{
	char *fields[7], expected[16];
	int count = 0;

	for (char *next = line; next && count < 7;)
		fields[count++] = strsep(&next, ":");
	snprintf(expected, sizeof(expected), "%u", uid);
	if (count < 7 || strcmp(fields[2], expected) != 0 || fields[5][0] != '/')
		return NULL;
	return fields[5];
}

/* Find the first home of `uid` in `fd`, in `line`; NULL: there is none.  A line that is too long is passed over, and what
 * lies behind so many bytes is not read: the file is the image's. */
static const char *find_home(int fd, uint32_t uid, char line[PASSWD_LINE_MAX])
{
	char buffer[4096];
	size_t length = 0;
	ssize_t size;

	for (size_t total = 0; total < PASSWD_MAX && (size = read(fd, buffer, sizeof(buffer))) > 0; total += (size_t)size)
		for (ssize_t i = 0; i < size; i++) {
			if (buffer[i] != '\n') {
				if (length < PASSWD_LINE_MAX)
					line[length++] = buffer[i];
				continue;
			}
			bool fits = length < PASSWD_LINE_MAX;
			line[fits ? length : 0] = 0;
			length = 0;
			const char *home = fits ? home_in(line, uid) : NULL;
			if (home)
				return home;
		}
	line[length < PASSWD_LINE_MAX ? length : 0] = 0; /* the last may lack its end */
	return home_in(line, uid);
}

/* To have an empty HOME is to have none, as in runc.  A file that cannot be read names nobody. */
int op_find_home(struct run *run, const struct plan_find_home *op)
{
	const char *present = getenv("HOME"), *home = NULL;
	char line[PASSWD_LINE_MAX];
	struct stat status;

	if (present && *present)
		return 0;
	/* The image's: it may be a fifo, or a symlink to the host's. */
	cleanup_fd int fd = open_below(run, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && !fstat(fd, &status) && S_ISREG(status.st_mode))
		home = find_home(fd, op->uid, line);
	return setenv("HOME", home ? home : "/", 1) < 0 ? refuse(run, "setenv", "HOME") : 0;
}
