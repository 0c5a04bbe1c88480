"""The door to processes: who one is, whether it lives, how it ended.

A process is named for good by its number and the time at which it was started (proc(5), stat field
22): a number alone may be somebody else's tomorrow.  Whatever is done to a process is done through a
pidfd, looked at behind the opening, so that nobody else can be hit.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DEAD = "ZX"

# struct pidfd_info, its first version; linux/pidfd.h
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_SIZE = 64
_PIDFD_INFO_EXIT = 1 << 3
_EXIT_CODE_AT = 60

_SIGSTOP = 19
_NS_GET_PARENT = 0xB702


def look(pid: int) -> tuple[str, int] | None:
    """Return the state's letter and the start time of the process, None where there is none."""
    try:
        # Bare, as hundreds are looked at in a row; the line is far shorter.
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        line = os.read(descriptor, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    # The name, in parentheses, may hold anything.
    fields = line[line.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])


def state(pid: int) -> str:
    """Return the letter of the state of a process, proc(5), "" where there is none."""
    found = look(pid) if pid else None
    return "" if found is None else found[0]


def is_stopped(pid: int) -> bool:
    """Was the process stopped by SIGSTOP?  Who waits for a child of vfork(2) that stands will stop when it comes back."""
    letter = state(pid)
    if letter != "D":
        return letter == "T"
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            pending = next((line for line in file if line.startswith(b"ShdPnd:")), b": 0")
    except OSError:
        return False
    return bool(int(pending.split()[1], 16) >> (_SIGSTOP - 1) & 1)


def parent(pid: int) -> int:
    """Return the number of the parent of a process, 0 where there is neither, or where it is not to be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(line[line.rindex(b")") + 2 :].split()[1])


def children(pid: int) -> list[int]:
    """Return the children of the first thread of a process, the oldest first."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(number) for number in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def open_process(pid: int, started: int) -> int:
    """Return a pidfd of the process `pid` that was started at `started`.

    Raises ProcessLookupError if that one has ended, a zombie included.
    """
    descriptor = os.pidfd_open(pid)
    found = look(pid)
    if found is None or found[0] in _DEAD or found[1] != started:
        os.close(descriptor)
        raise ProcessLookupError(pid)
    return descriptor


def lives(pid: int, started: int) -> bool:
    """Is there still the process `pid` that was started at `started`?"""
    found = look(pid)
    return found is not None and found[0] not in _DEAD and found[1] == started


def wait_end(descriptor: int, seconds: float | None) -> bool:
    """Wait until the process behind a pidfd has ended, for `seconds` at most; return whether it has."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0, seconds) * 1000))


def exit_status(descriptor: int) -> int | None:
    """Return the exit status of the ended process behind a pidfd, 128+N for a signal N.

    That of a child is collected.  That of another is read while it is a zombie, and told by Linux 6.15 and newer when its
    parent has collected it; None where nobody tells.
    """
    collected = reap(descriptor)
    if collected is not None:
        return collected
    end = time.monotonic() + 1  # between the two there is a moment without either
    while True:
        for find in (_zombie_status, _told_status):
            found = find(descriptor)
            if found is not None:
                return found
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def reap(descriptor: int) -> int | None:
    """Collect an ended child; return its exit status, None for a process that lives, or is none of ours."""
    try:
        result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def number_of(descriptor: int) -> int:
    """Return the number of the process behind a pidfd, -1 when that has been collected."""
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    return -1


def _zombie_status(descriptor: int) -> int | None:
    pid = number_of(descriptor)
    if pid <= 0:
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    fields = line[line.rindex(b")") + 2 :].split()
    # Field 35, that it waits, is 1 of a zombie for who may see field 52, the status: to others both are 0.
    if fields[0] != b"Z" or fields[32] != b"1" or number_of(descriptor) != pid:
        return None
    return _shell_status(int(fields[49]))


def _told_status(descriptor: int) -> int | None:
    from fcntl import ioctl

    info = bytearray(_PIDFD_INFO_SIZE)
    info[0] = _PIDFD_INFO_EXIT
    try:
        ioctl(descriptor, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not info[0] & _PIDFD_INFO_EXIT:
        return None
    return _shell_status(int.from_bytes(info[_EXIT_CODE_AT : _EXIT_CODE_AT + 4], "little"))


def _shell_status(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def numbers() -> Iterator[int]:
    """Return the numbers of all processes that /proc shows."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def members(kind: str, identity: tuple[int, int], candidates: Iterable[int]) -> list[int]:
    """Return those of `candidates` that are in the namespace `identity` (device, inode) of `kind` ("pid", "mnt") or,
    of pid namespaces, in one below it.

    Processes that we may not look into are none of ours, and passed over.
    """
    known = {identity: True}
    found = []
    for pid in candidates:
        own = namespace(kind, pid)
        if own is None:
            continue
        if own not in known:
            known[own] = kind == "pid" and _is_below(pid, identity)
        if known[own]:
            found.append(pid)
    return found


def namespace(kind: str, pid: int | str) -> tuple[int, int] | None:
    """Return device and inode of the namespace that a process is in, None where we may not see it."""
    try:
        status = os.stat(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_below(pid: int, identity: tuple[int, int]) -> bool:
    from fcntl import ioctl

    try:
        descriptor = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    while True:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == identity:
            os.close(descriptor)
            return True
        try:
            parent = ioctl(descriptor, _NS_GET_PARENT)
        except OSError:  # EPERM: further up than we are
            os.close(descriptor)
            return False
        os.close(descriptor)
        descriptor = parent
