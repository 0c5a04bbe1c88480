/* One static program, told by its name which part it is: what people call, what engines call, what runs a plan that
 * Python made, and the first process inside. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"
#include "exec.h"
#include "exit.h"
#include "init.h"
#include "join.h"
#include "launch.h"
#include "python.h"
#include "run.h"
#include "sys.h"

/* A closed standard descriptor would be taken by the next file that we open. */
static void open_standard_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(EXIT_OWN_FAILURE);
}

/* A directory leads to all that lies around it, by /proc/self/fd/0/.. (runc CVE-2024-21626). */
static bool has_directory(const char *program)
{
	static const char *const names[] = { "standard input", "standard output", "standard error" };
	struct stat status;

	for (int fd = 0; fd < 3; fd++)
		if (!fstat(fd, &status) && S_ISDIR(status.st_mode)) {
			dprintf(2, "%s: %s is a directory\n  hint: show a directory by %s, and hand in a file\n", program,
				names[fd], strcmp(program, "sandbox") ? "a mount" : "--read");
			return true;
		}
	return false;
}

int main(int argc, char *argv[])
{
	const char *name = argc ? argv[0] : "";
	/* Not basename(3): since musl 1.2.5, <string.h> declares it no more, and <libgen.h>'s is another. */
	const char *slash = strrchr(name, '/');

	open_standard_fds();
	python_take_back();
	if (!strcmp(name, "sandbox-init"))
		return init_main(argv);
	if (!strcmp(name, "sandbox-join") || !strcmp(name, "sandbox-enter"))
		return join_main(argv);
	if (!strcmp(name, "sandbox-oci-plan"))
		return has_directory("sandbox-oci") ? 1 : engine_plan_main(argv);
	if (!strcmp(slash ? slash + 1 : name, "sandbox-oci"))
		return has_directory("sandbox-oci") ? 1 : engine_main(argv);
	/* What the caller left open does not reach the sandbox. */
	if (sys_close_on_exec_from(3) < 0) {
		dprintf(2, "sandbox: close_range: %s\n  hint: Linux 5.12 or newer is needed\n", strerror(errno));
		return EXIT_OWN_FAILURE;
	}
	if (has_directory("sandbox"))
		return EXIT_OWN_FAILURE;
	if (!strcmp(name, "sandbox-exec"))
		return exec_plan_main(argv);
	if (!strcmp(name, "sandbox-plan"))
		return launch_plan_main(argv);
	return launch_main(argv);
}
