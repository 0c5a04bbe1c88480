"""`sandbox stats`: what those that run use, as it changes."""

from __future__ import annotations

import os
import sys
import time

from sandbox.cli.each import ended
from sandbox.cli.tables import Column, fit, show_table
from sandbox.cli.verb_line import Values
from sandbox.errors import ContainerError, InvalidId, UsageError
from sandbox.kernel.process import lives
from sandbox.quantities import UNKNOWN, length, percent, size
from sandbox.runtime.finding import find
from sandbox.runtime.record import Status
from sandbox.runtime.state import open_container, state_root
from sandbox.runtime.usage import Meter, Usage, read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rich.console import Console, RenderableType

    from sandbox.runtime.record import Record

INTERVAL = 1.0
SHORTEST = 0.1
_COLUMNS = (
    Column("ID", right=False),
    Column("CPU"),
    Column("MEMORY"),
    Column("LIMIT", 1),
    Column("%", 2),
    Column("TASKS"),
    Column("LIMIT", 3),
    Column("READ", 5),
    Column("WRITTEN", 4),
    Column("PRESSURE", 7),
    Column("THROTTLED", 6),
)


def stats(values: Values, operands: Sequence[str]) -> int:
    """Show them: on a terminal until one has seen enough, as JSON until they have ended, else once."""
    interval = interval_of(values.get("interval"), "stats")
    board = Board(operands)
    if values.get("json"):
        _lines(board, interval, once=values.get("stream") is False)
    elif values.get("stream") is False or not is_drawable():
        board.read()
        time.sleep(interval)
        show_table([column.title for column in _COLUMNS], [_cells(usage) for usage in board.read()])
    else:
        from sandbox.cli import live  # late: rich, 100 ms

        live.show(lambda console: _picture(board, console), interval)
    return 0


def is_drawable() -> bool:
    """Can standard output be drawn upon, again and again?"""
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def interval_of(given: object, verb: str, default: float = INTERVAL) -> float:
    """Return the value of --interval in seconds.  Raises UsageError."""
    if given is None:
        return default
    seconds = length(str(given))
    if seconds is None or not SHORTEST <= seconds <= 86400:
        raise UsageError(f"{given} is no interval", where=f"{verb}: --interval", hint='write "1s", "500ms" or "1m"')
    return seconds


def _lines(board: Board, interval: float, *, once: bool) -> None:
    """Print a JSON object for each of them, again and again, as long as any that was named runs."""
    from json import dumps

    board.read()
    while True:
        try:
            time.sleep(interval)
        except KeyboardInterrupt:
            return
        for usage in board.read():
            print(dumps(usage.document()))
        sys.stdout.flush()
        if once or board.is_over():
            return


def _picture(board: Board, console: Console) -> RenderableType | None:
    used = board.read()
    return None if board.is_over() else fit(_COLUMNS, [_cells(usage) for usage in used], console)


def _cells(usage: Usage) -> tuple[str, ...]:
    return (
        usage.id,
        _shown(usage.cpu_percent, percent),
        _shown(usage.memory, size),
        _shown(usage.memory_limit, size),
        _shown(usage.memory_percent, percent),
        _shown(usage.tasks, str),
        _shown(usage.tasks_limit, str),
        _shown(usage.io_read, size),
        _shown(usage.io_written, size),
        _shown(usage.memory_pressure, percent),
        _shown(usage.throttled_percent, percent),
    )


def _shown(value: Any, how: Callable[[Any], str]) -> str:
    return UNKNOWN if value is None else how(value)


class Board:
    """Those that are looked at: the ones that were named, or whoever runs."""

    def __init__(self, names: Sequence[str]) -> None:
        """Look at those.  Raises NoSuchContainer for one that is not there."""
        self._parent = f"{state_root()}/containers"
        self._named: list[str] | None = None
        self._meters: dict[tuple[str, str], Meter] = {}
        if names:
            found = []
            for name in names:
                place, record = find(self._parent, name)
                with place:
                    if place.status(record) == Status.STOPPED:
                        raise ended(record.id)
                found.append(record)
            self._named = list(dict.fromkeys(record.id for record in found))
            self._started = {(record.id, record.created) for record in found}

    def is_over(self) -> bool:
        """Is none left of those that were named?"""
        return self._named is not None and not self._meters

    def read(self) -> list[Usage]:
        """Return what they use, in the order in which they were started, or named."""
        records = self._running()
        self._meters = {
            key: self._meters.get(key) or Meter(record)
            for record in records
            if self._named is None or (record.id, record.created) in self._started
            for key in [(record.id, record.created)]
        }
        meters = list(self._meters.values())
        used = read_all(meters)
        # Of one that has ended meanwhile nothing was left to be counted.
        return [
            usage for meter, usage in zip(meters, used, strict=True) if lives(meter.record.pid, meter.record.started)
        ]

    def _running(self) -> list[Record]:
        found = []
        for name in self._named if self._named is not None else os.listdir(self._parent):
            try:
                place, record = open_container(self._parent, name)
            except (ContainerError, InvalidId):
                continue  # being made or removed right now
            with place:
                # What counts it may be about to be made.
                if place.status(record) not in (Status.STOPPED, Status.CREATING) and not record.unmade_cgroup:
                    found.append(record)
        return found if self._named is not None else sorted(found, key=lambda record: (record.created, record.id))
