#define _GNU_SOURCE
#include "sync.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t retry_send(int sync_fd, const struct msghdr *header)
{
	ssize_t sent;

	do
		sent = sendmsg(sync_fd, header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent;
}

int sync_send_fd(int sync_fd, const struct sync_message *message, int fd)
{
	struct iovec part = { .iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	}
	return retry_send(sync_fd, &header) == (ssize_t)sizeof(*message) ? 0 : -1;
}

int sync_send(int sync_fd, const struct sync_message *message)
{
	return sync_send_fd(sync_fd, message, -1);
}

/* 1: a message; 0: the other end is gone; -1: an error, EBADMSG for a message of the wrong size.
 * `fd`, where given, receives a descriptor or -1. */
int sync_receive(int sync_fd, struct sync_message *message, int *fd)
{
	struct iovec part = { .iov_base = message, .iov_len = sizeof(*message) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t size;
	int received = -1;

	do
		size = recvmsg(sync_fd, &header, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return errno == ECONNRESET ? 0 : -1;
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
	if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
	    rights->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&received, CMSG_DATA(rights), sizeof(received));
	if (fd)
		*fd = received;
	else if (received >= 0)
		close(received);
	if (size == 0)
		return 0;
	if (size != (ssize_t)sizeof(*message)) {
		errno = EBADMSG;
		return -1;
	}
	message->call[sizeof(message->call) - 1] = 0;
	message->subject[sizeof(message->subject) - 1] = 0;
	return 1;
}
