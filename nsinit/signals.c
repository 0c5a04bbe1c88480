/* Signals on their way in, and the shell's stop and go. */
#define _GNU_SOURCE
#include "signals.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <time.h>
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

/* Stop as everybody does, and come back when the shell says go on: it may stop a job, and has to be told.  Where there
 * is no shell to say so, the kernel lets nobody stop (the group is orphaned), and we go on at once. */
static void stop_ourselves(bool with_group)
{
	const struct timespec now = { 0 };
	sigset_t stop, go_on;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	sigemptyset(&go_on);
	sigaddset(&go_on, SIGCONT);
	kill(with_group ? 0 : getpid(), SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &stop, NULL);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	sigtimedwait(&go_on, NULL, &now); /* by which we came back */
}

static void go_on(struct monitor *monitor)
{
	deadline_release(monitor);
	relay_resume(&monitor->relay);
	signals_send(monitor, SIGCONT, stop_target(monitor));
}

/* The shell's stop and go: the sandbox stops with us, and the terminal is the shell's meanwhile. */
static void stop(struct monitor *monitor, bool with_group)
{
	signals_send(monitor, SIGSTOP, stop_target(monitor));
	deadline_hold(monitor);
	relay_flush(&monitor->relay);
	relay_restore(&monitor->relay);
	stop_ourselves(with_group);
	go_on(monitor);
}

/* The command has stopped.  Where its input is the caller's terminal, that was Ctrl-Z, which outside stops the whole job,
 * a pipeline with all that is in it.  Elsewhere it is the command's own affair: nobody could tell us to go on. */
void signals_stopped(struct monitor *monitor)
{
	if (monitor->relay.raw)
		stop(monitor, true);
}

void signals_forget(int number)
{
	const struct timespec now = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	sigtimedwait(&set, NULL, &now);
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
		stop(monitor, false);
		break;
	case SIGCONT:
		go_on(monitor);
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
