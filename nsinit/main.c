/* One static program, three parts: what the user calls, what runs a plan that Python made, and
 * the first process inside. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "exit.h"
#include "init.h"
#include "launch.h"
#include "run.h"
#include "sys.h"

/* A closed standard descriptor would be taken by the next file that we open. */
static void open_standard_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(EXIT_OWN_FAILURE);
}

int main(int argc, char *argv[])
{
	const char *name = argc ? argv[0] : "";

	open_standard_fds();
	if (!strcmp(name, "sandbox-init"))
		return init_main(argv);
	/* What the caller left open does not reach the sandbox. */
	if (sys_close_on_exec_from(3) < 0) {
		dprintf(2, "sandbox: close_range: %s\n  hint: Linux 5.12 or newer is needed\n", strerror(errno));
		return EXIT_OWN_FAILURE;
	}
	if (!strcmp(name, "sandbox-plan"))
		return launch_plan_main(argv);
	return launch_main(argv);
}
