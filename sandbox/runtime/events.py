"""What the kernel tells of a container while it runs: that it ran out of memory, or is about to.

The files of a cgroup that change wake poll(2) up, cgroup-v2.rst and accounting/psi.rst; there is no
thread and no timer.
"""

from __future__ import annotations

import os
import select
import time

from sandbox.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self


class Pressure:
    """How hard it is for a container to get memory: `LEVEL` is the share of time in which something waits for it."""

    LOW = "low"
    MEDIUM = "medium"
    CRITICAL = "critical"


# Whom it stops, and in microseconds: for how long, within which window.  Without privilege a window is a multiple
# of two seconds.
_TRIGGERS = {
    Pressure.LOW: ("some", 100_000, 2_000_000),
    Pressure.MEDIUM: ("some", 600_000, 2_000_000),
    Pressure.CRITICAL: ("full", 1_000_000, 2_000_000),
}


class Notifications:
    """Events of one kind, counted.

    Iterating gives a number for each time that something happened, and ends when nothing lives in the container any
    more.  To be closed, or used as a context manager.
    """

    def __init__(self, directory: str, descriptor: int, key: str) -> None:
        """Watch `descriptor`, a file of the cgroup; `key` is the line to count in it, "": each waking up is one."""
        self._descriptor = descriptor
        self._key = key
        self._count = self._read()
        self._events = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLPRI)
        self._poll.register(self._events, select.POLLPRI)

    def wait(self, seconds: float | None = None) -> int | None:
        """Return how often it has happened since the last call: 0 after `seconds` in which it has not, None when
        the container has ended."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            if not self._is_populated():
                return None
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return 0
            woken = [descriptor for descriptor, _ in self._poll.poll(None if left is None else left * 1000)]
            count = self._count
            self._count = self._read()
            if self._key and self._count > count:
                return self._count - count
            if not self._key and self._descriptor in woken and self._is_populated():
                return 1

    def fileno(self) -> int:
        """Return a descriptor, for poll(2): with POLLPRI, it may have happened."""
        return self._descriptor

    def take(self) -> int:
        """Return how often it has happened since the last call, of what is counted; 0 of pressure, which wakes up alone."""
        before, self._count = self._count, self._read()
        return self._count - before

    def __iter__(self) -> Iterator[int]:
        """Wait for each time that it happens."""
        while (count := self.wait()) is not None:
            yield count

    def close(self) -> None:
        """Watch no longer."""
        for descriptor in (self._descriptor, self._events):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._events = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> int:
        """Return the count; reading it is also what arms poll(2) anew."""
        if not self._key:
            return 0
        try:
            content = os.pread(self._descriptor, 4096, 0).decode()
        except OSError:  # ENODEV: the cgroup is gone
            return self._count
        for line in content.splitlines():
            name, _, value = line.partition(" ")
            if name == self._key:
                return int(value)
        return 0

    def _is_populated(self) -> bool:
        try:
            return "populated 1" in os.pread(self._events, 4096, 0).decode()
        except OSError:
            return False


def oom(directory: str) -> Notifications:
    """Watch for kills of the kernel for want of memory.  Raises HostError."""
    if not directory:
        raise HostError("a container without a cgroup has no memory events")
    try:
        descriptor = os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise HostError(
            f"cannot read {directory}/memory.events: {error.strerror}",
            hint="the controller memory has to be delegated to you",
        ) from error
    return Notifications(directory, descriptor, "oom_kill")


def memory_pressure(directory: str, level: str) -> Notifications:
    """Watch for pressure on memory (Pressure).  Raises HostError, ValueError for a level that there is not."""
    if level not in _TRIGGERS:
        raise ValueError(f"{level}: a level is one of {', '.join(_TRIGGERS)}")
    if not directory:
        raise HostError("a container without a cgroup has no memory events")
    kind, stall, window = _TRIGGERS[level]
    path = f"{directory}/memory.pressure"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(descriptor, f"{kind} {stall} {window}\0".encode())
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise HostError(
            f"cannot watch {path}: {error.strerror}",
            hint="the kernel has to keep pressure information (psi=1), and, without root, be Linux 6.4 or newer",
        ) from error
    return Notifications(directory, descriptor, "")
