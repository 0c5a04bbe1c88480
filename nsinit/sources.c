/* Who is root inside may have no way to a source that the caller has: it lies below a directory that is the caller's
 * alone.  And a tree keeps its peers outside only if it is copied before all others lose theirs.  So such a source is
 * opened, or copied, first of all, already in the new mount namespace: what was opened outside could not be mounted. */
#define _GNU_SOURCE
#include "sources.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "mount.h"
#include "sys.h"

struct source {
	const char *path;
	uint32_t early; /* enum plan_early */
	bool recursive;
};

static struct source source_of(const struct plan *plan, const struct plan_op *op)
{
	const struct plan_bind_mount *mount = (const struct plan_bind_mount *)op;
	const struct plan_bind_root *root = (const struct plan_bind_root *)op;

	if (op->code == OP_BIND_MOUNT)
		return (struct source){ plan_text(plan, mount->source), mount->early, mount->recursive };
	if (op->code == OP_BIND_ROOT)
		return (struct source){ plan_text(plan, root->source), root->early, true };
	return (struct source){ .early = EARLY_NO };
}

static int open_source(struct run *run, const struct source *source)
{
	cleanup_fd int fd = mount_source(source->path);

	if (fd < 0)
		return refuse(run, "openat2", source->path);
	if (source->early == EARLY_OPEN) {
		int open_fd = fd;

		fd = -1;
		return open_fd;
	}
	int tree_fd = sys_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | (source->recursive ? AT_RECURSIVE : 0));
	return tree_fd < 0 ? refuse(run, "open_tree", source->path) : tree_fd;
}

static int count_early(const struct plan *plan, const struct plan_op *end)
{
	int count = 0;

	for (const struct plan_op *op = plan_next(plan, NULL); op && op != end; op = plan_next(plan, op))
		count += source_of(plan, op).early != EARLY_NO;
	return count;
}

int sources_open(struct run *run)
{
	const uint32_t before = run->current;
	const int count = count_early(run->plan, NULL);

	run->current = 0;
	for (const struct plan_op *op = plan_next(run->plan, NULL); op; op = plan_next(run->plan, op), run->current++) {
		const struct source source = source_of(run->plan, op);

		if (source.early == EARLY_NO)
			continue;
		if (run->source_count == SOURCES_MAX)
			return refuse_with(run, E2BIG, "openat2", source.path);
		cleanup_fd int fd = open_source(run, &source);
		if (fd < 0)
			return -1;
		/* Out of the way of the numbers that descriptors are executed with. */
		run->sources[run->source_count] = fcntl(fd, F_DUPFD_CLOEXEC, run->first_fd + INIT_FDS + count);
		if (run->sources[run->source_count++] < 0)
			return refuse(run, "F_DUPFD", source.path);
	}
	run->current = before;
	return 0;
}

int sources_place(struct run *run, int first_fd)
{
	for (int i = 0; i < run->source_count; i++)
		if (dup2(run->sources[i], first_fd + i) < 0)
			return refuse(run, "dup2", "");
	return 0;
}

int source_take(const struct run *run, const struct plan_op *op, uint32_t early, const char *path)
{
	if (early == EARLY_NO)
		return mount_source(path);
	int number = count_early(run->plan, op);
	/* Where nothing was executed since, they are where they were. */
	return run->source_count ? run->sources[number] : run->first_fd + INIT_FDS + number;
}
