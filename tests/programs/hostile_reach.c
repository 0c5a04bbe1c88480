/* Reaching what is not there: the host's network, sockets, shared memory, keys, cgroups, terminals. */
#define _GNU_SOURCE
#include "hostile.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void abstract(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	if (!around.abstract)
		not_here("no such socket");
	socklen_t length = (socklen_t)(sizeof(sa_family_t) + 1 + strlen(around.abstract));
	strncpy(address.sun_path + 1, around.abstract, sizeof(address.sun_path) - 2);
	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);

		must_fail(connect(fd, (struct sockaddr *)&address, length),
			  "connected to an abstract socket of the caller's");
		close(fd);
	}
}

static void path_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!around.socket)
		not_here("no such socket");
	strncpy(address.sun_path, around.socket, sizeof(address.sun_path) - 1);
	must_fail(connect(fd, (struct sockaddr *)&address, sizeof(address)), "connected to a socket that is not shown");
}

/* A socket in a directory that is shown is a door that somebody has opened on purpose. */
static void shared_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!around.project)
		not_here("nothing may be written");
	strncpy(address.sun_path, below(around.project, "door"), sizeof(address.sun_path) - 1);
	must_fail(connect(fd, (struct sockaddr *)&address, sizeof(address)), "a socket in the project");
}

static void loopback(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)around.port) };
	int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!around.port)
		not_here("nobody listens");
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	must_fail(connect(stream, (struct sockaddr *)&address, sizeof(address)), "connected to the caller's loopback");
	/* Nobody is told of a lost datagram: the host side looks. */
	sendto(datagram, "out", 3, 0, (struct sockaddr *)&address, sizeof(address));
}

static void interfaces(void)
{
	struct if_nameindex *names = if_nameindex();

	for (struct if_nameindex *name = names; name && name->if_index; name++)
		if (strcmp(name->if_name, "lo"))
			broke("the interface %s", name->if_name);
	char content[4096];
	if (read_file("/proc/net/unix", content, sizeof(content)) > 0 && around.abstract && strstr(content, around.abstract))
		broke("/proc/net/unix names the caller's sockets");
}

static void outer_world(void)
{
	static const char *const addresses[] = { "1.1.1.1", "8.8.8.8", "169.254.169.254", "10.0.2.2", "192.168.0.1" };

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(53) };
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		inet_pton(AF_INET, addresses[i], &address.sin_addr);
		/* Of a datagram socket, connect only asks for the way. */
		must_fail(connect(fd, (struct sockaddr *)&address, sizeof(address)), addresses[i]);
		close(fd);
	}
}

static void network_changed(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo" };

	must_fail(ioctl(fd, 0x8914 /* SIOCSIFFLAGS */, &request), "took the loopback down");
	must_fail(ioctl(fd, 0x89a0 /* SIOCBRADDBR */, "br0"), "made a bridge");
	int tunnel = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	must_fail(tunnel, "opened /dev/net/tun");
}

static void events(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return;
	struct { struct nlmsghdr header; char text[16]; } message = { { sizeof(message), 16, 0, 0, 0 }, "add@/hostile" };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	must_fail(sendto(fd, &message, sizeof(message), 0, (struct sockaddr *)&kernel, sizeof(kernel)), "feigned a device");
	int audit = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
	if (audit >= 0) {
		struct { struct nlmsghdr header; char text[16]; } record = { { sizeof(record), 1000, 5, 1, 0 }, "" };
		char answer[256] = "";
		struct pollfd waiting = { .fd = audit, .events = POLLIN };

		if (send(audit, &record, sizeof(record), 0) > 0 && poll(&waiting, 1, 100) == 1 && recv(audit, answer, sizeof(answer), 0) > 0)
			if (!((struct nlmsgerr *)(answer + sizeof(struct nlmsghdr)))->error)
				broke("asked the audit system");
	}
}

static void shared_memory(void)
{
	char path[64];

	if (!around.key)
		not_here("no such object");
	must_fail(shmget(around.key, 1, 0), "shared memory of the caller's");
	must_fail(msgget(around.key, 0), "a message queue of the caller's");
	must_fail(semget(around.key, 1, 0), "a semaphore of the caller's");
	snprintf(path, sizeof(path), "/dev/shm/hostile-%d", around.key);
	must_not_tell(path);
	snprintf(path, sizeof(path), "hostile-%d", around.key);
	must_fail(syscall(SYS_mq_open, path, O_RDONLY, 0, NULL), "a queue of the caller's");
}

/* The caller's session keyring, and every key that the kernel would name. */
static void keyring(void)
{
	char content[64] = "";

	long found = syscall(SYS_keyctl, 10 /* SEARCH */, -3, "user", "sandbox-test-key", 0);
	if (found < 0)
		found = syscall(SYS_request_key, "user", "sandbox-test-key", NULL, 0);
	if (found >= 0 && syscall(SYS_keyctl, 11 /* READ */, found, content, sizeof(content) - 1) > 0 && strstr(content, "canary"))
		broke("read the caller's key");
	for (long ring = -5; ring < 0; ring++)
		if ((found = syscall(SYS_keyctl, 10, ring, "user", "sandbox-test-key", 0)) >= 0)
			broke("found the caller's key in the keyring %ld", ring);
}

static int touched;

static int change(const char *path, const struct stat *about, int kind, struct FTW *where)
{
	(void)about, (void)where;
	if (kind == FTW_F && !access(path, W_OK) && open(path, O_WRONLY | O_CLOEXEC) >= 0)
		touched = 1;
	if (kind == FTW_D && !mkdir(below(path, "hostile"), 0700)) {
		rmdir(below(path, "hostile"));
		touched = 1;
	}
	return touched;
}

static void cgroups(void)
{
	if (access("/sys/fs/cgroup/cgroup.procs", F_OK))
		not_here("no /sys/fs/cgroup");
	nftw("/sys/fs/cgroup", change, 16, FTW_PHYS);
	if (touched)
		broke("changed a cgroup");
	must_fail(write_file("/sys/fs/cgroup/cgroup.procs", "0"), "moved itself");
	must_fail(write_file("/sys/fs/cgroup/../cgroup.kill", "1"), "killed the cgroup above");
}

static void dev_entries(const char *top)
{
	static const char *const known[] = { "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console" };
	DIR *directory = opendir(top);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		struct stat about;
		int fine = 0;

		if (lstat(below(top, entry->d_name), &about) || (!S_ISCHR(about.st_mode) && !S_ISBLK(about.st_mode)))
			continue;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			fine |= !strcmp(known[i], entry->d_name);
		/* By desktop-gpu, where there are such. */
		fine |= !strncmp(entry->d_name, "nvidia", 6);
		/* On a terminal it is that one. */
		fine |= ttyname(0) && !strcmp(ttyname(0), below(top, entry->d_name));
		if (!fine || S_ISBLK(about.st_mode))
			broke("the device %s/%s", top, entry->d_name);
	}
}

static void devices(void)
{
	dev_entries("/dev");
	dev_entries("/dev/pts");
	dev_entries("/dev/shm");
	if (open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC) >= 0 && !isatty(0))
		broke("the console");
}

/* Terminals of its own are numbered from 0: others would be the host's. */
static void terminals(void)
{
	unsigned number = 99;
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master >= 0 && !ioctl(master, TIOCGPTN, &number) && number > 1)
		broke("there are %u terminals before ours", number);
	for (int i = 0; i < 16; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/dev/pts/%d", i);
		if ((unsigned)i != number && !isatty(0) && open(path, O_RDWR | O_NOCTTY | O_CLOEXEC) >= 0)
			broke("opened %s", path);
	}
	must_fail(open("/dev/tty0", O_RDWR | O_NOCTTY), "opened /dev/tty0");
	must_fail(open("/dev/vcs", O_RDONLY), "opened /dev/vcs");
	int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (tty >= 0 && !isatty(0) && !isatty(1) && !isatty(2))
		broke("there is a terminal that is on no descriptor");
}

const struct attack reach_attacks[] = {
	{ "abstract-socket", NETWORK, abstract },
	{ "socket-that-is-not-shown", ALWAYS, path_socket },
	{ "socket-in-a-shared-directory", NEVER, shared_socket },
	{ "loopback-of-the-host", NETWORK, loopback },
	{ "interfaces-of-the-host", NETWORK, interfaces },
	{ "the-world", NETWORK, outer_world },
	{ "network-changed", ALWAYS, network_changed },
	{ "events-and-audit", ALWAYS, events },
	{ "shared-memory", ALWAYS, shared_memory },
	{ "keyring-of-the-caller", ALWAYS, keyring },
	{ "cgroups-changed", ALWAYS, cgroups },
	{ "devices-of-the-host", ALWAYS, devices },
	{ "terminals-of-the-host", ALWAYS, terminals },
	{ 0 },
};
