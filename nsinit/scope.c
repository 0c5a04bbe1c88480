#define _GNU_SOURCE
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus.h"
#include "cgroup.h"
#include "sys.h"

#define CONVERSATION_MAX 16384
#define ID_SIZE 9 /* of one that is drawn */

static const struct plan_scope *find(const struct plan *plan)
{
	return (const struct plan_scope *)plan_find(plan, OP_SCOPE);
}

bool scope_wanted(const struct plan *plan)
{
	return find(plan) != NULL;
}

static struct container *container_of(struct monitor *monitor)
{
	return monitor->container ? monitor->container : &monitor->registered;
}

int scope_connect(struct monitor *monitor)
{
	const struct plan_scope *op = find(monitor->plan);

	if (!op || monitor->process_fd >= 0)
		return -1;
	int fd = bus_connect(plan_text(monitor->plan, op->address));
	if (fd < 0)
		monitor_fail(monitor, OP_SCOPE, "connect", plan_text(monitor->plan, op->address));
	return fd;
}

static bool put_pid(uint8_t *content, size_t size, uint32_t at, pid_t pid)
{
	if (!at)
		return true;
	if (at > size - 4)
		return false;
	for (int byte = 0; byte < 4; byte++)
		content[at + (uint32_t)byte] = (uint8_t)((uint32_t)pid >> (8 * byte));
	return true;
}

static bool put_id(uint8_t *content, size_t size, uint32_t at, const char *id)
{
	if (!at)
		return true;
	if (at > size - ID_SIZE || strlen(id) != ID_SIZE)
		return false;
	memcpy(content + at, id, ID_SIZE);
	return true;
}

void scope_ask(struct monitor *monitor, int bus_fd)
{
	const struct plan_scope *op = find(monitor->plan);
	const size_t size = op->conversation.size;
	uint8_t content[CONVERSATION_MAX];

	errno = EBADMSG;
	if (size < 16 || size > sizeof(content)) {
		monitor_fail(monitor, OP_SCOPE, "plan", "");
		return;
	}
	memcpy(content, plan_blob(monitor->plan, op->conversation), size);
	if (!put_pid(content, size, op->pid_at, monitor->init) || !put_pid(content, size, op->monitor_at, getpid()) ||
	    !put_id(content, size, op->id_at, container_of(monitor)->id)) {
		monitor_fail(monitor, OP_SCOPE, "plan", "");
		return;
	}
	/* In one: it fits into what a socket takes without anybody reading. */
	if (send(bus_fd, content, size, MSG_NOSIGNAL) != (ssize_t)size)
		monitor_fail(monitor, OP_SCOPE, "sendmsg", plan_text(monitor->plan, op->address));
}

/* The cgroup of the process, as we see it, is that of the unit: its directory. */
static int find_directory(struct monitor *monitor, const struct plan_scope *op, char path[PATH_MAX])
{
	char name[64], text[PATH_MAX + 1024], unit[256];

	snprintf(name, sizeof(name), "/proc/%d/cgroup", monitor->init);
	cleanup_fd int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (size < 0)
		return -1;
	text[size] = 0;
	char *line = !strncmp(text, "0::", 3) ? text : strstr(text, "\n0::");
	if (snprintf(unit, sizeof(unit), "/%s", plan_text(monitor->plan, op->unit)) < (int)sizeof(unit) && line &&
	    put_id((uint8_t *)unit, strlen(unit), op->id_at ? op->id_in_unit + 1 : 0,
		   container_of(monitor)->id)) {
		line = strchr(line, '/');
		if (line)
			line[strcspn(line, "\n")] = 0;
		size_t length = line ? strlen(line) : 0;
		if (length > strlen(unit) && !strcmp(line + length - strlen(unit), unit) &&
		    snprintf(path, PATH_MAX, "%s%s", plan_text(monitor->plan, op->root), line) < PATH_MAX)
			return 0;
	}
	errno = ENOENT; /* it was moved elsewhere, or is another one */
	return -1;
}

static int move(const char *directory, const char *name, pid_t pid)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return mkdir(path, 0755) < 0 && errno != EEXIST ? -1 : cgroup_move(path, pid);
}

/* The scope is systemd's, what is below it is ours.  Where there are processes nothing is shared out: all of them are moved
 * before the controllers are enabled. */
static int divide(struct monitor *monitor, const struct plan_scope *op, const char **call, const char **subject)
{
	static char scope[PATH_MAX]; /* the report is made later */
	struct container *container = container_of(monitor);

	*call = "cgroup";
	*subject = plan_text(monitor->plan, op->unit);
	if (find_directory(monitor, op, scope) < 0)
		return -1;
	*subject = scope;
	*call = "cgroup.procs";
	if (move(scope, "container", monitor->init) < 0 || (op->monitor_at && move(scope, "keeper", 0) < 0))
		return -1;
	if (snprintf(container->cgroup, sizeof(container->cgroup), "%s/container", scope) >= (int)sizeof(container->cgroup)) {
		container->cgroup[0] = 0;
		errno = ENAMETOOLONG;
		return -1;
	}
	*call = "cgroup";
	return cgroup_divide(monitor->plan, scope, op->limits, container->cgroup, &container->cgroup_inode, subject);
}

void scope_await(struct monitor *monitor, int bus_fd)
{
	const struct plan_scope *op = find(monitor->plan);
	struct bus_talk talk = { .serial = op->serial };
	const char *call, *subject;

	if (bus_await(bus_fd, &talk, op->milliseconds) < 0) {
		monitor_fail(monitor, OP_SCOPE, "recvmsg", plan_text(monitor->plan, op->address));
	} else if (talk.words[0]) {
		errno = 0;
		monitor_fail(monitor, OP_SCOPE, "StartTransientUnit", talk.words);
	} else if (divide(monitor, op, &call, &subject) < 0) {
		monitor_fail(monitor, OP_SCOPE, call, subject);
	}
}
