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

#include "exit.h"
#include "run.h"
#include "sys.h"

/* The descriptor comes into being with the filter, which may hold up any call by which we would hand it on, until
 * somebody answers it: nobody has it.  So a thread that the filter does not hold hands it on, and we make no call until
 * the listener has it.  The thread ends then, or at the command's exec. */
enum courier_state { COURIER_WAITS, COURIER_SENDS, COURIER_SENT, COURIER_DISMISSED };

struct courier {
	_Atomic int state;
	struct run *run;
	int listener_fd;
};

#define COURIER_STACK 65536

/* The monitor says RESUME as soon as the listener has it. */
static int deliver(struct run *run, int listener_fd)
{
	struct sync_message message = { .type = SYNC_LISTENER };

	if (sync_send_fd(run->sync_fd, &message, listener_fd) < 0)
		return refuse(run, "sendmsg", "listener");
	if (sync_receive(run->sync_fd, &message, NULL) <= 0 || message.type != SYNC_RESUME)
		return refuse_with(run, ECANCELED, "sendmsg", "listener");
	/* As long as we had it, a listener that is gone would be waited for. */
	close(listener_fd);
	return 0;
}

static void carry(void *argument)
{
	const struct timespec moment = { .tv_nsec = 20000 };
	struct courier *courier = argument;

	/* While it waits, no call of its may fail: errno is shared. */
	while (atomic_load(&courier->state) == COURIER_WAITS)
		syscall(SYS_nanosleep, &moment, NULL);
	if (atomic_load(&courier->state) == COURIER_SENDS) {
		if (deliver(courier->run, courier->listener_fd) < 0) {
			/* The other thread might not even be able to end. */
			report_failure(courier->run);
			for (;;)
				syscall(SYS_exit_group, EXIT_OWN_FAILURE);
		}
		atomic_store(&courier->state, COURIER_SENT);
	}
	for (;;)
		syscall(SYS_exit, 0);
}

/* Wait, without a system call. */
static void await_delivery(struct courier *courier)
{
	while (atomic_load(&courier->state) != COURIER_SENT)
#if defined(__x86_64__)
		__asm__ volatile("pause");
#elif defined(__aarch64__)
		__asm__ volatile("yield");
#endif
}

static int install_with_listener(struct run *run, const struct sock_fprog *program, uint32_t flags)
{
	_Alignas(16) static char stack[COURIER_STACK];
	static struct courier courier;

	courier = (struct courier){ .state = COURIER_WAITS, .run = run };
	long thread = sys_thread(carry, &courier, stack + sizeof(stack));
	if (thread < 0)
		return refuse_with(run, (int)-thread, "clone", "");
	long listener_fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
	int error = errno;
	if (listener_fd < 0) {
		atomic_store(&courier.state, COURIER_DISMISSED);
		return refuse_with(run, error, "seccomp", "");
	}
	courier.listener_fd = (int)listener_fd;
	atomic_store(&courier.state, COURIER_SENDS);
	await_delivery(&courier);
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
