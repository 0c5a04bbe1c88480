"""Why did this host refuse, and what can be done?

Called when a step of a plan has failed: the host is looked at here and now, and nothing is
hinted at that was not found to be so.
"""

from __future__ import annotations

import errno
import os
import shutil

_SYSCTLS = "/proc/sys"
# What the kernel lets root of a user namespace mount (FS_USERNS_MOUNT).
_FOR_USERS = (
    "proc",
    "sysfs",
    "tmpfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "overlay",
    "ramfs",
    "fuse",
    "binfmt_misc",
)


def _sysctl(name: str) -> str | None:
    try:
        with open(f"{_SYSCTLS}/{name}") as file:
            return file.read().strip()
    except OSError:
        return None


def cure(op: object, call: str, number: int, subject: str) -> str:
    """Return what to do about errno `number` from `call` on `subject` in `op`; "" if we do not know."""
    kind = type(op).__name__
    if kind == "Isolate":
        return _no_namespaces(number)
    if kind == "MapIds":
        return _no_map(op, number)
    if kind == "Container" and call == "flock" and number == errno.EEXIST:
        return f"a sandbox named {subject} is running; choose another name, or end it: sandbox kill {subject}"
    if number == errno.ENOSYS:
        return f"this kernel ({os.uname().release}) lacks {call}; Linux 5.12 or newer is needed"
    if call == "openat2" and number == errno.ENOENT and kind in ("BindMount", "BindRoot"):
        return f'create {subject}, or mark it optional with "?{subject}"'
    if call == "openat2" and number == errno.ELOOP:
        return f"{subject} has become a symlink; name what it points to"
    if call == "openat2" and number == errno.EACCES:
        return _closed_parent(subject)
    if number == errno.EROFS:
        return f"{subject} does not exist below a tree that is read-only inside: create it on the host first"
    if number in (errno.ENOTDIR, errno.EISDIR) and kind == "BindMount":
        return "a file is bound onto a file, a directory onto a directory: see what is there already"
    if kind == "WorkingDirectory":
        return "the directory is not visible inside: --read or --write it, or choose one with --cwd"
    if kind == "SetRlimit" and number == errno.EPERM:
        return "a limit above the caller's own hard limit (ulimit -H -a) cannot be had without root"
    if kind == "SetNice":
        return "a nice value below the caller's own cannot be had without root"
    if number in (errno.ENOSPC, errno.EDQUOT) and kind == "Container":
        return f"there is no room: df {getattr(op, 'directory', '')}"
    if number == errno.ENOSPC:
        return "see sysctl fs.mount-max and user.max_mnt_namespaces, and the free memory for tmpfs"
    if kind == "NewMount" and number == errno.EPERM and getattr(op, "fstype", "") not in _FOR_USERS:
        return f"an ordinary user can mount no {getattr(op, 'fstype', '')}: let root mount it, and bind it"
    if number in (errno.EPERM, errno.EACCES) and _contained():
        return "we are in a container that forbids it: allow mounts there (podman/docker: --security-opt seccomp=unconfined)"
    return ""


def _no_namespaces(number: int) -> str:
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl kernel.unprivileged_userns_clone=1"
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "AppArmor forbids it: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    if number == errno.ENOSPC or _sysctl("user/max_user_namespaces") == "0":
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            if _sysctl(f"user/max_{kind}_namespaces") == "0":
                return f"sudo sysctl user.max_{kind}_namespaces=15000 (it is 0)"
        return "a limit user.max_*_namespaces is reached: end other sandboxes, or raise it"
    if number == errno.EPERM and _contained():
        return "we are in a container or sandbox that forbids it: allow user namespaces there"
    return ""


def _no_map(op: object, number: int) -> str:
    helper = getattr(op, "uid_helper", "")
    if not helper:
        return (
            "a user namespace whose parent denies the map: are we inside another one?" if number == errno.EPERM else ""
        )
    for path in (helper, getattr(op, "gid_helper", "")):
        if not shutil.which(path):
            return "sudo apt install uidmap"
        status = os.stat(path)
        if not status.st_mode & 0o4000 and "security.capability" not in os.listxattr(path):
            return f"{path} is neither setuid nor has the capability: sudo apt install --reinstall uidmap"
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return f"{path} lies on a file system mounted nosuid"
    return "see what it said above; compare the map with /etc/subuid and /etc/subgid"


def _closed_parent(path: str) -> str:
    parent = os.path.dirname(path)
    while parent not in ("", "/"):
        if not os.access(parent, os.X_OK):
            return f"{parent} is closed to you: chmod +x {parent}"
        parent = os.path.dirname(parent)
    return "a directory on the way to it is closed to you"


def _contained() -> bool:
    """Are we in a container, as far as one sees?"""
    if os.path.exists("/run/.containerenv") or os.path.exists("/.dockerenv"):
        return True
    try:
        with open("/proc/self/uid_map") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False
