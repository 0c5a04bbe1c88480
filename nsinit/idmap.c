/* Id maps of more than one's own id are filled by the system's setuid helpers, by /etc/subuid and /etc/subgid. */
#define _GNU_SOURCE
#include "idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sync.h"
#include "sys.h"

/* The map's numbers become arguments: helper PID inside outside count … */
static int run_helper(const char *helper, pid_t process, const char *map)
{
	enum { MOST = 64 };
	char words[2048], pid[16];
	char *argv[MOST + 3] = { (char *)(uintptr_t)helper, pid };
	char *const envp[] = { NULL };
	sigset_t none;
	struct stat about;
	int count = 2, status;

	snprintf(pid, sizeof(pid), "%d", process);
	/* The system's own, or none: it is executed outside. */
	if (stat(helper, &about) < 0)
		return -1;
	if (about.st_uid != 0 || about.st_mode & (S_IWGRP | S_IWOTH)) {
		errno = EPERM;
		return -1;
	}
	if (strlen(map) >= sizeof(words)) {
		errno = E2BIG;
		return -1;
	}
	strcpy(words, map);
	for (char *word = strtok(words, " \n"); word; word = strtok(NULL, " \n")) {
		if (count == MOST + 2) {
			errno = E2BIG;
			return -1;
		}
		argv[count++] = word;
	}
	pid_t child = fork();
	if (child < 0)
		return -1;
	if (child == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		/* What it says would stand in a log of lines of another form; the refusal names the ids. */
		int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (null_fd < 0 || dup2(null_fd, 2) < 0)
			_exit(126);
		execve(helper, argv, envp);
		_exit(errno == ENOENT ? 127 : 126);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	errno = WIFEXITED(status) && WEXITSTATUS(status) == 127 ? ENOENT : EPERM;
	return status ? -1 : 0;
}

/* With the right to: as root of the namespace that we are in. */
static int write_map(pid_t process, const char *name, const char *map)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", process, name);
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write_whole(fd, map, strlen(map)) ? 0 : -1;
}

int map_ids(const struct plan *plan, pid_t process, int sync_fd, const char **call, const char **subject)
{
	const struct plan_map_ids *op = (const struct plan_map_ids *)plan_find(plan, OP_MAP_IDS);
	struct sync_message mapped = { .type = SYNC_MAPPED };

	if (op && op->by_monitor) {
		*call = "write";
		*subject = "uid_map";
		if (write_map(process, "uid_map", plan_text(plan, op->uid_map)) < 0)
			return -1;
		*subject = "gid_map";
		if (write_map(process, "gid_map", plan_text(plan, op->gid_map)) < 0)
			return -1;
		*call = "sendmsg";
		return sync_send(sync_fd, &mapped);
	}
	if (!op || !*plan_text(plan, op->uid_helper))
		return 0;
	*call = "newuidmap";
	*subject = plan_text(plan, op->uid_helper);
	if (run_helper(*subject, process, plan_text(plan, op->uid_map)) < 0)
		return -1;
	*call = "newgidmap";
	*subject = plan_text(plan, op->gid_helper);
	if (run_helper(*subject, process, plan_text(plan, op->gid_map)) < 0)
		return -1;
	*call = "sendmsg";
	*subject = "";
	return sync_send(sync_fd, &mapped);
}
