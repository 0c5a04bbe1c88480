#pragma once

#include "sync.h"

struct monitor;

void signals_send(struct monitor *monitor, int number, enum signal_target target);
void signals_stopped(struct monitor *monitor);
void signals_pass(struct monitor *monitor);

/* Take back a signal that a call of ours has just raised, as SIGPIPE: by our descriptor it would go to the command. */
void signals_forget(int number);
