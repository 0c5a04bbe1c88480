"""What a container or a sandbox uses, as one looks at it again and again: `stats`, `events`, `Container.usage()`.

Its cgroup counts.  Where there is none, or not the controller that would count, what can be had is the sum over the
processes that are there; what such a sum cannot say is None, and no number is made up.  The shape that engines know is made
by `stats.py`.
"""

from __future__ import annotations

import time

from sandbox.kernel import cgroup
from sandbox.kernel.process import members, namespace, numbers
from sandbox.quantities import moment
from sandbox.runtime import processes
from sandbox.runtime.tasks import Task, look_at, proportional_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from sandbox.runtime.record import Record

CGROUP = "cgroup"
PROCESSES = "processes"

_MEMBERS = {
    "cpu_percent": "cpuPercent",
    "cpu": "cpuNanoseconds",
    "memory": "memory",
    "memory_limit": "memoryLimit",
    "memory_percent": "memoryPercent",
    "memory_source": "memorySource",
    "memory_pressure": "memoryPressure",
    "tasks": "tasks",
    "tasks_limit": "tasksLimit",
    "io_read": "ioRead",
    "io_written": "ioWritten",
    "periods": "cpuPeriods",
    "throttled_periods": "cpuPeriodsThrottled",
    "throttled_percent": "throttledPercent",
}


class Usage:
    """What is used at a moment; None is what nobody counts."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.taken = time.time_ns()  # since the epoch
        self.cpu: int | None = None  # nanoseconds of processors since it was started
        self.cpu_percent: float | None = None  # of one processor, since the reading before
        self.memory: int | None = None  # bytes
        self.memory_source: str | None = None  # CGROUP, or PROCESSES: the sum of their proportional shares (PSS)
        self.memory_limit: int | None = None
        self.memory_pressure: float | None = None  # per cent of the last 10 s in which something waited for memory
        self.tasks: int | None = None  # threads of processes, as the limit counts them
        self.tasks_limit: int | None = None
        self.io_read: int | None = None  # bytes, of devices
        self.io_written: int | None = None
        self.periods: int | None = None  # in which a limit of processors was in force
        self.throttled_periods: int | None = None  # of those, in which it was reached
        self.throttled_percent: float | None = None  # of the periods since the reading before

    @property
    def memory_percent(self) -> float | None:
        """The share of the limit that is used."""
        return None if not self.memory_limit or self.memory is None else 100 * self.memory / self.memory_limit

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        found: dict[str, Any] = {"id": self.id, "time": moment(self.taken)}
        for name, member in _MEMBERS.items():
            value = getattr(self, name)
            found[member] = round(value, 2) if isinstance(value, float) else value
        return found


class Meter:
    """Reads again and again what one of them uses."""

    def __init__(self, record: Record) -> None:
        """Read of the container of `record`."""
        self.record = record
        self._before: tuple[float, Usage] | None = None
        self._tasks: dict[tuple[int, int], Task] = {}
        self._spent = 0  # nanoseconds, where processes are what is counted

    def read(self, pids: Sequence[int] | None = None) -> Usage:
        """Return what it uses now, and by its shares since the last call; `pids` are its processes, if known already."""
        directory = self.record.cgroup
        now = time.monotonic()
        found = Usage(self.record.id)
        if directory:
            _count(directory, found)
        if found.cpu is None or found.memory is None or found.tasks is None:
            self._sum(found, processes.inside(self.record) if pids is None else pids)
        if self._before is not None:
            _compare(found, self._before[1], now - self._before[0])
        self._before = now, found
        return found

    def _sum(self, found: Usage, pids: Iterable[int]) -> None:
        """Fill in what the processes themselves come to."""
        tasks = {(task.pid, task.started): task for pid in pids if (task := look_at(pid)) is not None}
        if found.tasks is None:
            found.tasks = sum(task.threads for task in tasks.values())
        if found.cpu is None:
            found.cpu = self._spend(tasks)
        if found.memory is None:
            found.memory = proportional_memory(task.pid for task in tasks.values())
            found.memory_source = None if found.memory is None else PROCESSES

    def _spend(self, tasks: dict[tuple[int, int], Task]) -> int:
        """Return the time that was used so far.

        Of a process that is gone, who has collected it has the time now, and would be counted twice: its parent or, where
        that is gone too, process 1.  Who came in by `exec` is collected outside.
        """
        inside = {task.pid for task in (*tasks.values(), *self._tasks.values())}
        gone = sum(task.used for key, task in self._tasks.items() if key not in tasks and task.parent in inside)
        before = sum(self._tasks[key].used for key in tasks if key in self._tasks)
        self._spent += max(0, sum(task.used for task in tasks.values()) - before - gone)
        self._tasks = tasks
        return self._spent


def _compare(found: Usage, before: Usage, seconds: float) -> None:
    if found.cpu is not None and before.cpu is not None and seconds > 0:
        found.cpu_percent = max(0.0, (found.cpu - before.cpu) / seconds / 1e7)
    if found.periods is not None and before.periods is not None:
        periods = found.periods - before.periods
        throttled = (found.throttled_periods or 0) - (before.throttled_periods or 0)
        found.throttled_percent = 100 * throttled / periods if periods > 0 else 0.0


def _count(directory: str, found: Usage) -> None:
    """Fill in what the cgroup counts."""
    cpu = cgroup.table(directory, "cpu.stat")
    if "usage_usec" in cpu:
        found.cpu = cpu["usage_usec"] * 1000
    if cgroup.limit(directory, "cpu.max") is not None and "nr_periods" in cpu:
        found.periods, found.throttled_periods = cpu["nr_periods"], cpu.get("nr_throttled", 0)
    found.memory = cgroup.number(directory, "memory.current")
    found.memory_source = None if found.memory is None else CGROUP
    found.memory_limit = cgroup.limit(directory, "memory.max")
    found.memory_pressure = _pressure(directory)
    found.tasks = cgroup.number(directory, "pids.current")
    found.tasks_limit = cgroup.limit(directory, "pids.max")
    found.io_read, found.io_written = _io(directory)


def _pressure(directory: str) -> float | None:
    """Return the share of the last 10 s in which some task waited for memory, accounting/psi.rst."""
    try:
        words = cgroup.read(directory, "memory.pressure").split()
        return float(words[1].removeprefix("avg10=")) if words[0] == "some" else None
    except (OSError, IndexError, ValueError):  # not there, or switched off
        return None


def _io(directory: str) -> tuple[int | None, int | None]:
    try:
        content = cgroup.read(directory, "io.stat")
    except OSError:
        return None, None
    read = written = 0
    for line in content.splitlines():
        for item in line.split()[1:]:
            key, _, value = item.partition("=")
            if value.isdigit():
                read += int(value) if key == "rbytes" else 0
                written += int(value) if key == "wbytes" else 0
    return read, written


def read_all(meters: Sequence[Meter]) -> list[Usage]:
    """Read of several at once: those without a cgroup look through all processes but once."""
    bare = [meter for meter in meters if not meter.record.cgroup]
    found = _members([meter.record for meter in bare]) if bare else {}
    return [meter.read(found.get(meter.record.id)) for meter in meters]


def _members(records: Sequence[Record]) -> dict[str, list[int]]:
    """Return the processes of sandboxes that have process namespaces of their own, as all of `sandbox run` have."""
    own = namespace("pid", "self")
    spaces = {}
    for record in records:
        space = namespace("pid", record.pid)
        if space is not None and space != own:
            spaces[record.id] = space
    known = set(spaces.values())
    candidates: dict[tuple[int, int] | None, list[int]] = {}
    for pid in numbers():
        candidates.setdefault(namespace("pid", pid), []).append(pid)
    # What is in none of them may be in one below one of them.
    others = [
        pid for space, pids in candidates.items() if space not in known and space not in (None, own) for pid in pids
    ]
    return {name: [*candidates.get(space, []), *members("pid", space, others)] for name, space in spaces.items()}
