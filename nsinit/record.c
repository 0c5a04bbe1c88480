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
#include "json.h"
#include "sys.h"

#define COMMAND_MAX 4096 /* of what is written down of a command */
#define CGROUP "\"cgroup\":\""
#define HELD "\",\"held\":true" /* behind the cgroup */

/* The first line of state.json, read and written here alone; the rest of the file is the plan's. */
int container_read_record(struct container *container)
{
	char text[PATH_MAX + 1024];
	unsigned long long inode = 0;
	int end = 0, path = 0;
	cleanup_fd int fd = openat(container->fd, "state.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size < 0)
		return -1;
	text[size] = 0;
	container->cgroup[0] = 0;
	container->held = false;
	if (sscanf(text, "{\"id\":\"%*255[^\"]\",\"pid\":%d,\"started\":%llu,\"created\":\"%39[^\"]\",%n", &container->pid,
		   &container->started, container->created, &end) != 3 || !end) {
		errno = EBADMSG;
		return -1;
	}
	if (sscanf(text + end, "\"cgroupInode\":%llu,%n", &inode, &path) == 1)
		end += path;
	container->cgroup_inode = inode;
	if (strncmp(text + end, CGROUP, sizeof(CGROUP) - 1)) {
		errno = EBADMSG;
		return -1;
	}
	end += sizeof(CGROUP) - 1;
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

/* The member of state.json that only the call knows; of a long command the beginning. */
static void put_command(struct json *json, char *const command[])
{
	size_t room = COMMAND_MAX;

	json_raw(json, "\"args\":[");
	for (char *const *word = command; *word && room; word++) {
		size_t size = strlen(*word) + 1;

		if (word > command)
			json_raw(json, ",");
		json_beginning(json, *word, room);
		room -= size < room ? size : room;
	}
	json_raw(json, "],\n");
}

/* The unit that the cgroup is in is called as its directory is, and of letters that JSON has no others for. */
static void put_scope(struct json *json, const struct plan *plan, const char *cgroup)
{
	char path[PATH_MAX];

	if (!cgroup[0] || !plan_find(plan, OP_SCOPE))
		return;
	strcpy(path, cgroup);
	*strrchr(path, '/') = 0;
	json_raw(json, "\"scope\":");
	json_text(json, strrchr(path, '/') ? strrchr(path, '/') + 1 : "");
	json_raw(json, ",\n");
}

static int write_record(int fd, const struct container *container, const struct plan *plan, const char *rest,
			char *const command[])
{
	char line[PATH_MAX + 512], inode[48] = "";
	struct json json = { .fd = fd };

	if (container->cgroup[0] && container->cgroup_inode)
		snprintf(inode, sizeof(inode), "\"cgroupInode\":%llu,", (unsigned long long)container->cgroup_inode);
	int length = snprintf(line, sizeof(line), "{\"id\":\"%s\",\"pid\":%d,\"started\":%llu,\"created\":\"%s\",%s" CGROUP "%s%s,\n",
			      container->id, container->pid, container->started, container->created, inode, container->cgroup,
			      container->held ? HELD : "\"");

	if (length < 0 || (size_t)length >= sizeof(line)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	json_raw(&json, line);
	put_scope(&json, plan, container->cgroup);
	if (command)
		put_command(&json, command);
	json_raw(&json, rest);
	json_raw(&json, "\n");
	return json_flush(&json);
}

/* A sandbox in a sandbox may have the /proc of the outer one, which has other numbers for our processes. */
static bool proc_counts_as_we_do(void)
{
	char own[32], text[32];
	ssize_t length = readlink("/proc/self", text, sizeof(text) - 1);

	text[length > 0 ? length : 0] = 0;
	snprintf(own, sizeof(own), "%d", getpid());
	return !strcmp(own, text);
}

/* Of what a sandbox runs, `command`, the plan knows nothing; of a container NULL. */
int container_record(struct container *container, const struct plan *plan, char *const command[])
{
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
	/* Without it the process would seem to have ended.  It has not been collected, and so is there to be looked at, but
	 * in a sandbox that has its surroundings' /proc. */
	container->started = container->pid ? process_start_time(container->pid, NULL) : 0;
	if (container->pid && !container->started && proc_counts_as_we_do())
		return -1;
	cleanup_fd int fd = openat(container->fd, "state.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (!write_record(fd, container, plan, plan_text(plan, op->record), command) &&
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
