"""Which container an object stands for: its place, its record, and a descriptor of its first process.

When that container was destroyed, and another has its id, the object says that its own does not exist.
"""

from __future__ import annotations

import os

from sandbox.errors import ContainerError, NoSuchContainer
from sandbox.kernel import cgroup
from sandbox.kernel.process import open_process, reap, wait_end
from sandbox.runtime import held
from sandbox.runtime import processes as members
from sandbox.runtime.record import Record
from sandbox.runtime.state import Place, open_container

END_SECONDS = 10.0
"""So long is waited for a process that was killed."""


class Handle:
    """What stands for one container."""

    _process = -1  # a pidfd, of the first process
    _monitor = -1  # a pidfd, of a sandbox's monitor, which has the exit status
    _ended: int | None = None  # its exit status, once known

    def __init__(self, place: Place, record: Record, root: str, program: str | None = None) -> None:
        """Stand for the container of `record`; made by `create`, `run` and `load`."""
        self.id = record.id
        self._root = root
        self._program = program
        self._parent = place.parent
        self._created = record.created
        self._adopt(record)

    @property
    def root(self) -> str:
        """The state root in which it is."""
        return self._root

    @property
    def path(self) -> str:
        """The directory of its state."""
        return f"{self._parent}/{self.id}"

    def close(self) -> None:
        """Let go of the descriptors that stand for its processes; the container stays."""
        for descriptor in (self._process, self._monitor):
            if descriptor >= 0:
                os.close(descriptor)
        self._process = self._monitor = -1

    def fileno(self) -> int:
        """Return a pidfd: readable, for poll(2) and event loops, when it has ended; -1 where it had already."""
        if self._process < 0:
            with self._open() as (_, record):
                self._adopt(record)
        return self._monitor if self._monitor >= 0 else self._process

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} in {self._root}>"

    def _open(self) -> _Opened:
        return _Opened(self._parent, self.id, self._created, lock=False)

    def _locked(self) -> _Opened:
        return _Opened(self._parent, self.id, self._created, lock=True)

    def _adopt(self, record: Record) -> int:
        """Return the pidfd of the first process, -1 if that has ended."""
        if self._process < 0 and record.pid:
            try:
                self._process = open_process(record.pid, record.started)
                if record.held:
                    self._monitor = held.monitor_of(record)
            except ProcessLookupError:
                self.close()
                return -1
        return self._process

    def _end(self, record: Record) -> None:
        """Kill everything in it, and wait until the first process has ended."""
        from signal import SIGKILL, pidfd_send_signal

        others = [] if record.cgroup or members.has_own_pids(record) else members.inside(record)
        descriptor = self._adopt(record)
        if record.cgroup:
            cgroup.kill(record.cgroup)
        if descriptor >= 0:
            try:
                pidfd_send_signal(descriptor, SIGKILL)
            except ProcessLookupError:
                pass
            if not wait_end(descriptor, END_SECONDS):
                raise ContainerError("container init still running")
            self._ended = reap(descriptor)  # where we are its parent nobody else will
        members.kill_all(others)


class _Opened:
    """The place and the record of a container, for the time of a `with`."""

    __slots__ = ("_arguments", "_lock", "_place")

    def __init__(self, parent: str, name: str, created: str, *, lock: bool) -> None:
        self._arguments = (parent, name, created)
        self._lock = lock
        self._place: Place | None = None

    def __enter__(self) -> tuple[Place, Record]:
        parent, name, created = self._arguments
        place, record = open_container(parent, name)
        self._place = place
        try:
            if self._lock and not record.held:
                place.lock()
                record = place.record()  # whoever held the lock may have written it
            if record.created != created:
                raise NoSuchContainer("container does not exist")
        except ContainerError:
            place.close()
            raise
        return place, record

    def __exit__(self, *_: object) -> None:
        assert self._place is not None
        self._place.close()
