#define _GNU_SOURCE
#include "notify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys.h"

int notify_prepare(const struct container *container, const struct plan *plan)
{
	if (!plan_find(plan, OP_NOTIFY_SOCKET))
		return 0;
	return mkdirat(container->fd, "notify", 0755);
}

int notify_open(const struct container *container, const struct plan *plan)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (!plan_find(plan, OP_NOTIFY_SOCKET))
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/notify/notify.sock", container->fd);
	unlinkat(container->fd, "notify/notify.sock", 0);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* Whoever the command is inside may write to it. */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(container->fd, "notify/notify.sock", 0777, 0) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool tell(const char *path, const char *text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t length = strlen(path);

	if (fd < 0 || length >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		address.sun_path[0] = 0; /* the abstract namespace */
	return sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) >= 0;
}

/* Of all that it may say only its readiness goes on: what else systemd takes is not a container's to ask. */
bool notify_pass(int socket_fd, const struct plan *plan, pid_t pid)
{
	const struct plan_notify_socket *op = (const struct plan_notify_socket *)plan_find(plan, OP_NOTIFY_SOCKET);
	char text[4096], main_pid[32];
	ssize_t size = recv(socket_fd, text, sizeof(text) - 1, 0);

	if (!op || size <= 0)
		return false;
	text[size] = 0;
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "READY=1", 7) != 0 || (line[7] && line[7] != '\n'))
			continue;
		snprintf(main_pid, sizeof(main_pid), "MAINPID=%d\n", pid);
		tell(plan_text(plan, op->host), "READY=1\n");
		tell(plan_text(plan, op->host), main_pid);
		return true;
	}
	return false;
}
