/* Attacks on what is around a contained program, each in a process of its own. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <sys/types.h>

/* What an attack needs to fail.  What nobody promised and succeeds is told, and is no breach. */
enum promise {
	ALWAYS = 0,
	FILTER = 1 << 0,  /* a filter of system calls */
	NESTED = 1 << 1,  /* no namespaces inside */
	NETWORK = 1 << 2, /* a network of its own */
	INIT = 1 << 3,    /* a process 1 of the runtime's own */
	POWERLESS = 1 << 4, /* no capability */
	BARE = 1 << 5, /* nothing of the caller's environment */
	CGROUP = 1 << 6, /* a cgroup of its own */
	NEVER = 1 << 7, /* documented as no boundary: if it holds one day, the documents are wrong */
};

struct attack {
	const char *name;
	int promise;
	void (*try)(void); /* returns if nothing was gained */
};

extern const struct attack open_attacks[], file_attacks[], proc_attacks[], process_attacks[], mount_attacks[],
	call_attacks[], reach_attacks[], limits_attacks[];

/* What the caller says is around; a null pointer or zero is "not there". */
struct surroundings {
	const char *hidden;   /* a file that is not to be read */
	const char *fixed;    /* a directory that is shown read-only, with `note` and `dir` in it */
	const char *project;  /* a directory that may be written, with `sub/private` and `sub/fixed` covered */
	const char *abstract; /* a socket's name in the caller's network */
	const char *socket;   /* a socket's path that is not shown */
	const char *cgroup;   /* the cgroup above its own, on the host */
	const char *state;    /* a directory of a sandbox that is kept */
	const char *program;  /* this one */
	int port, key;        /* of the caller's loopback; of System V objects of the caller's */
	pid_t outside;        /* a process of the caller's, by its number there */
	int promised;
	char inherited[256]; /* descriptors that were open at the start */
};
extern struct surroundings around;

__attribute__((noreturn, format(printf, 1, 2))) void broke(const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void not_here(const char *format, ...);

/* The end of the file of that name in a directory, as a path that lasts for fifteen more calls. */
const char *below(const char *directory, const char *name);
/* Up to size - 1 bytes of a file, or -1. */
ssize_t read_file(const char *path, char *content, size_t size);
long write_file(const char *path, const char *text);
/* Broken if what is read from there is the caller's secret. */
void must_not_tell(const char *path);
void must_not_tell_fd(int fd, const char *how);
/* Broken if it can be opened for writing. */
void must_not_write(const char *path);
/* The result of a call that ought to fail. */
void must_fail(long result, const char *what);
/* Become root in new user and mount namespaces; not_here if that is refused. */
void become_root_inside(void);

#endif
