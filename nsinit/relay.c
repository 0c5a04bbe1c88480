#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "plan_ops.h"
#include "sys.h"

/* Nothing to pass. */
void relay_none(struct relay *relay)
{
	*relay = (struct relay){
		.inner = { -1, -1, -1 }, .terminal = -1, .output_fd = 1, .pipe_fd = -1, .master_fd = -1, .slave_fd = -1,
	};
}

/* A terminal takes a whole piece or waits, and may have room for less: somebody who does not read it would make us deaf.
 * So it is opened once more; the caller's own description stays as it is. */
static int without_waiting(int fd)
{
	char path[32];

	if (!isatty(fd))
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own_fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own_fd < 0 ? fd : own_fd;
}

/* A terminal of the caller's never goes inside: through any descriptor of it a contained program could read keys,
 * change modes or push input (TIOCSTI, CVE-2017-5226), also by opening it again through /proc/self/fd.  Where it is to
 * have no terminal of its own either, its output goes through a pipe, and its input is empty. */
int relay_prepare(struct relay *relay, uint32_t mode)
{
	int pair[2];

	relay_none(relay);
	for (int fd = 2; fd >= 0; fd--) {
		bool is_terminal = isatty(fd);

		if (is_terminal)
			relay->terminal = fd;
		if (mode == TERMINAL_ALWAYS || (mode == TERMINAL_AUTO && is_terminal))
			relay->replaced |= 1u << fd;
		else if (is_terminal)
			relay->piped |= 1u << fd;
	}
	unsigned int outputs = (relay->replaced | relay->piped) & 6;
	if (outputs)
		relay->output_fd = outputs & 2 ? 1 : 2;
	else if (relay->replaced)
		relay->output_fd = relay->terminal; /* the echo of what is typed is nobody's output */
	if (relay->terminal >= 0)
		relay->output_fd = without_waiting(relay->output_fd);
	if (relay->terminal >= 0 && tcgetattr(relay->terminal, &relay->saved) < 0)
		relay->terminal = -1;
	if (relay->piped & 6) {
		if (pipe2(pair, O_CLOEXEC) < 0)
			return -1;
		relay->master_fd = pair[0];
		relay->pipe_fd = pair[1];
		fcntl(relay->master_fd, F_SETFL, O_NONBLOCK);
	}
	return 0;
}

/* In the sandbox's first process, before anything of it runs. */
int relay_enter(const struct relay *relay)
{
	if (relay->piped & 1) {
		cleanup_fd int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (null_fd < 0 || dup2(null_fd, 0) < 0)
			return -1;
	}
	for (int fd = 1; fd < 3; fd++)
		if (relay->piped >> fd & 1 && dup2(relay->pipe_fd, fd) < 0)
			return -1;
	for (int fd = 0; fd < 3; fd++)
		if (relay->inner[fd] >= 0 && dup2(relay->inner[fd], fd) < 0)
			return -1;
	return 0;
}

/* Input or other output that is not the terminal's, and others who write to it (`sandbox run … | less`): the caller's
 * terminal goes on to translate newlines, and the sandbox's does not. */
static bool translates_outside(const struct relay *relay)
{
	return relay->keep_newlines || !(relay->replaced & 1) || relay->terminal != 0 || (relay->replaced & 6) != 6;
}

/* Does the sandbox's input come from the caller's terminal? */
static bool reads_terminal(const struct relay *relay)
{
	return relay->replaced & 1 && relay->terminal == 0;
}

void relay_describe(const struct relay *relay, struct sync_message *hello)
{
	hello->number = relay->replaced;
	if (relay->terminal < 0)
		return;
	hello->flag = 1;
	hello->terminal = relay->saved;
	ioctl(relay->terminal, TIOCGWINSZ, &hello->window);
	if (translates_outside(relay))
		hello->terminal.c_oflag &= ~(tcflag_t)(relay->keep_newlines ? ONLCR : OPOST);
}

void relay_start(struct relay *relay, int master_fd)
{
	relay->master_fd = master_fd;
	fcntl(master_fd, F_SETFL, O_RDWR | O_NONBLOCK);
	relay->slave_fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	relay->input_open = relay->replaced & 1;
	relay_resume(relay);
}

/* In the background the terminal is somebody else's. */
static bool has_terminal(const struct relay *relay)
{
	return !reads_terminal(relay) || tcgetpgrp(0) == getpgrp();
}

/* Is the sandbox to have the caller's terminal, and has not got it?  A shell's `fg` gives it without a word to a job
 * that runs already. */
bool relay_waits(const struct relay *relay)
{
	return relay->master_fd >= 0 && !relay->raw && reads_terminal(relay);
}

/* Take the caller's terminal, if it is ours to take: at the start, and when the shell has put us
 * into the foreground again. */
void relay_resume(struct relay *relay)
{
	struct termios raw;

	if (!relay_waits(relay) || !has_terminal(relay))
		return;
	if (tcgetattr(0, &relay->saved) < 0)
		return;
	raw = relay->saved;
	cfmakeraw(&raw);
	if (translates_outside(relay))
		raw.c_oflag = relay->saved.c_oflag;
	relay->raw = tcsetattr(0, TCSADRAIN, &raw) == 0;
	relay_window(relay); /* it may have changed meanwhile */
}

void relay_window(const struct relay *relay)
{
	struct winsize window;

	if (relay->terminal >= 0 && relay->master_fd >= 0 && !ioctl(relay->terminal, TIOCGWINSZ, &window))
		ioctl(relay->master_fd, TIOCSWINSZ, &window);
}

/* Each side is read only when what was read before has been taken. */
void relay_events(const struct relay *relay, struct pollfd events[RELAY_EVENTS])
{
	bool reads = relay->input_open && !relay->input.size && has_terminal(relay);
	short master = (short)((relay->output.size ? 0 : POLLIN) | (relay->input.size ? POLLOUT : 0));

	events[RELAY_INPUT] = (struct pollfd){ .fd = reads ? 0 : -1, .events = POLLIN };
	events[RELAY_MASTER] = (struct pollfd){ .fd = master ? relay->master_fd : -1, .events = master };
	events[RELAY_OUTPUT] = (struct pollfd){ .fd = relay->output.size ? relay->output_fd : -1, .events = POLLOUT };
}

/* The end of the input is typed as the terminal's end-of-file character: once where a line begins,
 * and once more to end a line that was begun. */
static void type_end(struct relay *relay)
{
	struct termios modes;

	relay->input_open = false;
	if (tcgetattr(relay->master_fd, &modes) < 0 || !(modes.c_lflag & ICANON))
		return;
	relay->input.bytes[0] = relay->input.bytes[1] = (char)modes.c_cc[VEOF];
	relay->input.start = 0;
	relay->input.size = relay->line_begun ? 2 : 1;
}

static void take_input(struct relay *relay)
{
	ssize_t size = read(0, relay->input.bytes, sizeof(relay->input.bytes));

	if (size > 0) {
		relay->input.start = 0;
		relay->input.size = (size_t)size;
		relay->line_begun = relay->input.bytes[size - 1] != '\n';
	} else if (size == 0 || (errno != EINTR && errno != EAGAIN)) {
		type_end(relay);
	}
}

/* Write what there is, a piece that fits where poll(2) said that there is room.  An end that
 * takes nothing more loses the rest. */
static void give(int fd, struct relay_buffer *buffer)
{
	size_t piece = buffer->size < PIPE_BUF ? buffer->size : PIPE_BUF;
	ssize_t size = write(fd, buffer->bytes + buffer->start, piece);

	if (size > 0) {
		buffer->start += (size_t)size;
		buffer->size -= (size_t)size;
	} else if (errno != EAGAIN && errno != EINTR) {
		buffer->size = 0;
	}
}

/* false: nothing to read now, or nobody left to write. */
static bool take_output(struct relay *relay)
{
	ssize_t size = read(relay->master_fd, relay->output.bytes, sizeof(relay->output.bytes));

	if (size > 0) {
		relay->output.start = 0;
		relay->output.size = (size_t)size;
		return true;
	}
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	close_fd(&relay->master_fd);
	relay->master_fd = -1;
	return false;
}

void relay_pass(struct relay *relay, const struct pollfd events[RELAY_EVENTS])
{
	if (events[RELAY_INPUT].revents)
		take_input(relay);
	if (relay->input.size && relay->master_fd >= 0)
		give(relay->master_fd, &relay->input);
	if (events[RELAY_OUTPUT].revents)
		give(relay->output_fd, &relay->output);
	if (events[RELAY_MASTER].revents & (POLLIN | POLLHUP | POLLERR) && !relay->output.size)
		take_output(relay);
}

/* The caller wants us to end: whoever does not read now is not waited for. */
void relay_hurry(struct relay *relay, uint32_t signal_number)
{
	if (signal_number == SIGTERM || signal_number == SIGINT || signal_number == SIGHUP || signal_number == SIGQUIT)
		relay->hurried = true;
}

/* What the sandbox wrote before it was stopped, an editor's farewell to the screen. */
void relay_flush(struct relay *relay)
{
	for (int round = 0; round < RELAY_FLUSH_ROUNDS; round++) {
		struct pollfd event = { .fd = relay->output_fd, .events = POLLOUT };

		if (!relay->output.size && (relay->master_fd < 0 || !take_output(relay)))
			return;
		if (poll(&event, 1, RELAY_PATIENCE_MS) <= 0)
			return;
		give(relay->output_fd, &relay->output);
	}
}

/* What the sandbox wrote before it ended. */
void relay_drain(struct relay *relay, int signals_fd)
{
	struct signalfd_siginfo info;

	while (relay->output.size || (relay->master_fd >= 0 && take_output(relay))) {
		struct pollfd events[] = { { .fd = relay->output_fd, .events = POLLOUT },
					   { .fd = signals_fd, .events = POLLIN } };
		int ready = poll(events, 2, relay->hurried ? RELAY_PATIENCE_MS : -1);

		if (ready == 0 || (ready < 0 && errno != EINTR))
			break;
		if (events[0].revents)
			give(relay->output_fd, &relay->output);
		if (events[1].revents && read(signals_fd, &info, sizeof(info)) == sizeof(info))
			relay_hurry(relay, info.ssi_signo);
	}
	close_fd(&relay->master_fd);
	close_fd(&relay->slave_fd);
	relay->master_fd = relay->slave_fd = -1;
}

void relay_restore(struct relay *relay)
{
	if (relay->raw && has_terminal(relay))
		tcsetattr(0, TCSADRAIN, &relay->saved);
	relay->raw = false;
}
