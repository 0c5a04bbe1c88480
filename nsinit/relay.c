#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "plan_ops.h"
#include "sys.h"

#define END_OF_FILE 4 /* ^D */

/* A terminal of the caller's never goes inside: through any descriptor of it a contained
 * program could read keys, change modes or push input (TIOCSTI, CVE-2017-5226). */
void relay_prepare(struct relay *relay, uint32_t mode)
{
	*relay = (struct relay){ .terminal = -1, .output = 1, .master_fd = -1 };
	for (int fd = 2; fd >= 0; fd--) {
		bool is_terminal = isatty(fd);

		if (is_terminal)
			relay->terminal = fd;
		if (mode == TERMINAL_ALWAYS || (mode == TERMINAL_AUTO && is_terminal))
			relay->replaced |= 1u << fd;
	}
	if (!(relay->replaced & 2) && relay->replaced & 4)
		relay->output = 2;
	if (relay->terminal >= 0 && tcgetattr(relay->terminal, &relay->saved) < 0)
		relay->terminal = -1;
}

void relay_describe(const struct relay *relay, struct sync_message *hello)
{
	hello->number = relay->replaced;
	if (relay->terminal < 0)
		return;
	hello->flag = 1;
	hello->terminal = relay->saved;
	ioctl(relay->terminal, TIOCGWINSZ, &hello->window);
	/* Input that does not come from the terminal leaves it cooked: it translates newlines itself. */
	if (!(relay->replaced & 1 && isatty(0)))
		hello->terminal.c_oflag &= ~(tcflag_t)OPOST;
}

void relay_start(struct relay *relay, int master_fd)
{
	struct termios raw = relay->saved;

	relay->master_fd = master_fd;
	fcntl(master_fd, F_SETFL, O_RDWR | O_NONBLOCK);
	relay->input_open = relay->replaced & 1;
	if (!(relay->replaced & 1) || !isatty(0))
		return;
	cfmakeraw(&raw);
	relay->raw = tcsetattr(0, TCSADRAIN, &raw) == 0;
	relay_window(relay); /* it may have changed since we asked */
}

void relay_window(const struct relay *relay)
{
	struct winsize window;

	if (relay->terminal >= 0 && relay->master_fd >= 0 && !ioctl(relay->terminal, TIOCGWINSZ, &window))
		ioctl(relay->master_fd, TIOCSWINSZ, &window);
}

void relay_events(const struct relay *relay, struct pollfd *input, struct pollfd *master)
{
	bool reads = relay->input_open && !relay->pending;

	*input = (struct pollfd){ .fd = reads ? 0 : -1, .events = POLLIN };
	*master = (struct pollfd){ .fd = relay->master_fd, .events = (short)(relay->pending ? POLLIN | POLLOUT : POLLIN) };
}

static void take_input(struct relay *relay)
{
	ssize_t size = read(0, relay->input, sizeof(relay->input));

	relay->pending_at = 0;
	if (size > 0) {
		relay->pending = (size_t)size;
	} else if (size == 0 || (errno != EINTR && errno != EAGAIN)) {
		relay->input_open = false;
		relay->input[0] = END_OF_FILE;
		relay->pending = 1;
	}
}

static void give_input(struct relay *relay)
{
	ssize_t size = write(relay->master_fd, relay->input + relay->pending_at, relay->pending);

	if (size > 0) {
		relay->pending_at += (size_t)size;
		relay->pending -= (size_t)size;
	} else if (errno != EAGAIN && errno != EINTR) {
		relay->pending = 0;
	}
}

/* false: nothing to read now, or nobody left to write. */
static bool take_output(struct relay *relay)
{
	char output[RELAY_BUFFER];
	ssize_t size = read(relay->master_fd, output, sizeof(output));

	if (size > 0) {
		write_whole(relay->output, output, (size_t)size);
		return true;
	}
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	close_fd(&relay->master_fd); /* EIO: the last slave was closed */
	relay->master_fd = -1;
	return false;
}

void relay_pass(struct relay *relay, short input_events, short master_events)
{
	if (input_events)
		take_input(relay);
	if (relay->pending && relay->master_fd >= 0)
		give_input(relay);
	if (master_events & (POLLIN | POLLHUP | POLLERR) && relay->master_fd >= 0)
		take_output(relay);
}

/* What the sandbox wrote before it ended. */
void relay_drain(struct relay *relay)
{
	while (relay->master_fd >= 0 && take_output(relay))
		;
	close_fd(&relay->master_fd);
	relay->master_fd = -1;
}

void relay_restore(struct relay *relay)
{
	if (relay->raw)
		tcsetattr(0, TCSADRAIN, &relay->saved);
	relay->raw = false;
}
