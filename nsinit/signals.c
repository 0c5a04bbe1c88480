/* Signals on their way in, and the shell's stop and go. */
#define _GNU_SOURCE
#include "signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "monitor.h"

/* Without a process 1 of ours, all that can be reached from here is the command and its group; one that joins is all that
 * is meant. */
void signals_send(struct monitor *monitor, int number, enum signal_target target)
{
	struct sync_message message = { .type = SYNC_SIGNAL, .number = (uint32_t)number, .flag = target };

	if (monitor_has_reaper(monitor))
		sync_send(monitor->sync_fd, &message);
	else if (target == TO_COMMAND || kill(-monitor->init, number) < 0)
		kill(monitor->init, number);
}

/* With a time limit the clock stands meanwhile, and so nothing may go on. */
static enum signal_target stop_target(const struct monitor *monitor)
{
	return monitor->deadline.fd >= 0 ? TO_ALL : TO_GROUP;
}

/* The shell's stop and go: the sandbox stops with us, and the terminal is the shell's meanwhile. */
static void stop(struct monitor *monitor)
{
	signals_send(monitor, SIGSTOP, stop_target(monitor));
	deadline_hold(monitor);
	relay_restore(&monitor->relay);
	raise(SIGSTOP);
	deadline_release(monitor);
}

void signals_pass(struct monitor *monitor)
{
	struct signalfd_siginfo info;

	if (read(monitor->signals_fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		break;
	case SIGTSTP:
		stop(monitor);
		break;
	case SIGCONT:
		relay_resume(&monitor->relay);
		signals_send(monitor, SIGCONT, stop_target(monitor));
		break;
	case SIGWINCH:
		if (monitor->relay.replaced)
			relay_window(&monitor->relay);
		else
			signals_send(monitor, SIGWINCH, TO_COMMAND);
		break;
	default:
		monitor->passed |= 1ull << (info.ssi_signo - 1);
		relay_hurry(&monitor->relay, info.ssi_signo);
		/* The terminal signals a whole process group: the command's is another one. */
		signals_send(monitor, (int)info.ssi_signo, info.ssi_code == SI_KERNEL ? TO_GROUP : TO_COMMAND);
	}
}
