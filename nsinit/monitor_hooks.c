/* The hooks of a container that are run on the host's side. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.h"
#include "monitor.h"
#include "python.h"

/* In the words, and in the log, that Python has for it. */
static void warn_of_hook(const struct monitor *monitor, const char *subject)
{
	struct sync_message failure = { .call = "hook" };

	snprintf(failure.subject, sizeof(failure.subject), "%.*s", (int)sizeof(failure.subject) - 1, subject);
	pid_t child = fork();
	if (child == 0)
		_exit(python_refuse(monitor->self, -1, &failure, monitor->words));
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Run the hooks of `stage` with the container's state, of which `status` is not the process's to tell. */
void monitor_run_hooks(struct monitor *monitor, enum plan_hook_stage stage, enum container_status status)
{
	static const char *const names[] = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
					     "poststop" };
	char failure[HOOK_FAILURE_MAX], subject[HOOK_FAILURE_MAX + 64];
	const struct plan_op *failed = NULL;

	if (!hooks_present(monitor->plan, stage))
		return;
	char *document = container_document(monitor->plan, monitor->container->id, monitor_first_process(monitor), status,
					    monitor->container->created);
	if (!document) {
		errno = ENOMEM;
		monitor_fail(monitor, OP_CONTAINER, "malloc", "");
		return;
	}
	while (hooks_run(monitor->plan, stage, document, &monitor->signals, &failed, failure) < 0) {
		snprintf(subject, sizeof(subject), "%s hook #%u: %s", names[stage],
			 ((const struct plan_hook *)failed)->index, failure);
		errno = 0;
		if (stage == HOOK_POSTSTOP) { /* by the specification it changes nothing but the log */
			warn_of_hook(monitor, subject);
			continue;
		}
		if (!monitor->failed)
			monitor_fail_at(monitor, failed, "hook", subject);
		break;
	}
	free(document);
}

/* Between the namespaces' making and the pivot: the first process waits. */
void monitor_run_runtime_hooks(struct monitor *monitor)
{
	struct sync_message resume = { .type = SYNC_RESUME };

	if (!monitor->container)
		return;
	monitor_run_hooks(monitor, HOOK_PRESTART, CONTAINER_CREATING);
	if (!monitor->failed)
		monitor_run_hooks(monitor, HOOK_CREATE_RUNTIME, CONTAINER_CREATING);
	if (monitor->failed)
		kill(monitor->init, SIGKILL);
	else
		monitor_answer(monitor, &resume, "resume");
}
