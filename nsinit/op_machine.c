/* What makes the sandbox look like a machine of its own: names, loopback, sysctls, clocks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

int op_set_hostname(struct run *run, const struct plan_set_hostname *op)
{
	const char *name = plan_text(run->plan, op->name);

	return sethostname(name, strlen(name)) < 0 ? refuse(run, "sethostname", name) : 0;
}

int op_set_domainname(struct run *run, const struct plan_set_domainname *op)
{
	const char *name = plan_text(run->plan, op->name);

	return setdomainname(name, strlen(name)) < 0 ? refuse(run, "setdomainname", name) : 0;
}

int op_loopback_up(struct run *run, const struct plan_loopback_up *op)
{
	struct ifreq request = { .ifr_name = "lo" };
	cleanup_fd int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)op;
	if (socket_fd < 0)
		return refuse(run, "socket", "lo");
	if (ioctl(socket_fd, SIOCGIFFLAGS, &request) < 0)
		return refuse(run, "SIOCGIFFLAGS", "lo");
	request.ifr_flags |= IFF_UP;
	if (ioctl(socket_fd, SIOCSIFFLAGS, &request) < 0)
		return refuse(run, "SIOCSIFFLAGS", "lo");
	return 0;
}

/* Through the procfs that was opened and checked at the start; an image cannot redirect the
 * write (runc CVE-2019-19921, CVE-2025-52881). */
int op_sysctl(struct run *run, const struct plan_sysctl *op)
{
	const char *path = plan_text(run->plan, op->path);
	const char *value = plan_text(run->plan, op->value);
	cleanup_fd int sys_fd = sys_openat2(run->proc_fd, "sys", O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_XDEV);

	if (sys_fd < 0)
		return refuse(run, "openat2", "/proc/sys");
	cleanup_fd int fd =
		sys_openat2(sys_fd, path, O_WRONLY, RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return refuse(run, "openat2", path);
	if (write(fd, value, strlen(value)) < 0)
		return refuse(run, "write", path);
	return 0;
}

/* Who makes a time namespace is not in it, and may set its clocks until somebody is, time_namespaces(7). */
int op_time_namespace(struct run *run, const struct plan_time_namespace *op)
{
	const char *offsets = plan_text(run->plan, op->offsets);
	const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;

	if (unshare(CLONE_NEWTIME) < 0)
		return refuse(run, "unshare", "");
	if (*offsets) {
		cleanup_fd int fd = sys_openat2(run->proc_fd, "self/timens_offsets", O_WRONLY, resolve);

		if (fd < 0)
			return refuse(run, "openat2", "/proc/self/timens_offsets");
		if (write(fd, offsets, strlen(offsets)) < 0)
			return refuse(run, "write", "/proc/self/timens_offsets");
	}
	cleanup_fd int directory_fd = sys_openat2(run->proc_fd, "self/ns", O_PATH | O_DIRECTORY, resolve);
	cleanup_fd int namespace_fd = openat(directory_fd, "time_for_children", O_RDONLY | O_CLOEXEC);
	if (namespace_fd < 0)
		return refuse(run, "openat", "/proc/self/ns/time_for_children");
	return setns(namespace_fd, CLONE_NEWTIME) < 0 ? refuse(run, "setns", "/proc/self/ns/time_for_children") : 0;
}
