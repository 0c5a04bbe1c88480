/* The report of a run, written when everything inside has ended.
 *
 * The directory is opened before anything runs, and the file is made in it under a name that nobody knows, and renamed: no
 * path is resolved again, and no symlink that the contained program has put there is followed. */
#define _GNU_SOURCE
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exit.h"
#include "json.h"
#include "monitor.h"
#include "python.h"
#include "samples.h"
#include "sys.h"

static const struct plan_report *asked(const struct monitor *monitor)
{
	return (const struct plan_report *)plan_find(monitor->plan, OP_REPORT);
}

static const struct plan_samples *asked_page(const struct monitor *monitor)
{
	return (const struct plan_samples *)plan_find(monitor->plan, OP_SAMPLES);
}

static int open_place(struct report_place *place, const char *path)
{
	const char *name = strrchr(path, '/');
	char directory[PATH_MAX];
	struct stat status;

	if (!name || !name[1] || strlen(name + 1) > NAME_MAX || (size_t)(name - path) >= sizeof(directory) - 1) {
		errno = EINVAL;
		return -1;
	}
	strcpy(place->name, name + 1);
	memcpy(directory, path, (size_t)(name - path) + 1);
	directory[name - path + 1] = 0;
	place->directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (place->directory_fd < 0 || faccessat(place->directory_fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return -1;
	if (fstatat(place->directory_fd, place->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -1;
	/* To put a file in the place of a device or a directory is hardly what was meant. */
	if (!S_ISREG(status.st_mode)) {
		errno = S_ISDIR(status.st_mode) ? EISDIR : S_ISLNK(status.st_mode) ? ELOOP : EEXIST;
		return -1;
	}
	return 0;
}

static void prepare_place(struct monitor *monitor, struct report_place *place, enum plan_opcode code, const char *path)
{
	if (!*path || open_place(place, path) == 0)
		return;
	monitor_fail(monitor, code, "open", path);
	close_fd(&place->directory_fd);
	place->directory_fd = -1;
}

void report_prepare(struct monitor *monitor)
{
	const struct plan_report *op = asked(monitor);
	const struct plan_samples *page = asked_page(monitor);

	monitor->report.wanted = op != NULL;
	if (op)
		prepare_place(monitor, &monitor->report.file, OP_REPORT, plan_text(monitor->plan, op->path));
	if (page && !monitor->failed)
		prepare_place(monitor, &monitor->report.page, OP_SAMPLES, plan_text(monitor->plan, page->path));
}

void report_begin(struct monitor *monitor)
{
	if (!monitor->report.wanted)
		return;
	clock_gettime(CLOCK_REALTIME, &monitor->report.began);
	clock_gettime(CLOCK_MONOTONIC, &monitor->report.clock);
	samples_begin(monitor);
}

/* Everything inside has ended; its cgroup is still there. */
void report_end(struct monitor *monitor)
{
	struct report *report = &monitor->report;

	if (!report->wanted)
		return;
	clock_gettime(CLOCK_MONOTONIC, &report->ended);
	samples_end(monitor);
	report->counted = monitor->registered.cgroup[0] != 0;
	if (report->counted)
		figures_read(&report->figures, monitor->registered.cgroup);
}

static void put_time(struct json *json, const char *member, const struct timespec *time)
{
	char text[64];
	struct tm utc;
	size_t length;

	if (!gmtime_r(&time->tv_sec, &utc))
		memset(&utc, 0, sizeof(utc));
	length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + length, sizeof(text) - length, ".%06ldZ", time->tv_nsec / 1000);
	json_raw(json, member);
	json_text(json, text);
}

static struct timespec since(const struct timespec *from, const struct timespec *to)
{
	struct timespec result = { .tv_sec = to->tv_sec - from->tv_sec, .tv_nsec = to->tv_nsec - from->tv_nsec };

	if (result.tv_nsec < 0)
		result.tv_sec--, result.tv_nsec += 1000000000;
	return result;
}

static void put_exit(struct json *json, const struct monitor *monitor, int status)
{
	bool by_signal = WIFSIGNALED(monitor->status);

	json_raw(json, ",\"exit\":{\"status\":");
	json_number(json, status);
	json_raw(json, ",\"code\":");
	if (monitor->failed)
		json_raw(json, "null,\"signal\":null");
	else if (by_signal)
		json_raw(json, "null,\"signal\":"), json_number(json, WTERMSIG(monitor->status));
	else
		json_number(json, WEXITSTATUS(monitor->status)), json_raw(json, ",\"signal\":null");
	json_raw(json, monitor->deadline.reached ? ",\"timed_out\":true,\"oom\":" : ",\"timed_out\":false,\"oom\":");
	oom_put(json, monitor);
	json_raw(json, "}");
}

static void put_usage(struct json *json, const struct report *report)
{
	struct timespec wall = since(&report->clock, &report->ended);

	json_raw(json, ",\"usage\":{\"wall\":");
	json_seconds(json, wall.tv_sec, wall.tv_nsec / 1000);
	json_raw(json, ",\"user\":");
	json_seconds(json, report->usage.ru_utime.tv_sec, report->usage.ru_utime.tv_usec);
	json_raw(json, ",\"system\":");
	json_seconds(json, report->usage.ru_stime.tv_sec, report->usage.ru_stime.tv_usec);
	json_raw(json, ",\"largest_resident\":");
	json_number(json, report->usage.ru_maxrss * 1024ll);
	json_raw(json, "}");
}

static void put_figures(struct json *json, const struct report *report)
{
	json_raw(json, ",\"cgroup\":");
	if (report->counted)
		figures_put(json, &report->figures);
	else
		json_raw(json, "null");
}

/* Of a detached sandbox: what of the output the log could not tell of. */
static void put_log(struct json *json, const struct monitor *monitor)
{
	if (!monitor->keeper)
		return;
	json_raw(json, ",\"log\":{\"lost\":");
	json_number(json, (long long)monitor->keeper->log.lost);
	json_raw(json, "}");
}

/* With a program beside it that gives it a network. */
static void put_network(struct json *json, const struct monitor *monitor)
{
	if (plan_find(monitor->plan, OP_COMPANION))
		json_raw(json, monitor->companion.lost ? ",\"network\":{\"lost\":true}" : ",\"network\":{\"lost\":false}");
}

/* A command that was started, and whose end nobody knows. */
static void put_error(struct json *json, const struct monitor *monitor)
{
	const struct plan_keep *op = (const struct plan_keep *)plan_find(monitor->plan, OP_KEEP);
	char message[1024];

	if (!monitor->failed || !op) {
		json_raw(json, ",\"error\":null}\n");
		return;
	}
	snprintf(message, sizeof(message), "%s: %s", plan_text(monitor->plan, op->failure), monitor->failure.subject);
	json_raw(json, ",\"error\":{\"message\":");
	json_text(json, message);
	json_raw(json, ",\"cause\":\"\",\"hint\":\"\"}}\n");
}

int report_compose(int fd, const struct monitor *monitor, int status)
{
	const struct report *report = &monitor->report;
	struct timespec wall = since(&report->clock, &report->ended), ended = report->began;
	struct json json = { .fd = fd };

	ended.tv_sec += wall.tv_sec + (ended.tv_nsec + wall.tv_nsec >= 1000000000);
	ended.tv_nsec = (ended.tv_nsec + wall.tv_nsec) % 1000000000;
	json_raw(&json, "{\"schema\":1,\"id\":");
	json_text(&json, monitor->registered.id);
	json_raw(&json, ",\"command\":[");
	for (char *const *word = monitor->command; *word; word++) {
		if (word > monitor->command)
			json_raw(&json, ",");
		json_text(&json, *word);
	}
	json_raw(&json, "],");
	json_raw(&json, plan_text(monitor->plan, asked(monitor)->record));
	put_time(&json, ",\"started\":", &report->began);
	put_time(&json, ",\"ended\":", &ended);
	put_exit(&json, monitor, status);
	put_usage(&json, report);
	put_figures(&json, report);
	json_raw(&json, ",\"samples\":");
	samples_put(&json, &monitor->samples);
	put_log(&json, monitor);
	put_network(&json, monitor);
	put_error(&json, monitor);
	return json_flush(&json);
}

static int write_file(const struct monitor *monitor, int status)
{
	const struct report_place *place = &monitor->report.file;
	uint64_t random;
	char temporary[64];

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -1;
	snprintf(temporary, sizeof(temporary), ".sandbox-report-%016llx", (unsigned long long)random);
	cleanup_fd int fd = openat(place->directory_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (!report_compose(fd, monitor, status) && !renameat(place->directory_fd, temporary, place->directory_fd, place->name))
		return 0;
	int error = errno;
	unlinkat(place->directory_fd, temporary, 0);
	errno = error;
	return -1;
}

/* Python has the words and the plots; it writes what it makes of the document, and says if it cannot. */
static int write_page(const struct monitor *monitor, int status)
{
	cleanup_fd int fd = memfd_create("report", MFD_CLOEXEC);

	if (fd < 0 || report_compose(fd, monitor, status) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	pid_t child = fork();
	if (child == 0)
		_exit(python_page(monitor->self, fd, monitor->report.page.directory_fd, plan_text(monitor->plan, asked_page(monitor)->path)));
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return child < 0 ? -1 : 0;
}

/* The exit status stays what it is: of the command, not of its report. */
void report_write(const struct monitor *monitor, int status)
{
	if (monitor->report.file.directory_fd >= 0 && write_file(monitor, status) < 0)
		dprintf(2, "sandbox: %s: %s\n", plan_text(monitor->plan, asked(monitor)->failure), strerror(errno));
	if (monitor->report.page.directory_fd >= 0 && write_page(monitor, status) < 0)
		dprintf(2, "sandbox: %s: %s\n", plan_text(monitor->plan, asked_page(monitor)->failure), strerror(errno));
}
