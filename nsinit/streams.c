/* The streams of a detached sandbox's command: from it to the log and to those who are attached, and from those to it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "keeper.h"
#include "monitor.h"
#include "signals.h"
#include "sys.h"

static int output_of(const struct keeper *keeper, int index)
{
	return index == 0 && keeper->master_fd >= 0 ? keeper->master_fd : keeper->output[index];
}

static bool takes_input(const struct keeper *keeper)
{
	return !keeper->input_size && !keeper->input_ends;
}

int keeper_events(const struct keeper *keeper, struct pollfd events[KEEPER_EVENTS], int patience)
{
	/* Nothing is read of the command while somebody is behind, for a while. */
	bool reads = !attach_waits(&keeper->attach);

	events[KEEPER_EXEC] = (struct pollfd){ .fd = keeper->exec_fd, .events = POLLIN };
	for (int i = 0; i < 2; i++)
		events[KEEPER_STDOUT + i] = (struct pollfd){ .fd = reads ? output_of(keeper, i) : -1, .events = POLLIN };
	events[KEEPER_INPUT] = (struct pollfd){
		.fd = keeper->input_size || keeper->input_ends ? keeper->input_fd : -1, .events = POLLOUT,
	};
	int own = attach_events(&keeper->attach, &events[KEEPER_ATTACH], takes_input(keeper));
	return own < 0 || (patience >= 0 && patience < own) ? patience : own;
}

/* false: there is nothing to be read now, or never again. */
static bool take_output(struct keeper *keeper, int index)
{
	int fd = output_of(keeper, index);
	ssize_t size = fd < 0 ? 0 : read(fd, keeper->packet + 1, sizeof(keeper->packet) - 1);

	if (fd < 0 || (size < 0 && (errno == EAGAIN || errno == EINTR)))
		return false;
	if (size <= 0) { /* nobody has the other end; of a terminal that is EIO */
		int *owned = fd == keeper->master_fd ? &keeper->master_fd : &keeper->output[index];

		if (keeper->input_fd == fd)
			keeper->input_fd = -1;
		close_fd(owned);
		*owned = -1;
		return false;
	}
	keeper->packet[0] = index == 0 ? ATTACH_STDOUT : ATTACH_STDERR;
	keeper->packet_size = 1 + (size_t)size;
	log_write(&keeper->log, index == 0 ? "stdout" : "stderr", keeper->packet + 1, (size_t)size);
	attach_send(&keeper->attach, keeper->packet, keeper->packet_size);
	return true;
}

/* The end of the input: of a terminal it is typed, once where a line begins, and once more to end a line that was begun. */
static void end_input(struct keeper *keeper)
{
	struct termios modes;

	keeper->input_ends = false;
	if (keeper->input_fd < 0)
		return;
	if (keeper->input_fd != keeper->master_fd) {
		close_fd(&keeper->input_fd);
		keeper->input_fd = -1;
	} else if (!tcgetattr(keeper->master_fd, &modes) && modes.c_lflag & ICANON) {
		keeper->input[0] = keeper->input[1] = (char)modes.c_cc[VEOF];
		keeper->input_at = 0;
		keeper->input_size = keeper->line_begun ? 2 : 1;
		keeper->line_begun = false;
	}
}

static void give_input(struct keeper *keeper)
{
	if (keeper->input_size) {
		ssize_t size = write(keeper->input_fd, keeper->input + keeper->input_at, keeper->input_size);

		if (size > 0) {
			keeper->input_at += (size_t)size;
			keeper->input_size -= (size_t)size;
		} else if (errno != EAGAIN && errno != EINTR) { /* nobody reads it, now or later */
			if (errno == EPIPE)
				signals_forget(SIGPIPE);
			keeper->input_size = 0;
			keeper->input_ends = keeper->input_fd != keeper->master_fd;
		}
	}
	if (!keeper->input_size && keeper->input_ends)
		end_input(keeper);
}

static void take_packet(struct keeper *keeper, const struct attach_packet *packet)
{
	struct winsize window = { .ws_row = packet->rows, .ws_col = packet->columns };

	switch (packet->letter) {
	case ATTACH_DATA:
		if (keeper->input_fd < 0)
			break;
		keeper->input_at = (size_t)(packet->bytes - keeper->input);
		keeper->input_size = packet->size;
		keeper->line_begun = packet->bytes[packet->size - 1] != '\n';
		break;
	case ATTACH_CLOSE:
		keeper->input_ends = keeper->input_fd >= 0;
		break;
	case ATTACH_WINDOW:
		if (keeper->master_fd >= 0)
			ioctl(keeper->master_fd, TIOCSWINSZ, &window);
		break;
	case ATTACH_HELLO:
	case ATTACH_STDOUT:
	case ATTACH_STDERR:
	case ATTACH_EXIT:
		break;
	}
}

void keeper_starting(struct keeper *keeper, int exec_fd)
{
	close_fd(&keeper->exec_fd);
	keeper->exec_fd = fcntl(exec_fd, F_DUPFD_CLOEXEC, 3);
}

/* The command runs, unless there is a word of its failure, which comes before the end of the pipe. */
static void see_start(struct keeper *keeper)
{
	struct monitor *monitor = keeper->monitor;
	struct pollfd event = { .fd = monitor->sync_fd, .events = POLLIN };

	if (!monitor->running && poll(&event, 1, 0) > 0)
		return;
	close_fd(&keeper->exec_fd);
	keeper->exec_fd = -1;
	monitor->running = monitor->ready && !monitor->failed;
}

void keeper_pass(struct keeper *keeper, struct pollfd events[KEEPER_EVENTS])
{
	const unsigned char flags = (keeper->master_fd >= 0 ? ATTACH_TERMINAL : 0) | (keeper->input_fd >= 0 ? ATTACH_INTERACTIVE : 0);
	struct attach_packet packet;

	if (events[KEEPER_EXEC].revents)
		see_start(keeper);
	if (attach_waits(&keeper->attach))
		attach_again(&keeper->attach, keeper->packet, keeper->packet_size);
	for (int i = 0; i < 2; i++)
		if (events[KEEPER_STDOUT + i].revents && !attach_waits(&keeper->attach))
			take_output(keeper, i);
	if (events[KEEPER_INPUT].revents && keeper->input_fd >= 0)
		give_input(keeper);
	attach_accept(&keeper->attach, &events[KEEPER_ATTACH], flags);
	while (takes_input(keeper) && attach_receive(&keeper->attach, &events[KEEPER_ATTACH], keeper->input, &packet))
		take_packet(keeper, &packet);
}

bool keeper_terminal(struct keeper *keeper, int master_fd)
{
	if (keeper->master_fd >= 0)
		return false;
	keeper->master_fd = master_fd;
	fcntl(master_fd, F_SETFL, O_RDWR | O_NONBLOCK);
	/* A command that closes its terminal does not lose it. */
	keeper->slave_fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (keeper->interactive)
		keeper->input_fd = master_fd;
	return true;
}

/* What was written before the end; others outside may have been handed a stream, and go on to write. */
void keeper_drain(struct keeper *keeper)
{
	for (int i = 0; i < 2; i++)
		for (size_t rounds = 0; rounds < KEEPER_DRAIN_ROUNDS; rounds++) {
			attach_settle(&keeper->attach, keeper->packet, keeper->packet_size);
			if (!take_output(keeper, i))
				break;
		}
}
