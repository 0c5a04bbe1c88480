#define _GNU_SOURCE
#include "samples.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "figures.h"
#include "monitor.h"
#include "sys.h"

#define FILE_MAX 16384 /* io.stat has a line for each device */

static long long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

static void set_timer(const struct samples *samples)
{
	struct timespec interval = { .tv_sec = (time_t)(samples->interval / 1000), .tv_nsec = samples->interval % 1000 * 1000000 };
	struct itimerspec when = { .it_value = interval, .it_interval = interval };

	timerfd_settime(samples->timer_fd, 0, &when, NULL);
}

void samples_thin(struct samples *samples)
{
	size_t kept = 0;

	for (size_t i = 0; i < samples->count; i += 2)
		samples->all[kept++] = samples->all[i];
	samples->count = kept;
	samples->interval *= 2;
}

static void take(struct monitor *monitor)
{
	struct samples *samples = &monitor->samples;
	const struct timespec *began = &monitor->report.clock;
	char text[FILE_MAX];

	if (samples->count == samples->most) {
		samples_thin(samples);
		set_timer(samples);
	}
	struct sample *sample = &samples->all[samples->count++];
	*sample = (struct sample){ microseconds() - (began->tv_sec * 1000000ll + began->tv_nsec / 1000), -1, -1, -1, -1, -1 };
	if (figures_load(samples->memory_fd, text, sizeof(text)) == 0)
		sample->memory = figures_find(text, "", NULL);
	if (figures_load(samples->cpu_fd, text, sizeof(text)) == 0)
		sample->cpu = figures_find(text, "usage_usec", NULL);
	if (figures_load(samples->pids_fd, text, sizeof(text)) == 0)
		sample->pids = figures_find(text, "", NULL);
	if (figures_load(samples->io_fd, text, sizeof(text)) == 0) {
		sample->read = figures_find(text, NULL, "rbytes");
		sample->written = figures_find(text, NULL, "wbytes");
	}
}

/* The command starts.  Without a cgroup, or memory, or a timer, there are none, which the report says. */
void samples_begin(struct monitor *monitor)
{
	const struct plan_samples *op = (const struct plan_samples *)plan_find(monitor->plan, OP_SAMPLES);
	struct samples *samples = &monitor->samples;

	if (!op || !monitor->registered.cgroup[0] || op->most < 2)
		return;
	cleanup_fd int directory_fd = open(monitor->registered.cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
	samples->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	samples->all = calloc(op->most, sizeof(*samples->all));
	if (directory_fd < 0 || samples->timer_fd < 0 || !samples->all) {
		samples_end(monitor);
		return;
	}
	samples->memory_fd = openat(directory_fd, "memory.current", O_RDONLY | O_CLOEXEC);
	samples->cpu_fd = openat(directory_fd, "cpu.stat", O_RDONLY | O_CLOEXEC);
	samples->io_fd = openat(directory_fd, "io.stat", O_RDONLY | O_CLOEXEC);
	samples->pids_fd = openat(directory_fd, "pids.current", O_RDONLY | O_CLOEXEC);
	samples->most = op->most;
	samples->interval = op->interval;
	take(monitor);
	set_timer(samples);
}

void samples_pass(struct monitor *monitor)
{
	uint64_t expirations;

	if (read(monitor->samples.timer_fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		take(monitor);
}

/* All has ended, and the cgroup is there still: the last one has the sums. */
void samples_end(struct monitor *monitor)
{
	struct samples *samples = &monitor->samples;

	if (samples->count)
		take(monitor);
	close_fd(&samples->timer_fd);
	close_fd(&samples->memory_fd);
	close_fd(&samples->cpu_fd);
	close_fd(&samples->io_fd);
	close_fd(&samples->pids_fd);
	samples->timer_fd = samples->memory_fd = samples->cpu_fd = samples->io_fd = samples->pids_fd = -1;
}

/* --- as JSON, a column for each --------------------------------------------------------------------- */

static void put_column(struct json *json, const struct samples *samples, const char *member, size_t offset, bool is_time)
{
	json_raw(json, member);
	for (size_t i = 0; i < samples->count; i++) {
		long long value = *(const long long *)((const char *)&samples->all[i] + offset);

		if (i)
			json_raw(json, ",");
		if (value < 0)
			json_raw(json, "null");
		else if (is_time)
			json_seconds(json, value / 1000000, (long)(value % 1000000));
		else
			json_number(json, value);
	}
	json_raw(json, "]");
}

void samples_put(struct json *json, const struct samples *samples)
{
	if (!samples->count) {
		json_raw(json, "null");
		return;
	}
	put_column(json, samples, "{\"time\":[", offsetof(struct sample, time), true);
	put_column(json, samples, ",\"memory\":[", offsetof(struct sample, memory), false);
	put_column(json, samples, ",\"cpu\":[", offsetof(struct sample, cpu), true);
	put_column(json, samples, ",\"read\":[", offsetof(struct sample, read), false);
	put_column(json, samples, ",\"written\":[", offsetof(struct sample, written), false);
	put_column(json, samples, ",\"pids\":[", offsetof(struct sample, pids), false);
	json_raw(json, "}");
}
