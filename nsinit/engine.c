#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "exit.h"
#include "inputs.h"
#include "launch.h"
#include "python.h"
#include "sys.h"

#define CONFIG_MAX (1u << 20)
#define MOST_DESCRIPTORS 1024

/* --- the command line -------------------------------------------------------------------------------- */

static const struct engine_option *find_option(const struct engine_option *options, const char *word)
{
	const char *name = word + (word[1] == '-' ? 2 : 1);
	size_t length = strcspn(name, "=");

	for (; options->name; options++)
		if (word[1] == '-' ? strlen(options->name) == length && !strncmp(options->name, name, length)
				   : options->letter && options->letter == word[1] && !word[2])
			return options;
	return NULL;
}

/* Take the option at `*word`; false: it is not plain. */
static bool take_option(struct engine_call *call, const struct engine_option *options, char *const **word)
{
	const struct engine_option *option = find_option(options, **word);
	const char *equals = strchr(**word, '=');

	if (!option || (equals && !option->takes_value))
		return false;
	if (!option->keeps_plan)
		call->keeps_plan = false;
	if (!option->takes_value)
		call->values[option->value] = "";
	else if (equals)
		call->values[option->value] = equals + 1;
	else if (!(call->values[option->value] = *++*word))
		return false;
	return true;
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1];
}

static bool parse_verb(struct engine_call *call, char *const *word)
{
	const struct engine_verb_entry *entry = NULL;
	int count = 0;

	for (int verb = 0; verb < VERBS; verb++)
		if (!strcmp(engine_verbs[verb].name, *word)) {
			call->verb = (enum engine_verb)verb;
			entry = &engine_verbs[verb];
		}
	if (!entry)
		return false;
	for (word++; *word && is_option(*word); word++)
		if (!strcmp(*word, "--") || !take_option(call, entry->options, &word))
			return false;
	call->id = *word;
	call->arguments = *word ? word + 1 : word;
	for (; *word; word++, count++)
		if (entry->interspersed && is_option(*word))
			return false;
	return count >= entry->least && (entry->most < 0 || count <= entry->most) && call->id;
}

static bool is_number(const char *text, unsigned int *number)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*number = (unsigned int)value;
	return *text >= '0' && *text <= '9' && !*end && value <= MOST_DESCRIPTORS;
}

/* Those that systemd hands to us, sd_listen_fds(3), and those that the caller counts. */
static bool find_descriptors(struct engine_call *call)
{
	const char *preserved = call->values[ENGINE_PRESERVE_FDS], *listening = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	unsigned int count = 0;

	if (preserved && !is_number(preserved, &count))
		return false;
	if (listening && pid && atol(pid) == (long)getpid() && !is_number(listening, &call->listening))
		return false;
	call->descriptors = count + call->listening;
	for (unsigned int fd = 3; fd < 3 + call->descriptors; fd++)
		if (fcntl((int)fd, F_GETFD) < 0)
			return false;
	return true;
}

/* false: Python has to look at it. */
static bool parse(struct engine_call *call, char *const *words)
{
	char *const *word = words;

	*call = (struct engine_call){ .words = words, .keeps_plan = true };
	for (; *word && is_option(*word); word++)
		if (!strcmp(*word, "--") || !take_option(call, engine_global_options, &word))
			return false;
	return *word && parse_verb(call, word) && find_descriptors(call);
}

static bool find_root(struct engine_call *call)
{
	const char *root = call->values[ENGINE_ROOT];

	/* The first call of all makes it; what has to be in it, and how, is Python's to know. */
	if (root && mkdir(root, 0700) < 0 && errno != EEXIST)
		return false;
	if (root ? !realpath(root, call->root) : !launch_state_directory(call->root))
		return false;
	if (snprintf(call->containers, sizeof(call->containers), "%s/containers", call->root) >= (int)sizeof(call->containers))
		return false;
	/* Whoever could write there says which process is signalled, and what is executed. */
	return launch_is_ours(call->root) && (launch_is_ours(call->containers) || errno == ENOENT);
}

/* --- the kept plan ----------------------------------------------------------------------------------- */

struct key {
	char *bytes; /* owned */
	size_t size;
};

static ssize_t read_text(const char *path, char *text, size_t size)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);

	text[length > 0 ? length : 0] = 0;
	return length;
}

/* The line of `text` that starts with `start`, cut off; "" without one. */
static const char *line_of(char *text, const char *start)
{
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, start, strlen(start))) {
			line[strcspn(line, "\n")] = 0;
			return line;
		}
	}
	return "";
}

/* What a container's plan depends on, apart from what its inputs name; sandbox/engine/compile.py reads it. */
static bool make_key(const struct engine_call *call, struct key *key)
{
	char bundle[PATH_MAX], path[PATH_MAX + 16], status[4096], cgroup[4096];
	const char *named = call->values[ENGINE_BUNDLE];
	struct stat about, space;

	if (!realpath(named && *named ? named : ".", bundle) || read_text("/proc/self/status", status, sizeof(status)) <= 0 ||
	    stat("/proc/self/ns/user", &space) < 0)
		return false;
	read_text("/proc/self/cgroup", cgroup, sizeof(cgroup));
	const char *capabilities = line_of(status, "CapEff:");
	snprintf(path, sizeof(path), "%s/config.json", bundle);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &about) < 0 || !S_ISREG(about.st_mode) || about.st_size > (off_t)CONFIG_MAX)
		return false;
	size_t room = sizeof(status) + 2 * sizeof(bundle) + sizeof(cgroup) + sizeof("systemd") + (size_t)about.st_size + 1;
	key->bytes = malloc(room);
	if (!key->bytes)
		return false;
	/* The NULs are part of it. */
	int length = snprintf(key->bytes, room, "oci%c%s%c%u %u%c%.16s%c%llu%c%s%c%s%c%s%c%s%c", 0, BUILD_ID, 0, geteuid(), getegid(), 0,
			      *capabilities ? capabilities + sizeof("CapEff:\t") - 1 : "", 0, (unsigned long long)space.st_ino, 0,
			      call->root, 0, bundle, 0, line_of(cgroup, "0::"), 0,
			      call->values[ENGINE_SYSTEMD_CGROUP] ? "systemd" : "", 0);
	if (length < 0 || (size_t)length >= room)
		return false;
	ssize_t size = read(fd, key->bytes + length, room - (size_t)length);
	if (size < 0 || size > about.st_size)
		return false;
	key->size = (size_t)length + (size_t)size;
	return true;
}

/* What is asked for by the environment is in no key. */
static bool is_regular(const struct engine_call *call)
{
	return call->keeps_plan && !getenv("NOTIFY_SOCKET") && !call->values[ENGINE_DEBUG];
}

static int create(const struct engine_call *call)
{
	struct key key = { 0 };
	char name[32] = "";
	struct plan plan;

	if (!make_key(call, &key))
		return engine_give_up(call);
	if (is_regular(call)) {
		launch_name_plan(key.bytes, key.size, name);
		int plan_fd = launch_find_plan(&plan, call->root, key.bytes, key.size, name);
		if (plan_fd >= 0)
			return create_main(call, &plan, plan_fd);
	}
	return python_compile(call->self, launch_key_file(key.bytes, key.size), name, call->descriptors, call->words);
}

static int join(const struct engine_call *call)
{
	struct container container;
	struct plan plan;

	if (!is_regular(call) || !call->arguments[0] || container_open(&container, call->containers, call->id) < 0)
		return python_compile(call->self, -1, "", call->descriptors, call->words);
	int plan_fd = container_open_plan(&container);
	container_close(&container);
	if (plan_fd < 0 || plan_read(&plan, plan_fd) < 0)
		return engine_give_up(call);
	return exec_main(call, &plan, plan_fd);
}

/* --- entry ------------------------------------------------------------------------------------------- */

int engine_give_up(const struct engine_call *call)
{
	return python_engine(call->self, call->descriptors, call->words);
}

static int dispatch(const struct engine_call *call)
{
	int status = -1;

	switch (call->verb) {
	case VERB_CREATE:
	case VERB_RUN:
		return create(call);
	case VERB_EXEC:
		return join(call);
	case VERB_START:
		status = verb_start(call);
		break;
	case VERB_STATE:
		status = verb_state(call);
		break;
	case VERB_KILL:
		status = verb_kill(call);
		break;
	case VERB_DELETE:
		status = verb_delete(call);
		break;
	case VERBS:
		break;
	}
	return status >= 0 ? status : engine_give_up(call);
}

/* argv: our name, what the caller asks for. */
int engine_main(char *const argv[])
{
	static char self[PATH_MAX];
	struct engine_call call;
	bool plain = parse(&call, argv + 1);

	/* What else the caller left open reaches nothing of ours. */
	if (!launch_find_self(self) || sys_close_on_exec_from(3 + call.descriptors) < 0)
		return EXIT_FAILURE;
	call.self = self;
	call.words = argv + 1;
	return plain && find_root(&call) ? dispatch(&call) : engine_give_up(&call);
}

/* argv: our name, the number of a descriptor open on a plan, what python_restore_signals() takes, what the caller
 * asked for.  Python comes back this way with a plan that it has just made. */
int engine_plan_main(char *const argv[])
{
	static char self[PATH_MAX];
	struct engine_call call;
	struct plan plan;

	if (!argv[1] || !argv[2] || !argv[3] || !parse(&call, argv + 3) || !launch_find_self(self) || !find_root(&call))
		return EXIT_FAILURE;
	int plan_fd = atoi(argv[1]);
	call.self = self;
	if (sys_close_on_exec_from(3 + call.descriptors) < 0)
		return EXIT_FAILURE;
	python_restore_signals(atoi(argv[2]));
	if (plan_read(&plan, plan_fd) < 0) {
		dprintf(2, "sandbox-oci: the plan cannot be read: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return call.verb == VERB_EXEC ? exec_main(&call, &plan, plan_fd) : create_main(&call, &plan, plan_fd);
}
