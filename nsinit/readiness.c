#define _GNU_SOURCE
#include "readiness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "monitor.h"
#include "notify.h"
#include "sys.h"

#define MOST_A_SECOND 32 /* messages of the command's; more wait in the kernel, and then their sender */
#define MOST_STATUS 512
#define MOST_DIGITS 20

static const char inside[] = "/dev/notify"; /* of every sandbox's own file system */

/* --- what the command says ----------------------------------------------------------------------------- */

static bool is(const char *line, size_t size, const char *text)
{
	return size == strlen(text) && !memcmp(line, text, size);
}

/* A number behind `name`. */
static bool is_number(const char *line, size_t size, const char *name)
{
	size_t length = strlen(name);

	if (size <= length || size > length + MOST_DIGITS || memcmp(line, name, length) != 0)
		return false;
	for (size_t i = length; i < size; i++)
		if (line[i] < '0' || line[i] > '9')
			return false;
	return true;
}

/* A text for people, who will see it on a terminal: without what that would obey. */
static size_t put_status(char *text, const char *line, size_t size)
{
	if (size > MOST_STATUS)
		for (size = MOST_STATUS; (line[size] & 0xc0) == 0x80; size--)
			;
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)line[i], next = i + 1 < size ? (unsigned char)line[i + 1] : 0;
		bool control = byte == 0xc2 && next >= 0x80 && next < 0xa0;

		text[i] = byte < 0x20 || byte == 0x7f || control ? ' ' : (char)byte;
		if (control)
			text[++i] = ' ';
	}
	return size;
}

/* Line by line: what is known to be the command's own to say.  Which process the service is, what is kept for it and how
 * long it may take are not. */
size_t readiness_filter(const char *message, size_t size, char text[READINESS_MAX])
{
	size_t put = 0, length;

	for (size_t at = 0; at < size; at += length + 1) {
		const char *line = message + at, *end = memchr(line, '\n', size - at);

		length = end ? (size_t)(end - line) : size - at;
		if (put + length + 2 > READINESS_MAX)
			break;
		if (is(line, length, "READY=1") || is(line, length, "STOPPING=1") || is(line, length, "RELOADING=1") ||
		    is(line, length, "WATCHDOG=1") || is_number(line, length, "ERRNO=") ||
		    is_number(line, length, "MONOTONIC_USEC=")) {
			memcpy(text + put, line, length);
			put += length;
		} else if (length >= 7 && !memcmp(line, "STATUS=", 7)) {
			put += put_status(text + put, line, length);
		} else {
			continue;
		}
		text[put++] = '\n';
	}
	text[put] = 0;
	return put;
}

static int64_t this_second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* A keeper is not whom the service manager has started, and so not whom it would wait for. */
static bool say_ready(const struct monitor *monitor, const char *text)
{
	char main_pid[32];

	snprintf(main_pid, sizeof(main_pid), "MAINPID=%d\n", getpid());
	if (monitor->keeper)
		notify_tell(monitor->readiness.host, main_pid);
	return notify_tell(monitor->readiness.host, text);
}

/* Descriptors that come with it are the kernel's to drop: no room is given for them.  Of more than fits nothing is taken. */
static bool pass_on(struct monitor *monitor)
{
	struct readiness *readiness = &monitor->readiness;
	char message[READINESS_MAX - 2], text[READINESS_MAX];
	ssize_t size = recv(monitor->notify_fd, message, sizeof(message), MSG_TRUNC | MSG_DONTWAIT);

	if (size < 0)
		return false;
	if (readiness->second != this_second())
		readiness->second = this_second(), readiness->passed = 0;
	readiness->passed++;
	if ((size_t)size > sizeof(message) || !readiness_filter(message, (size_t)size, text))
		return true;
	if (!strncmp(text, "READY=1\n", 8) || strstr(text, "\nREADY=1\n"))
		readiness->told = say_ready(monitor, text);
	else
		notify_tell(readiness->host, text);
	return true;
}

/* --- what we say ----------------------------------------------------------------------------------------- */

/* Is the service's own process this one, and not a child of its, for which it does not speak? */
static bool is_service(void)
{
	const char *pid = getenv("SYSTEMD_EXEC_PID");

	return pid && atoi(pid) == getpid();
}

static void prepare_command(struct monitor *monitor)
{
	struct readiness *readiness = &monitor->readiness;
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	snprintf(readiness->socket, sizeof(readiness->socket), "NOTIFY_SOCKET=%s", inside);
	readiness->variables[0] = readiness->socket;
	if (usec && strspn(usec, "0123456789") == strlen(usec) && strlen(usec) <= MOST_DIGITS && (!pid || atoi(pid) == getpid())) {
		snprintf(readiness->watchdog, sizeof(readiness->watchdog), "WATCHDOG_USEC=%s", usec);
		readiness->variables[1] = readiness->watchdog;
	}
	monitor->variables = readiness->variables;
	monitor->options |= SYNC_TELL_READY;
}

void readiness_prepare(struct monitor *monitor)
{
	const struct plan_readiness *op = (const struct plan_readiness *)plan_find(monitor->plan, OP_READINESS);
	const char *host = getenv("NOTIFY_SOCKET");

	if (!host || (host[0] != '/' && host[0] != '@') || strlen(host) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return;
	if (op ? op->mode == READINESS_NONE : !is_service())
		return;
	monitor->readiness.mode = op ? op->mode : READINESS_START;
	monitor->readiness.host = host;
	if (monitor->readiness.mode == READINESS_COMMAND)
		prepare_command(monitor);
	else
		monitor->options |= SYNC_TELL_START;
}

int readiness_fd(const struct monitor *monitor)
{
	const struct readiness *readiness = &monitor->readiness;
	bool enough = readiness->passed >= MOST_A_SECOND && readiness->second == this_second();

	return enough ? -1 : monitor->notify_fd;
}

int readiness_patience(const struct monitor *monitor)
{
	const struct readiness *readiness = &monitor->readiness;

	if (readiness->due)
		return 0;
	return readiness->passed >= MOST_A_SECOND && readiness->second == this_second() ? 100 : -1;
}

void readiness_pass(struct monitor *monitor)
{
	if (monitor->readiness.mode == READINESS_COMMAND) {
		pass_on(monitor);
		return;
	}
	/* The pipe's other end is closed: a failure has been said before that. */
	close_fd(&monitor->notify_fd);
	monitor->notify_fd = -1;
	monitor->readiness.due = true;
}

void readiness_settle(struct monitor *monitor)
{
	struct readiness *readiness = &monitor->readiness;

	readiness->due = false;
	if (readiness->mode == READINESS_START && monitor->ready && !monitor->failed && !readiness->told)
		readiness->told = say_ready(monitor, "READY=1\n");
}

void readiness_end(struct monitor *monitor)
{
	struct readiness *readiness = &monitor->readiness;

	if (readiness->mode == READINESS_COMMAND && monitor->notify_fd >= 0)
		for (int i = 0; i < MOST_A_SECOND && pass_on(monitor); i++) /* what it said last */
			;
	readiness_settle(monitor);
	if (readiness->told)
		notify_tell(readiness->host, "STOPPING=1\n");
}
