#define _GNU_SOURCE
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "listing.h"
#include "sys.h"

#define DEPTH_MAX 64
#define PATIENCE_S 5

int notify_prepare(const struct container *container, const struct plan *plan)
{
	if (!plan_find(plan, OP_NOTIFY_SOCKET))
		return 0;
	return mkdirat(container->fd, "notify", 0755);
}

int notify_bind(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);

	if (length >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, length);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* Whoever the command is inside may write to it.  The mode is that of the socket, by which it is bound: its name may
	 * lead elsewhere by then. */
	mode_t before = umask(0);
	int error = fchmod(fd, 0777) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	umask(before);
	if (error) {
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int notify_open(const struct container *container, const struct plan *plan)
{
	char path[64];

	if (!plan_find(plan, OP_NOTIFY_SOCKET))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/notify/notify.sock", container->fd);
	unlinkat(container->fd, "notify/notify.sock", 0);
	return notify_bind(path);
}

/* Of links only themselves. */
static void remove_inside(int directory_fd, int depth)
{
	struct listing listing = { .fd = directory_fd };
	const struct dirent *entry;

	while ((entry = listing_next(&listing))) {
		if (!unlinkat(directory_fd, entry->d_name, 0))
			continue;
		cleanup_fd int fd = openat(directory_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && depth < DEPTH_MAX)
			remove_inside(fd, depth + 1);
		unlinkat(directory_fd, entry->d_name, AT_REMOVEDIR);
	}
}

void notify_remove(const struct container *container)
{
	if (!unlinkat(container->fd, "notify", AT_REMOVEDIR) || errno != ENOTEMPTY)
		return;
	cleanup_fd int fd = openat(container->fd, "notify", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		remove_inside(fd, 0);
	unlinkat(container->fd, "notify", AT_REMOVEDIR);
}

bool notify_tell(const char *path, const char *text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t length = strlen(path);

	if (fd < 0 || length >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		address.sun_path[0] = 0; /* the abstract namespace */
	/* Nobody may be reading there. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
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
		notify_tell(plan_text(plan, op->host), "READY=1\n");
		notify_tell(plan_text(plan, op->host), main_pid);
		return true;
	}
	return false;
}
