/* The filter, and the way of its notifications to the monitor. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

/* The descriptor comes into being with the filter, which may hold up any call by which we would hand it on, until
 * somebody answers it: nobody has it.  So a thread that the filter does not hold hands it on, and we make no call until
 * it has.  The thread ends then, or at the command's exec. */
enum courier_state { COURIER_WAITS, COURIER_SENDS, COURIER_SENT, COURIER_FAILED, COURIER_DISMISSED };

struct courier {
	_Atomic int state;
	int sync_fd;
	int listener_fd;
	int error;
};

#define COURIER_STACK 65536

static void carry(void *argument)
{
	const struct timespec moment = { .tv_nsec = 20000 };
	struct sync_message message = { .type = SYNC_LISTENER };
	struct courier *courier = argument;

	/* While it waits, no call of its may fail: errno is shared. */
	while (atomic_load(&courier->state) == COURIER_WAITS)
		syscall(SYS_nanosleep, &moment, NULL);
	if (atomic_load(&courier->state) == COURIER_SENDS) {
		bool sent = sync_send_fd(courier->sync_fd, &message, courier->listener_fd) == 0;

		courier->error = errno;
		atomic_store(&courier->state, sent ? COURIER_SENT : COURIER_FAILED);
	}
	for (;;)
		syscall(SYS_exit, 0);
}

/* Make the filter's descriptor known.  No system call is made here. */
static bool handed_on(struct courier *courier, int listener_fd)
{
	courier->listener_fd = listener_fd;
	atomic_store(&courier->state, COURIER_SENDS);
	while (atomic_load(&courier->state) == COURIER_SENDS)
		;
	return atomic_load(&courier->state) == COURIER_SENT;
}

static int install_with_listener(struct run *run, const struct sock_fprog *program, uint32_t flags)
{
	_Alignas(16) static char stack[COURIER_STACK];
	static struct courier courier;

	courier = (struct courier){ .state = COURIER_WAITS, .sync_fd = run->sync_fd };
	long thread = sys_thread(carry, &courier, stack + sizeof(stack));
	if (thread < 0)
		return refuse_with(run, (int)-thread, "clone", "");
	long listener_fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
	int error = errno;
	if (listener_fd < 0) {
		atomic_store(&courier.state, COURIER_DISMISSED);
		return refuse_with(run, error, "seccomp", "");
	}
	if (!handed_on(&courier, (int)listener_fd))
		return refuse_with(run, courier.error, "sendmsg", "listener");
	return 0;
}

int op_seccomp_filter(struct run *run, const struct plan_seccomp_filter *op)
{
	const size_t count = op->program.size / sizeof(struct sock_filter);
	const struct sock_fprog program = {
		.len = (unsigned short)count,
		.filter = (struct sock_filter *)(uintptr_t)plan_blob(run->plan, op->program),
	};

	if (op->program.size % sizeof(struct sock_filter) || count > BPF_MAXINSNS)
		return refuse_with(run, EINVAL, "seccomp", "");
	if (op->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) {
		/* It would hold the courier too. */
		if (op->flags & SECCOMP_FILTER_FLAG_TSYNC)
			return refuse_with(run, EINVAL, "seccomp", "");
		return install_with_listener(run, &program, op->flags);
	}
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, op->flags, &program) < 0)
		return refuse(run, "seccomp", "");
	return 0;
}
