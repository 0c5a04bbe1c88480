/* Names in writable trees that have to stay absent: something empty lies there while a sandbox runs, so that a read-only
 * mount can lie on it, and is removed when the last sandbox that needs it ends.
 *
 * A name without a file cannot be mounted on, and a file that is unlinked behind a mount takes the mount with it
 * (Linux 3.18), so that the name would be free again: it has to be there on the host as long as the sandbox. */
#pragma once

#include "plan.h"

struct stubs {
	int directory_fd; /* owned; where sandboxes write down what they hold */
	int fd; /* owned, locked; what this one holds, or -1 */
	char name[16];
};

/* Remove what a monitor that was killed has left, and make what the plan wants; they lie beside the directory of all
 * containers.  On failure -1, with the operation and the call that failed. */
int stubs_take(struct stubs *stubs, const struct plan *plan, int containers_fd, const struct plan_op **failed,
	       const char **call);

/* When nobody is inside any more. */
void stubs_release(struct stubs *stubs);
