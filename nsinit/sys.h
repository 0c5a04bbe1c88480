/* Doors to the kernel that libc lacks, and descriptors that close themselves. */
#pragma once

#include <stdbool.h>
#include <linux/mount.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

static inline void close_fd(int *fd)
{
	extern int close(int);
	if (*fd >= 0)
		close(*fd);
}
#define cleanup_fd __attribute__((cleanup(close_fd)))

struct mount_attributes { /* struct mount_attr, mount_setattr(2) */
	uint64_t set, clear, propagation, userns_fd;
};

int sys_openat2(int directory_fd, const char *path, uint64_t flags, uint64_t resolve);
int sys_open_tree(int directory_fd, const char *path, unsigned int flags);
int sys_move_mount(int from_fd, int to_fd, const char *to_path, unsigned int flags);
int sys_mount_setattr(int fd, bool recursive, const struct mount_attributes *attributes);
int sys_fsopen(const char *fstype);
int sys_fsconfig(int fs_fd, unsigned int command, const char *key, const char *value);
int sys_fsmount(int fs_fd, uint64_t attributes);
int sys_pivot_root(const char *root, const char *old);
int sys_detach(const char *path);
int sys_execveat(int fd, char *const argv[], char *const envp[]);
pid_t sys_clone(uint64_t flags, int cgroup_fd, bool sibling);
long sys_thread(void (*run)(void *argument), void *argument, void *stack_end);
int sys_pidfd_open(pid_t pid);
int sys_pidfd_send_signal(int process_fd, int number);
int sys_close_on_exec_from(unsigned int first_fd);
int sys_close_from(unsigned int first_fd);
bool write_whole(int fd, const void *data, size_t size);
