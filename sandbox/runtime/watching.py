"""What happens to a container or a sandbox while it runs, one event after another, each a JSON object.

    {"type": "started", "id": …, "time": RFC 3339, "pid": …}      when it was; "created" of one that waits to be
    {"type": "paused"}, {"type": "resumed"}
    {"type": "stats", …}                                          `Usage.document()`
    {"type": "oom"}                                               the kernel has killed one process for want of memory
    {"type": "pressure", "level": "low" | "medium" | "critical"}  memory is scarce (`events.Pressure`)
    {"type": "ended", "status": …}                                null where nobody told

What the kernel tells wakes poll(2) up; that all stands, by signals, it does not tell, and is looked for.
"""

from __future__ import annotations

import contextlib
import os
import select
import time

from sandbox.errors import HostError, NoSuchContainer, WrongStatus
from sandbox.kernel.process import lives
from sandbox.quantities import moment
from sandbox.runtime.events import Pressure
from sandbox.runtime.record import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from sandbox.runtime.container import Container
    from sandbox.runtime.events import Notifications

LOOK_SECONDS = 0.25
"""So often is looked whether it stands."""

_LEVELS = (Pressure.LOW, Pressure.MEDIUM, Pressure.CRITICAL)
_TYPES = {Status.CREATED: "created", Status.PAUSED: "paused", Status.RUNNING: "resumed"}


def watch(
    container: Container, interval: float | None = None, warn: Callable[[str], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Return the events of a container until it ends.

    What this host does not tell of is said to `warn`.  Raises NoSuchContainer, WrongStatus for one that has ended.
    """
    from sandbox.runtime.usage import Meter  # late: with --stats alone

    meter = container._meter(Meter)
    with contextlib.ExitStack() as stack:
        watcher = _Watcher(container, stack, warn or (lambda message: None))
        yield from watcher.begin(meter.record.created, meter.record.pid)
        meter.read()
        due = None if interval is None else time.monotonic() + interval
        while True:
            yield from watcher.wait(due)
            if watcher.has_ended:
                break
            if due is not None and time.monotonic() >= due and interval is not None:
                usage = meter.read()
                if lives(meter.record.pid, meter.record.started):  # else there was nothing left to be counted
                    yield {"type": "stats", **usage.document()}
                due += interval
        yield from watcher.end()


class _Watcher:
    """What is polled, and what was said last."""

    def __init__(self, container: Container, stack: contextlib.ExitStack, warn: Callable[[str], None]) -> None:
        self.has_ended = False
        self._container = container
        self._status = ""
        self._oom: Notifications | None = None
        self._pressure: dict[int, str] = {}
        self._end = container.fileno()
        self._poll = select.poll()
        if self._end < 0:
            self.has_ended = True
            return
        self._poll.register(self._end, select.POLLIN)
        directory = container.cgroup
        if not directory:
            warn("no event will tell of memory: there is no cgroup")
            return
        with contextlib.suppress(OSError):
            changes = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            stack.callback(os.close, changes)
            self._changes = changes
            self._poll.register(changes, select.POLLPRI)
        try:
            self._oom = stack.enter_context(container.notify_oom())
            self._poll.register(self._oom, select.POLLPRI)
        except HostError as error:
            warn(f"no event will tell of a lack of memory: {error}")
        try:
            for level in _LEVELS:
                pressure = stack.enter_context(container.notify_memory_pressure(level))
                self._pressure[pressure.fileno()] = level
                self._poll.register(pressure, select.POLLPRI)
        except HostError as error:
            warn(f"no event will tell of pressure on memory: {error}")

    _changes = -1

    def begin(self, created: str, pid: int) -> Iterator[dict[str, Any]]:
        self._status = Status.RUNNING
        status = self._container.status()
        if status == Status.CREATED:
            self._status = status
            yield self._event("created", pid=pid) | {"time": created}
        else:
            yield self._event("started", pid=pid) | {"time": created}
            yield from self._look()

    def wait(self, due: float | None) -> Iterator[dict[str, Any]]:
        """Wait for something to happen, until `due` at most, or for the next look."""
        if self.has_ended:
            return
        left = LOOK_SECONDS if due is None else min(LOOK_SECONDS, max(0.0, due - time.monotonic()))
        woken = dict(self._poll.poll(left * 1000))
        # At first what is gone with the sandbox: its monitor removes the cgroup.
        yield from self._kills()
        if self._end in woken:
            self.has_ended = True
            return
        if self._changes in woken and not self._arm():
            return
        for descriptor, level in self._pressure.items():
            if woken.get(descriptor) == select.POLLPRI:
                yield self._event("pressure", level=level)
        yield from self._look()

    def _arm(self) -> bool:
        """Read the cgroup's events, by which they wake up again; False where it is gone, which wakes up for ever."""
        try:
            os.pread(self._changes, 4096, 0)
        except OSError:  # ENODEV
            for descriptor in (self._changes, *self._pressure, *([self._oom.fileno()] if self._oom else [])):
                self._poll.unregister(descriptor)
            self._changes = -1
            return False
        return True

    def end(self) -> Iterator[dict[str, Any]]:
        yield from self._kills()
        try:
            status = self._container.wait()
        except NoSuchContainer:
            status = None
        yield self._event("ended", status=status)

    def _kills(self) -> Iterator[dict[str, Any]]:
        for _ in range(self._oom.take() if self._oom is not None else 0):
            yield self._event("oom")

    def _look(self) -> Iterator[dict[str, Any]]:
        try:
            status = self._container.status()
        except (NoSuchContainer, WrongStatus):
            return  # which its pidfd will tell
        if status == self._status or status not in _TYPES:
            return
        before, self._status = self._status, status
        yield self._event("started" if before == Status.CREATED else _TYPES[status])

    def _event(self, kind: str, **members: Any) -> dict[str, Any]:
        return {"type": kind, "id": self._container.id, "time": moment(time.time_ns()), **members}
