/* A running sandbox's directory in the state tree.  It is held by a lock: whose lock is free is
 * a left-over of a monitor that was killed, and whoever comes next removes it. */
#pragma once

#include "container.h"

enum state_result { STATE_OK, STATE_IN_USE, STATE_FAILED };

enum state_result state_register(struct container *container, const char *directory, const char *id, bool replaces);
void state_admit(const struct container *container, const struct plan *plan, int plan_fd);
void state_remove(struct container *container);
