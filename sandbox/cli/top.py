"""`sandbox top`: the processes in a sandbox, and what each uses."""

from __future__ import annotations

import time

from sandbox.cli.each import container, ended
from sandbox.cli.stats import interval_of, is_drawable
from sandbox.cli.tables import Column, fit, show_table
from sandbox.cli.verb_line import Values
from sandbox.errors import UsageError
from sandbox.quantities import UNKNOWN, percent, size, stopwatch
from sandbox.runtime.record import Status
from sandbox.runtime.state import state_root
from sandbox.runtime.tasks import Task, command_line, look_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rich.console import Console, RenderableType

    from sandbox.runtime.container import Container

# What can be asked for: its name, its column, and what goes first where there is no room.
_COLUMNS = {
    "pid": Column("PID"),
    "ppid": Column("PPID", 6),
    "hpid": Column("HPID", 4),
    "user": Column("USER", 3, right=False),
    "state": Column("S", 8, right=False),
    "threads": Column("THREADS", 7),
    "nice": Column("NI", 9),
    "cpu": Column("CPU"),
    "memory": Column("MEMORY", 1),
    "time": Column("TIME", 2),
    "command": Column("COMMAND", right=False),
}
_USUAL = ("pid", "hpid", "user", "cpu", "memory", "time", "command")


def top(values: Values, operands: Sequence[str]) -> int:
    """Show them: on a terminal until one has seen enough, else once."""
    if not operands:
        raise UsageError("no sandbox was given", hint="sandbox top ID [COLUMN…]")
    names = [name for word in operands[1:] for name in word.split(",") if name] or list(_USUAL)
    for name in names:
        if name not in _COLUMNS:
            raise UsageError(f"{name} is no column", where="top", hint=f"there are {', '.join(_COLUMNS)}")
    interval = interval_of(values.get("interval"), "top")
    found = container(state_root(), operands[0])
    look = _Look(found)
    columns = [_COLUMNS[name] for name in names]
    if not values.get("json") and is_drawable():
        from sandbox.cli import live  # late: rich, 100 ms

        live.show(lambda console: _picture(look, names, columns, console), interval)
        return 0
    look.read()
    time.sleep(interval)
    rows = look.read()
    if rows is None:
        raise ended(found.id)
    if values.get("json"):
        from json import dumps

        print(dumps(rows, indent=2))
    else:
        show_table([column.title for column in columns], [_cells(row, names) for row in rows])
    return 0


def _picture(look: _Look, names: Sequence[str], columns: Sequence[Column], console: Console) -> RenderableType | None:
    rows = look.read()
    return None if rows is None else fit(columns, [_cells(row, names) for row in rows], console)


def _cells(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [_cell(row, name) for name in names]


def _cell(row: dict[str, Any], name: str) -> str:
    if name == "cpu":
        return UNKNOWN if row["cpuPercent"] is None else percent(row["cpuPercent"])
    if name == "memory":
        return size(row["memory"])
    if name == "time":
        return stopwatch(row["cpuNanoseconds"] / 1e9)
    if name == "command":
        return " ".join(row["command"])
    return str(row[name])


class _Look:
    """Looks again and again at the processes of a sandbox."""

    def __init__(self, found: Container) -> None:
        self._container = found
        self._before: dict[tuple[int, int], int] = {}
        self._at = 0.0

    def read(self) -> list[dict[str, Any]] | None:
        """Return them, who uses most first; None when it has ended."""
        from sandbox.errors import NoSuchContainer

        try:
            if self._container.status() == Status.STOPPED:
                return None
            first = self._container.pid
            pids = self._container.processes()
        except NoSuchContainer:
            return None
        now = time.monotonic()
        level = len(_status(first).get("NSpid", "0").split()) - 1
        tasks = [task for pid in pids if (task := look_at(pid)) is not None]
        rows = [row for task in tasks if (row := self._row(task, level, now)) is not None]
        inside = {row["hpid"]: row["pid"] for row in rows}
        for row in rows:
            row["ppid"] = inside.get(row["ppid"], 0)
        self._before, self._at = {(task.pid, task.started): task.cpu for task in tasks}, now
        return sorted(rows, key=lambda row: (-(row["cpuPercent"] or 0), row["pid"]))

    def _row(self, task: Task, level: int, now: float) -> dict[str, Any] | None:
        status = _status(task.pid)
        numbers = status.get("NSpid", "").split()
        if len(numbers) <= level:
            return None  # it has just ended
        used = None
        if self._at:
            # One that was not there yet has used all of its time since.
            used = round((task.cpu - self._before.get((task.pid, task.started), 0)) / (now - self._at) / 1e7, 1)
        return {
            "pid": int(numbers[level]),
            "ppid": task.parent,
            "hpid": task.pid,
            "user": _user(task.pid, int(status["Uid"].split()[1])),
            "state": task.state,
            "threads": task.threads,
            "nice": task.nice,
            "cpuPercent": used,
            "cpuNanoseconds": task.cpu,
            "memory": task.resident,
            "command": _command(task.pid, status),
        }


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:
            return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
    except OSError:
        return {}


def _user(pid: int, uid: int) -> str:
    """Return who a process is inside; the name of a number that is another one inside is nobody's."""
    try:
        with open(f"/proc/{pid}/uid_map") as file:
            ranges = [tuple(map(int, line.split())) for line in file]
    except OSError:
        ranges = []
    for inside, outside, count in ranges:
        if outside <= uid < outside + count:
            if inside + uid - outside == uid:
                break
            return str(inside + uid - outside)
    import pwd  # late: where somebody has a name

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(pid: int, status: dict[str, str]) -> list[str]:
    return command_line(pid) or [f"[{status.get('Name', '?')}]"]
