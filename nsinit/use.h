/* What the monitor waits for, to know what the sandbox uses. */
#pragma once

#include <poll.h>

struct monitor;

/* What use_events() asks poll(2) for, in this order: memory.events, and when to look and to take a sample. */
enum use_event { USE_MEMORY, USE_LOOK, USE_SAMPLE, USE_EVENTS };

void use_events(const struct monitor *monitor, struct pollfd events[USE_EVENTS]);
void use_pass(struct monitor *monitor, const struct pollfd events[USE_EVENTS]);
