/* `sandbox` as it stands on the PATH: a kept plan that is fresh is run at once; for anything
 * else Python takes over. */
#define _GNU_SOURCE
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec.h"
#include "exit.h"
#include "inputs.h"
#include "options.h"
#include "plan.h"
#include "python.h"
#include "sandbox.h"
#include "sys.h"

#define KEY_MAX 65536

struct key {
	size_t size;
	char bytes[KEY_MAX];
};

static bool key_add(struct key *key, const char *text)
{
	size_t size = strlen(text) + 1;

	if (size > sizeof(key->bytes) - key->size)
		return false;
	memcpy(key->bytes + key->size, text, size);
	key->size += size;
	return true;
}

static const struct option_entry *find_option(const char *argument)
{
	size_t length = strcspn(argument, "=");

	for (size_t i = 0; i < sizeof(option_table) / sizeof(option_table[0]); i++) {
		const struct option_entry *entry = &option_table[i];

		if (argument[1] != '-' ? entry->letter && entry->letter == argument[1]
				       : strlen(entry->name) == length && !strncmp(entry->name, argument, length))
			return entry;
	}
	return NULL;
}

/* Where the command begins behind `run`; NULL where Python has to look at the command line:
 * an option that we do not know, one that asks for more than a run, or no command. */
static char *const *find_command(char *const *argument)
{
	for (; *argument; argument++) {
		if (!strcmp(*argument, "--"))
			return argument[1] ? argument + 1 : NULL;
		if ((*argument)[0] != '-')
			return argument;
		const struct option_entry *entry = find_option(*argument);
		if (!entry || !entry->keeps_plan)
			return NULL;
		bool is_long = (*argument)[1] == '-';
		bool attached = is_long ? strchr(*argument, '=') != NULL : (*argument)[2] != 0;
		if (attached && !entry->takes_value)
			return NULL;
		if (entry->takes_value && !attached && !*++argument)
			return NULL;
	}
	return NULL;
}

/* Everything of the call that a plan depends on, apart from what its inputs name. */
static bool make_key(struct key *key, char *const argv[], char *const *command)
{
	char directory[PATH_MAX], ids[64];

	key->size = 0;
	snprintf(ids, sizeof(ids), "%u %u", geteuid(), getegid());
	if (!getcwd(directory, sizeof(directory)) || directory[0] != '/')
		return false;
	if (!key_add(key, BUILD_ID) || !key_add(key, ids) || !key_add(key, directory))
		return false;
	for (char *const *argument = argv + 1; argument < command; argument++)
		if (!key_add(key, *argument))
			return false;
	return true;
}

/* FNV-1a names the file; the key itself is compared whole. */
void launch_name_plan(const char *key, size_t size, char name[32])
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (uint8_t)key[i]) * 0x100000001b3;
	snprintf(name, 32, "%016llx.plan", (unsigned long long)hash);
}

static bool ours_alone(const struct stat *status)
{
	return status->st_uid == geteuid() && !(status->st_mode & (S_IWGRP | S_IWOTH));
}

/* Could nobody else have put anything there? */
bool launch_is_ours(const char *base)
{
	struct stat status;

	return !stat(base, &status) && S_ISDIR(status.st_mode) && ours_alone(&status);
}

/* The place of the state tree, by the same rules as Python's (sandbox/kernel/state.py): the first base that is ours
 * alone, and no other, whether or not there is a state tree in it.  Who could write to a second one could plant plans. */
static void find_base(char base[PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (runtime && runtime[0] == '/' && strlen(runtime) < PATH_MAX && launch_is_ours(runtime)) {
		strcpy(base, runtime);
		return;
	}
	snprintf(base, PATH_MAX, "/run/user/%u", geteuid());
	if (launch_is_ours(base))
		return;
	strcpy(base, "/run"); /* root, without a session */
	if (geteuid() == 0 && launch_is_ours(base))
		return;
	snprintf(base, PATH_MAX, "/tmp/sandbox-%u", geteuid());
}

/* The state tree, or false where there is none that is ours. */
bool launch_state_directory(char path[PATH_MAX])
{
	struct stat status;

	find_base(path);
	/* The fallback below /tmp is made by us as the base itself, and must be no symlink of somebody else's. */
	if (!strncmp(path, "/tmp/", 5) && (lstat(path, &status) < 0 || !S_ISDIR(status.st_mode) || !ours_alone(&status)))
		return false;
	if (strlen(path) + sizeof("/sandbox") > PATH_MAX)
		return false;
	strcat(path, "/sandbox");
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return false;
	return !lstat(path, &status) && S_ISDIR(status.st_mode) && status.st_uid == geteuid() && !(status.st_mode & 077);
}

/* A plan that is not ours alone, is damaged, was made for another call or from inputs that have
 * changed is as good as none. */
int launch_find_plan(struct plan *plan, const char *state, const void *key, size_t size, const char *name)
{
	struct stat status;
	cleanup_fd int state_fd = open(state, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (state_fd < 0 || fstat(state_fd, &status) < 0 || !ours_alone(&status))
		return -1;
	cleanup_fd int plans_fd = openat(state_fd, "plans", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (plans_fd < 0 || fstat(plans_fd, &status) < 0 || !ours_alone(&status))
		return -1;
	int plan_fd = openat(plans_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (plan_fd < 0)
		return -1;
	if (!fstat(plan_fd, &status) && ours_alone(&status) && !plan_read(plan, plan_fd) &&
	    plan_key_is(plan, key, size) && inputs_fresh(plan))
		return plan_fd;
	close(plan_fd);
	return -1;
}

int launch_key_file(const char *key, size_t size)
{
	int fd = memfd_create("plan-key", MFD_CLOEXEC);

	if (fd >= 0 && !write_whole(fd, key, size))
		close_fd(&fd), fd = -1;
	return fd;
}

bool launch_find_self(char self[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", self, PATH_MAX - 1);

	self[length > 0 ? length : 0] = 0;
	if (length > 0)
		return true;
	dprintf(2, "sandbox: /proc/self/exe: %s\n  hint: mount /proc\n", strerror(errno));
	return false;
}

int launch_main(char *const argv[])
{
	static struct key key;
	char self[PATH_MAX], state[PATH_MAX], name[32] = "";
	char *const *command = argv[0] && argv[1] && !strcmp(argv[1], "run") ? find_command(argv + 2) : NULL;
	struct plan plan;

	if (!launch_find_self(self))
		return EXIT_OWN_FAILURE;
	if (argv[0] && argv[1] && !strcmp(argv[1], "exec")) {
		int status = exec_launch(self, argv);
		if (status >= 0)
			return status;
	}
	if (!command || !make_key(&key, argv, command))
		return python_take_over(self, -1, name, -1, argv[0] ? argv + 1 : argv);
	launch_name_plan(key.bytes, key.size, name);
	int plan_fd = launch_state_directory(state) ? launch_find_plan(&plan, state, key.bytes, key.size, name) : -1;
	if (plan_fd >= 0)
		return sandbox_run(&plan, plan_fd, self, command);
	return python_take_over(self, launch_key_file(key.bytes, key.size), name, command - argv - 1, argv + 1);
}

/* argv: our name, the number of a descriptor open on a plan, what python_restore_signals() takes, the command.
 * Python comes back this way with a plan that it has just made. */
int launch_plan_main(char *const argv[])
{
	char self[PATH_MAX];
	struct plan plan;

	if (!argv[1] || !argv[2] || !argv[3] || !launch_find_self(self))
		return EXIT_OWN_FAILURE;
	python_restore_signals(atoi(argv[2]));
	int plan_fd = atoi(argv[1]);
	if (plan_read(&plan, plan_fd) < 0) {
		dprintf(2, "sandbox: the plan cannot be read: %s\n  hint: install sandbox again; its parts do not match\n",
			strerror(errno));
		return EXIT_OWN_FAILURE;
	}
	return sandbox_run(&plan, plan_fd, self, argv + 3);
}
