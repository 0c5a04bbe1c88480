/* What is written down of a container: state.json, and its OCI state document. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "container.h"
#include "sys.h"

#define COMMAND_MAX 4096 /* of what is written down of a command */
#define HELD "\",\"held\":true" /* behind the cgroup */

/* The first line of state.json, read and written here alone; the rest of the file is the plan's. */
int container_read_record(struct container *container)
{
	char text[PATH_MAX + 1024];
	int end = 0;
	cleanup_fd int fd = openat(container->fd, "state.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size < 0)
		return -1;
	text[size] = 0;
	container->cgroup[0] = 0;
	container->held = false;
	if (sscanf(text, "{\"id\":\"%*255[^\"]\",\"pid\":%d,\"started\":%llu,\"created\":\"%39[^\"]\",\"cgroup\":\"%n", &container->pid,
		   &container->started, container->created, &end) != 3 || !end) {
		errno = EBADMSG;
		return -1;
	}
	size_t length = strcspn(text + end, "\"");
	if (length >= sizeof(container->cgroup)) {
		errno = EBADMSG;
		return -1;
	}
	/* By any other path what were ended would be the machine. */
	if (length && (text[end] != '/' || length == 1)) {
		errno = EBADMSG;
		return -1;
	}
	memcpy(container->cgroup, text + end, length);
	container->cgroup[length] = 0;
	container->held = !strncmp(text + end + length, HELD, sizeof(HELD) - 1);
	return 0;
}

/* Put `text` as a JSON string, or of a long one its beginning.  Bytes that are no UTF-8 stay what they are. */
static size_t put_string(char *to, size_t room, const char *text)
{
	static const char more[] = "\xe2\x80\xa6";
	size_t at = 0;

	to[at++] = '"';
	for (; *text && at + sizeof("\\u0000") + sizeof(more) < room; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte < ' ' || byte == 0x7f)
			at += (size_t)sprintf(to + at, "\\u%04x", byte);
		else if (byte == '"' || byte == '\\')
			to[at++] = '\\', to[at++] = (char)byte;
		else
			to[at++] = (char)byte;
	}
	if (*text) {
		/* Not half a character. */
		while ((to[at - 1] & 0xc0) == 0x80)
			at--;
		if (to[at - 1] & 0x80)
			at--;
		at += (size_t)sprintf(to + at, more);
	}
	to[at++] = '"';
	return at;
}

/* The member of state.json that only the call knows. */
static size_t put_command(char to[COMMAND_MAX], char *const command[])
{
	size_t size = (size_t)sprintf(to, "\"args\":[");

	for (char *const *word = command; *word && size + 32 < COMMAND_MAX; word++) {
		if (word > command)
			to[size++] = ',';
		size += put_string(to + size, COMMAND_MAX - size - 8, *word);
	}
	return size + (size_t)sprintf(to + size, "],\n");
}

/* Of what a sandbox runs, `command`, the plan knows nothing; of a container NULL. */
int container_record(struct container *container, const struct plan *plan, char *const command[])
{
	char text[PATH_MAX + 4 * COMMAND_MAX];
	const struct plan_container *op = (const struct plan_container *)plan_find(plan, OP_CONTAINER);
	struct timespec now;
	struct tm utc;

	if (!op) {
		errno = EBADMSG;
		return -1;
	}
	if (!container->created[0]) {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &utc);
		size_t length = strftime(container->created, sizeof(container->created), "%Y-%m-%dT%H:%M:%S", &utc);
		snprintf(container->created + length, sizeof(container->created) - length, ".%09ldZ", now.tv_nsec);
	}
	container->started = container->pid ? process_start_time(container->pid, NULL) : 0;
	cleanup_fd int fd = openat(container->fd, "state.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	const char *record = plan_text(plan, op->record);
	size_t size = (size_t)snprintf(text, sizeof(text), "{\"id\":\"%s\",\"pid\":%d,\"started\":%llu,\"created\":\"%s\",\"cgroup\":\"%s%s,\n",
				       container->id, container->pid, container->started, container->created,
				       container->cgroup, container->held ? HELD : "\"");
	if (command)
		size += put_command(text + size, command);
	if (write_whole(fd, text, size) && write_whole(fd, record, strlen(record)) && write_whole(fd, "\n", 1) &&
	    !renameat(container->fd, "state.json.new", container->fd, "state.json"))
		return 0;
	int error = errno;
	unlinkat(container->fd, "state.json.new", 0); /* half of it, where the disk is full */
	errno = error;
	return -1;
}

char *container_document(const struct plan *plan, const char *id, pid_t pid, enum container_status status,
			 const char *created)
{
	const struct plan_container *op = (const struct plan_container *)plan_find(plan, OP_CONTAINER);
	char since[80] = "", *text = NULL;

	if (*created) /* inside, nobody knows it */
		snprintf(since, sizeof(since), ",\n  \"created\": \"%s\",\n  \"owner\": \"\"", created);
	if (!op || asprintf(&text, "{\n  \"ociVersion\": \"%s\",\n  \"id\": \"%s\",\n  \"pid\": %d,\n  \"status\": \"%s\",\n%s%s\n}\n",
			    plan_text(plan, op->oci_version), id, status == CONTAINER_STOPPED ? 0 : pid,
			    container_status_name(status), plan_text(plan, op->identity), since) < 0)
		return NULL;
	return text;
}
