/* The readiness of a container, sd_notify(3): it says so to a socket of its own, and we to the one that we were given. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "container.h"
#include "plan.h"

/* Make the directory that is bound into the container; nothing to do where the plan asks for none. */
int notify_prepare(const struct container *container, const struct plan *plan);

/* The socket in it, or -1 where the plan asks for none or it cannot be had. */
int notify_open(const struct container *container, const struct plan *plan);

/* A socket at `path`, for everybody to write to; -1 and errno. */
int notify_bind(const char *path);

/* Say `text` to the socket that NOTIFY_SOCKET names; false: it was not taken. */
bool notify_tell(const char *path, const char *text);

/* Remove the directory, and what the container may have left in it. */
void notify_remove(const struct container *container);

/* Read what the container says; true: it is ready, and the host has been told, with `pid` as the main process. */
bool notify_pass(int socket_fd, const struct plan *plan, pid_t pid);
