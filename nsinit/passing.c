#define _GNU_SOURCE
#include "passing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys.h"

/* A path that is too long for the address is reached by a descriptor of the socket's own. */
static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_fd int place_fd = open(path, O_PATH | O_CLOEXEC);
	int fd = place_fd < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", place_fd);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int pass_fd(const char *path, int fd, const void *data, size_t size)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
	cleanup_fd int socket_fd = connect_to(path);
	ssize_t sent;

	if (socket_fd < 0)
		return -1;
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	do
		sent = sendmsg(socket_fd, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	/* The descriptor goes with the first byte. */
	return sent > 0 && write_whole(socket_fd, (const char *)data + sent, size - (size_t)sent) ? 0 : -1;
}
