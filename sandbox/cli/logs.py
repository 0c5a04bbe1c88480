"""`sandbox logs`: what the command of a detached sandbox has said, each stream to that of ours."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

from sandbox.cli.verb_line import Values
from sandbox.errors import UsageError
from sandbox.runtime.finding import find
from sandbox.runtime.logs import Entry, open_log
from sandbox.runtime.state import state_root

_PIECE = 1 << 16
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def show(values: Values, operands: list[str]) -> int:
    """Write it as it was written."""
    if len(operands) != 1:
        raise UsageError("one sandbox is to be named", where="logs", hint="sandbox logs [OPTIONS] ID")
    wanted = _Wanted(values)
    place, record = find(f"{state_root()}/containers", operands[0])
    with place:
        entries = open_log(place, record).entries(follow=bool(values.get("follow")))
        lost = (place.result().get("log") or {}).get("lost", 0)
    writer = _JsonWriter() if values.get("json") else _Writer(times=bool(values.get("timestamps")))
    known: list[Entry] = []
    for entry in entries:
        if wanted.tail is not None:  # of what there is already
            if entry is not None:
                known += [entry] if wanted.has(entry) else []
                continue
            writer.write_all(last(known, wanted.tail))
            wanted.tail = None
        if entry is None:
            writer.flush()
        elif wanted.has(entry):
            writer.write(entry)
    if wanted.tail is not None:
        writer.write_all(last(known, wanted.tail))
    writer.flush()
    if lost:
        _tell_lost(int(lost))
    return 0


class _Wanted:
    """What of the log is asked for."""

    def __init__(self, values: Values) -> None:
        self._since = moment(str(values["since"]), "--since") if "since" in values else ""
        self._until = moment(str(values["until"]), "--until") if "until" in values else ""
        chosen = {name for name in ("stdout", "stderr") if values.get(name)}
        self._streams = (chosen or {"stdout", "stderr"}) | {"lost"}
        self.tail = number(str(values["tail"])) if "tail" in values else None

    def has(self, entry: Entry) -> bool:
        if entry.stream not in self._streams or entry.time < self._since:
            return False
        return not self._until or entry.time <= self._until


def number(text: str) -> int:
    """Return how many lines are wanted.  Raises UsageError."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f'"{text}" is no number of lines', where="--tail", hint="write 100")
    return int(text)


def moment(text: str, where: str) -> str:
    """Return a time, or how long ago it was, as the log has times.  Raises UsageError."""
    from datetime import UTC, datetime  # late: only who asks for a time
    from re import fullmatch

    match = fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if match:
        seconds, rest = divmod(time.time_ns() - int(float(match[1]) * _UNITS[match[2]] * 1e9), 10**9)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(max(0, seconds)))}.{rest:09}Z"
    try:
        found = datetime.fromisoformat(text).astimezone(UTC)  # without a zone it is ours
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f'"{text}" is neither a time nor a length of time', where=where, hint="write 10m, or 2026-11-25T17:30:00Z"
        ) from error
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond:06}000Z"


def last(entries: list[Entry], count: int) -> list[Entry]:
    """Return the last lines, of both streams together; one that has not ended is one, too."""
    lines = 0
    ended: set[str] = set()  # streams of which a later entry was seen
    for index in range(len(entries) - 1, -1, -1):
        entry = entries[index]
        if entry.whole or entry.stream not in ended:
            lines += 1
        ended.add(entry.stream)
        if lines > count:
            return entries[index + 1 :]
    return entries if count else []


class _Writer:
    """Writes bytes as they are: what a terminal makes of them is what it would have made of the command's."""

    def __init__(self, *, times: bool) -> None:
        self._times = times
        self._begun: set[str] = set()  # streams that are within a line
        self._waiting = b""
        self._to = 1

    def write_all(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.write(entry)

    def write(self, entry: Entry) -> None:
        if entry.stream == "lost":
            self.flush()
            _tell_lost(int(entry.text) if entry.text.isdigit() else 0)
            return
        to = 2 if entry.stream == "stderr" else 1
        if to != self._to or len(self._waiting) > _PIECE:
            self.flush()
            self._to = to
        if self._times and entry.stream not in self._begun:
            self._waiting += entry.time.encode() + b" "
        self._waiting += entry.text + (b"\n" if entry.whole else b"")
        (self._begun.discard if entry.whole else self._begun.add)(entry.stream)

    def flush(self) -> None:
        while self._waiting:
            self._waiting = self._waiting[os.write(self._to, self._waiting) :]


class _JsonWriter(_Writer):
    """Writes an object for each entry."""

    def __init__(self) -> None:
        super().__init__(times=False)

    def write(self, entry: Entry) -> None:
        from json import dumps  # late: 5 ms

        document = {
            "time": entry.time,
            "stream": entry.stream,
            "text": entry.text.decode(errors="replace"),
            "whole": entry.whole,
        }
        self._waiting += dumps(document).encode() + b"\n"
        if len(self._waiting) > _PIECE:
            self.flush()


def _tell_lost(count: int) -> None:
    print(f"sandbox: {count} bytes of the output found no room in the log", file=sys.stderr, flush=True)
