/* A scope of systemd's, where the plan has one: it is asked for while the first process prepares itself, and is there before
 * that hears HELLO. */
#pragma once

#include "monitor.h"

bool scope_wanted(const struct plan *plan);

/* Connect, before there is a first process; a descriptor, or -1 without a scope or with monitor->failed set. */
int scope_connect(struct monitor *monitor);

/* Ask for it, now that there is one. */
void scope_ask(struct monitor *monitor, int bus_fd);

/* Wait until it is there, and make the cgroup in it, with its limits. */
void scope_await(struct monitor *monitor, int bus_fd);
