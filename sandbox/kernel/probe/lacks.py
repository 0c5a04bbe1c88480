"""What has run out: processes, descriptors, memory, room, keys."""

from __future__ import annotations

import errno
import os
import resource

from sandbox.kernel.probe.distribution import as_root, set_sysctl
from sandbox.kernel.probe.finding import UNKNOWN, Cause
from sandbox.kernel.probe.surroundings import allow, around, mount_of, read, sysctl

_LITTLE = 64 << 10
_FEW = 4


def lack(number: int) -> Cause:
    """Return what has run out where errno `number` says that something has."""
    if number == errno.EAGAIN:
        return _processes()
    if number == errno.EMFILE:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        why = f"a process may have {soft} descriptors here (ulimit -n), and more are needed"
        if soft == hard:
            return Cause(why=why, cure="raise the hard limit: see nofile in /etc/security/limits.conf")
        return Cause(why=why, cure=f"ulimit -n {1024 if hard == resource.RLIM_INFINITY else min(hard, 1024)}")
    if number == errno.ENFILE:
        return Cause(
            why=f"the system has no more open files than fs.file-max, {sysctl('fs.file-max')}",
            cure=set_sysctl("fs.file-max", 9223372036854775807),
        )
    if number == errno.ENOMEM:
        return _memory()
    return UNKNOWN


def _processes() -> Cause:
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    count = _own_threads()
    # Who may do without limits is not held to this one.
    if limit != resource.RLIM_INFINITY and count >= limit - 1 and os.geteuid() != 0:
        return Cause(
            why=f"{count} processes and threads of yours are running, of {limit} allowed (ulimit -u)",
            cure="end some of them, or raise the limit: see /etc/security/limits.conf",
        )
    for directory in _own_cgroups():
        most, current = read(f"{directory}/pids.max"), read(f"{directory}/pids.current")
        if most.isdigit() and current.isdigit() and int(current) >= int(most) - 1:
            return Cause(
                why=f"the cgroup {directory} has {current} processes, of {most} allowed (pids.max)",
                cure=allow("more processes", podman="--pids-limit=-1")
                or as_root(f"sh -c 'echo max >{directory}/pids.max'"),
            )
    threads, most = read("/proc/loadavg").split(" ")[3:4], sysctl("kernel.threads-max")
    total = threads[0].partition("/")[2] if threads else ""
    if total.isdigit() and most.isdigit() and int(total) >= int(most) - 1:
        return Cause(
            why=f"kernel.threads-max, {most}, is reached", cure=set_sysctl("kernel.threads-max", 2 * int(most))
        )
    return UNKNOWN


def _own_threads() -> int:
    """Return how many processes and threads the caller's uid has, as far as they can be seen."""
    count = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid == os.geteuid():
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:  # it has ended, or is another's
            continue
    return count


def _own_cgroups() -> list[str]:
    """Return our cgroup and those above it, as directories."""
    from sandbox.kernel.delegation import mount_point, own_cgroup

    root, path = mount_point(), own_cgroup().rstrip("/")
    found = []
    while root and path:
        found.append(f"{root}{path}")
        path = path.rpartition("/")[0]
    return found


def _memory() -> Cause:
    for directory in _own_cgroups():
        most, current = read(f"{directory}/memory.max"), read(f"{directory}/memory.current")
        if most.isdigit() and current.isdigit() and int(current) >= int(most) * 0.95:
            return Cause(
                why=f"the cgroup {directory} uses {current} of {most} bytes of memory (memory.max)",
                cure=allow("more memory") or "end something in it, or raise its limit",
            )
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:") and int(line.split()[1]) < 32 << 10:
            return Cause(why=f"{line.split()[1]} kB of memory are left", cure="end something: top -o %MEM")
    return UNKNOWN


def no_room(path: str, number: int = 0) -> Cause:
    """Return why nothing can be made below `path`: no blocks, no inodes, or a quota."""
    if number not in (0, errno.ENOSPC, errno.EDQUOT):
        return UNKNOWN
    while path not in ("", "/") and not os.path.exists(path):
        path = os.path.dirname(path)
    try:
        space = os.statvfs(path)
    except OSError:
        return UNKNOWN
    path = mount_of(path)
    if number == errno.EDQUOT:
        return Cause(why=f"your quota on the file system of {path} is used up", cure="remove files: quota -s")
    # What was made before the refusal has been removed again.
    free = space.f_bavail * space.f_frsize
    if space.f_blocks and free < _LITTLE:
        left = f"has {free >> 10} kB left" if free else "is full"
        return Cause(why=f"the file system of {path} {left}", cure=f"make room: df -h {path}")
    if space.f_files and space.f_favail < _FEW:
        left = {0: "no inode", 1: "one inode"}.get(space.f_favail, f"{space.f_favail} inodes")
        return Cause(why=f"the file system of {path} has {left} left", cure=f"remove files: df -i {path}")
    return UNKNOWN


def no_mount() -> Cause:
    """Return why there is no room for one more mount."""
    count, most = len(read("/proc/self/mountinfo").splitlines()), sysctl("fs.mount-max")
    if most.isdigit() and count >= 0.9 * int(most):
        return Cause(why=f"{count} mounts, of {most} allowed (fs.mount-max)", cure=set_sysctl("fs.mount-max", 100000))
    return UNKNOWN


def no_keys() -> Cause:
    """Return why the caller has no room for one more keyring, /proc/key-users."""
    for line in read("/proc/key-users").splitlines():
        uid, _, rest = line.partition(":")
        fields = rest.split()
        if uid.strip() != str(os.geteuid()) or len(fields) != 4:
            continue
        for what, field in (("maxkeys", fields[2]), ("maxbytes", fields[3])):
            used, _, most = field.partition("/")
            if int(used) >= 0.95 * int(most):
                name = f"kernel.keys.{'root_' if os.geteuid() == 0 else ''}{what}"
                cure = set_sysctl(name, 10 * int(most))
                if around():
                    cure = f"on the host: {cure}"
                return Cause(why=f"{used} of {name}, {most}, are in use by uid {uid.strip()}", cure=cure)
    return UNKNOWN
