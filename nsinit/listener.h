/* The notifications of a container's seccomp filter, for whoever listens: config-linux.md#the-container-process-state. */
#pragma once

#include "monitor.h"

/* Send `fd`, which stays the caller's, to the socket that the plan names. */
void listener_pass(struct monitor *monitor, int fd);
