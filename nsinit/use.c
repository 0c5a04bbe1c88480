#include "use.h"

#include "monitor.h"

void use_events(const struct monitor *monitor, struct pollfd events[USE_EVENTS])
{
	events[USE_MEMORY] = (struct pollfd){ .fd = monitor->oom.events_fd, .events = POLLPRI };
	events[USE_LOOK] = (struct pollfd){ .fd = monitor->oom.timer_fd, .events = POLLIN };
	events[USE_SAMPLE] = (struct pollfd){ .fd = monitor->samples.timer_fd, .events = POLLIN };
}

void use_pass(struct monitor *monitor, const struct pollfd events[USE_EVENTS])
{
	if (events[USE_MEMORY].revents)
		oom_pass(monitor);
	if (events[USE_LOOK].revents && monitor->oom.timer_fd >= 0) /* the cgroup may be gone just now */
		oom_look(monitor);
	if (events[USE_SAMPLE].revents)
		samples_pass(monitor);
}
