/* The first process where others are already: it enters namespaces that exist, or shares its process namespace. */
#pragma once

#include "plan.h"

/* argv: "sandbox-join" to become a member of all of a container's namespaces, "sandbox-enter" to make a container by the
 * plan; then as for init_main(). */
int join_main(char *const argv[]);
bool join_wanted(const struct plan *plan);
