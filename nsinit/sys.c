#define _GNU_SOURCE
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int sys_openat2(int directory_fd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };
	long fd;

	/* EAGAIN: something was renamed on the way; the walk is only as good as a second try. */
	for (int tries = 0; tries < 64; tries++) {
		fd = syscall(SYS_openat2, directory_fd, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return (int)fd;
}

int sys_open_tree(int directory_fd, const char *path, unsigned int flags)
{
	return (int)syscall(SYS_open_tree, directory_fd, path, flags | OPEN_TREE_CLOEXEC);
}

int sys_move_mount(int from_fd, int to_fd, const char *to_path, unsigned int flags)
{
	return (int)syscall(SYS_move_mount, from_fd, "", to_fd, to_path, flags | MOVE_MOUNT_F_EMPTY_PATH);
}

int sys_mount_setattr(int fd, bool recursive, const struct mount_attributes *attributes)
{
	return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), attributes,
			    sizeof(*attributes));
}

int sys_fsopen(const char *fstype)
{
	return (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC);
}

int sys_fsconfig(int fs_fd, unsigned int command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs_fd, command, key, value, 0);
}

int sys_fsmount(int fs_fd, uint64_t attributes)
{
	return (int)syscall(SYS_fsmount, fs_fd, FSMOUNT_CLOEXEC, (unsigned int)attributes);
}

int sys_pivot_root(const char *root, const char *old)
{
	return (int)syscall(SYS_pivot_root, root, old);
}

/* Take the mount off the tree now, and end it when nobody uses it any more, umount2(2). */
int sys_detach(const char *path)
{
	return (int)syscall(SYS_umount2, path, 2 /* MNT_DETACH: <sys/mount.h> and <linux/mount.h> exclude each other */);
}

int sys_execveat(int fd, char *const argv[], char *const envp[])
{
	return (int)syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
}

/* Fork into new namespaces and, where `cgroup_fd` is one, into that cgroup; as a child of our own, or as a `sibling`
 * of ours.  A surrounding container may know clone(2) only. */
pid_t sys_clone(uint64_t flags, int cgroup_fd, bool sibling)
{
	struct clone_args args = {
		.flags = flags | (sibling ? CLONE_PARENT : 0) | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
		.exit_signal = sibling ? 0 : SIGCHLD, /* a sibling's is ours */
		.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0 && errno == ENOSYS && cgroup_fd < 0)
		pid = syscall(SYS_clone, args.flags | SIGCHLD, 0, 0, 0, 0);
	return (pid_t)pid;
}

/* A thread that libc knows nothing of, on a stack of ours, which must not return.  Negative: errno, negated. */
long sys_thread(void (*run)(void *argument), void *argument, void *stack_end)
{
	const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	void **stack = stack_end;

	*--stack = argument;
	*--stack = (void *)run;
#if defined(__x86_64__)
	register long zero1 __asm__("r10") = 0;
	register long zero2 __asm__("r8") = 0;
	long result = SYS_clone;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "pop %%rax\n\t"
			 "pop %%rdi\n\t"
			 "call *%%rax\n\t"
			 "hlt\n"
			 "1:"
			 : "+a"(result)
			 : "D"(flags), "S"(stack), "d"(0), "r"(zero1), "r"(zero2)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long result __asm__("x0") = (long)flags;
	register void *child_stack __asm__("x1") = stack;
	register long zero1 __asm__("x2") = 0;
	register long zero2 __asm__("x3") = 0;
	register long zero3 __asm__("x4") = 0;
	register long number __asm__("x8") = SYS_clone;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "ldp x1, x0, [sp], #16\n\t"
			 "blr x1\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(result)
			 : "r"(child_stack), "r"(zero1), "r"(zero2), "r"(zero3), "r"(number)
			 : "memory");
#else
#error "how does a thread start here?"
#endif
	return result;
}

int sys_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int sys_pidfd_send_signal(int process_fd, int number)
{
	return (int)syscall(SYS_pidfd_send_signal, process_fd, number, NULL, 0);
}

int sys_close_on_exec_from(unsigned int first_fd)
{
	return (int)syscall(SYS_close_range, first_fd, ~0u, CLOSE_RANGE_CLOEXEC);
}

int sys_close_from(unsigned int first_fd)
{
	return (int)syscall(SYS_close_range, first_fd, ~0u, 0);
}

bool write_whole(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t written = write(fd, at, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		at += written;
		size -= (size_t)written;
	}
	return true;
}
