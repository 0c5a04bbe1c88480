/* A running sandbox's directory in the state tree.  It is held by a lock: whose lock is free is
 * a left-over of a monitor that was killed, and whoever comes next removes it. */
#pragma once

struct registration {
	int parent_fd; /* owned */
	int fd; /* owned; locked */
	char id[65];
};

enum state_result { STATE_OK, STATE_IN_USE, STATE_FAILED };

enum state_result state_register(struct registration *registration, const char *directory, const char *id);
int state_record(const struct registration *registration, int pid);
void state_remove(struct registration *registration);
