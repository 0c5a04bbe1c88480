/* Operations that are declared and not written yet. */
#include <errno.h>

#include "run.h"

#define PENDING(name) \
	int op_##name(struct run *run, const struct plan_##name *op) \
	{ \
		(void)op; \
		return refuse_with(run, ENOSYS, #name, ""); \
	}
PENDING(make_fifo)
PENDING(change_mount)
PENDING(bind_console)
PENDING(make_directory)
PENDING(time_namespace)
PENDING(join_keyring)
PENDING(own_streams)
PENDING(set_scheduler)
PENDING(set_io_priority)
PENDING(set_personality)
PENDING(set_memory_policy)
PENDING(set_label)
PENDING(pin_cpus)
PENDING(find_home)
PENDING(find_command)
