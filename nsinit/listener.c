#define _GNU_SOURCE
#include "listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passing.h"

static void pass(struct monitor *monitor, int fd)
{
	const struct plan_listener *op = (const struct plan_listener *)plan_find(monitor->plan, OP_LISTENER);
	const struct container *container = monitor->container;
	pid_t pid = monitor->init > 0 ? monitor->init : container ? container->pid : 0;
	char *text = NULL;

	if (!op || !container || fd < 0)
		return;
	const struct plan_container *about = (const struct plan_container *)plan_find(monitor->plan, OP_CONTAINER);
	char *state = container_document(monitor->plan, container->id, container->pid ? container->pid : pid,
					 monitor->process_fd >= 0 ? CONTAINER_RUNNING : CONTAINER_CREATING, container->created);
	if (!about || !state ||
	    asprintf(&text, "{\"ociVersion\":\"%s\",\"fds\":[\"seccompFd\"],\"pid\":%d,\"metadata\":%s,\"state\":%s}",
		     plan_text(monitor->plan, about->oci_version), pid, plan_text(monitor->plan, op->metadata), state) < 0)
		text = NULL;
	const char *path = plan_text(monitor->plan, op->path);
	if (!text || pass_fd(path, fd, text, strlen(text)) < 0)
		monitor_fail(monitor, OP_LISTENER, "sendmsg", path);
	free(text);
	free(state);
}

/* The process waits, and runs nothing that nobody listens to. */
void listener_pass(struct monitor *monitor, int fd)
{
	pass(monitor, fd);
	const struct sync_message answer = { .type = monitor->failed ? SYNC_FAILURE : SYNC_RESUME };
	monitor_answer(monitor, &answer, "resume");
}
