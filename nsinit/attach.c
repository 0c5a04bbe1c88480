#define _GNU_SOURCE
#include "attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys.h"

void attach_none(struct attach *attach)
{
	*attach = (struct attach){ .socket_fd = -1 };
	for (size_t i = 0; i < ATTACHED_MAX; i++)
		attach->fds[i] = -1;
}

/* For its owner alone.  The mode is that of the socket, by which it is bound. */
int attach_open(struct attach *attach, int directory_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/attach", directory_fd);
	attach->socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (attach->socket_fd < 0)
		return -1;
	if (fchmod(attach->socket_fd, 0600) < 0 || bind(attach->socket_fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return listen(attach->socket_fd, ATTACHED_MAX);
}

static void let_go(struct attach *attach, size_t index)
{
	close_fd(&attach->fds[index]);
	attach->fds[index] = -1;
	attach->owed[index] = false;
}

/* Another version's packets are passed over, and so is what is none. */
struct attach_packet attach_read(const char *bytes, size_t size)
{
	struct attach_packet packet = { 0 };
	const unsigned char *numbers = (const unsigned char *)bytes + 1;

	if (size == 0)
		return packet;
	if (bytes[0] == ATTACH_DATA && size > 1) {
		packet.letter = ATTACH_DATA;
		packet.bytes = bytes + 1;
		packet.size = size - 1;
	} else if (bytes[0] == ATTACH_CLOSE) {
		packet.letter = ATTACH_CLOSE;
	} else if (bytes[0] == ATTACH_WINDOW && size == 5) {
		packet.letter = ATTACH_WINDOW;
		packet.rows = (uint16_t)(numbers[0] | numbers[1] << 8);
		packet.columns = (uint16_t)(numbers[2] | numbers[3] << 8);
	}
	return packet;
}

static int patience_left(const struct attach *attach)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	long long passed = (now.tv_sec - attach->since.tv_sec) * 1000ll + (now.tv_nsec - attach->since.tv_nsec) / 1000000;
	return passed >= ATTACH_PATIENCE_MS ? 0 : (int)(ATTACH_PATIENCE_MS - passed);
}

bool attach_waits(const struct attach *attach)
{
	for (size_t i = 0; i < ATTACHED_MAX; i++)
		if (attach->owed[i])
			return true;
	return false;
}

int attach_events(const struct attach *attach, struct pollfd events[ATTACH_EVENTS], bool takes)
{
	events[0] = (struct pollfd){ .fd = attach->socket_fd, .events = POLLIN };
	for (size_t i = 0; i < ATTACHED_MAX; i++) {
		short wanted = (short)((takes ? POLLIN : 0) | (attach->owed[i] ? POLLOUT : 0));

		/* That one has gone would be told again and again. */
		events[1 + i] = (struct pollfd){ .fd = wanted ? attach->fds[i] : -1, .events = wanted };
	}
	return attach_waits(attach) ? patience_left(attach) + 1 : -1;
}

void attach_accept(struct attach *attach, const struct pollfd events[ATTACH_EVENTS], unsigned char flags)
{
	const unsigned char hello[] = { ATTACH_HELLO, flags };
	size_t place = 0;

	if (!events[0].revents)
		return;
	int fd = accept4(attach->socket_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (place < ATTACHED_MAX && attach->fds[place] >= 0)
		place++;
	/* One too many finds that the other side is gone. */
	if (fd < 0 || place == ATTACHED_MAX || send(fd, hello, sizeof(hello), MSG_NOSIGNAL) < 0)
		close_fd(&fd);
	else
		attach->fds[place] = fd;
}

bool attach_receive(struct attach *attach, struct pollfd events[ATTACH_EVENTS], char bytes[1 + ATTACH_INPUT],
		    struct attach_packet *packet)
{
	for (size_t i = 0; i < ATTACHED_MAX; i++) {
		struct pollfd *event = &events[1 + i];

		if (attach->fds[i] < 0 || event->fd != attach->fds[i] || !(event->events & POLLIN) ||
		    !(event->revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		event->revents = 0;
		ssize_t size = recv(attach->fds[i], bytes, 1 + ATTACH_INPUT, MSG_DONTWAIT | MSG_TRUNC);
		if (size > 0 && size <= 1 + ATTACH_INPUT) {
			*packet = attach_read(bytes, (size_t)size);
			return true;
		}
		if (size >= 0 || (errno != EAGAIN && errno != EINTR))
			let_go(attach, i);
	}
	return false;
}

static void send_to(struct attach *attach, size_t index, const char *packet, size_t size)
{
	ssize_t sent = send(attach->fds[index], packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	attach->owed[index] = sent < 0 && (errno == EAGAIN || errno == ENOBUFS);
	if (sent < 0 && !attach->owed[index])
		let_go(attach, index);
}

void attach_send(struct attach *attach, const char *packet, size_t size)
{
	clock_gettime(CLOCK_MONOTONIC, &attach->since);
	for (size_t i = 0; i < ATTACHED_MAX; i++)
		if (attach->fds[i] >= 0)
			send_to(attach, i, packet, size);
}

void attach_again(struct attach *attach, const char *packet, size_t size)
{
	bool over = patience_left(attach) == 0;

	for (size_t i = 0; i < ATTACHED_MAX; i++) {
		if (attach->owed[i])
			send_to(attach, i, packet, size);
		if (attach->owed[i] && over)
			let_go(attach, i);
	}
}

void attach_settle(struct attach *attach, const char *packet, size_t size)
{
	struct pollfd events[ATTACH_EVENTS];

	while (attach_waits(attach)) {
		int patience = attach_events(attach, events, false);

		events[0].fd = -1;
		if (poll(events, ATTACH_EVENTS, patience) < 0 && errno != EINTR)
			break;
		attach_again(attach, packet, size);
	}
}

void attach_end(struct attach *attach, const char *packet, size_t size, int status)
{
	const char end[] = { ATTACH_EXIT, (char)status };

	attach_settle(attach, packet, size);
	attach_send(attach, end, sizeof(end));
	attach_settle(attach, end, sizeof(end));
	for (size_t i = 0; i < ATTACHED_MAX; i++)
		let_go(attach, i);
	close_fd(&attach->socket_fd);
	attach->socket_fd = -1;
}
