"""The log of a detached sandbox, as nsinit/log.c writes it: records in two files, of which the older one goes.

It is read while it is written: a file that was renamed is read to its end, and then the one that has taken its name.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from sandbox.errors import NotSupported
from sandbox.kernel.process import wait_end
from sandbox.runtime import held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.runtime.record import Record
    from sandbox.runtime.state import Place

_PIECE = 1 << 16
_LOOK_SECONDS = 0.1
_STREAMS = {b"stdout": "stdout", b"stderr": "stderr", b"lost": "lost"}


class Entry(NamedTuple):
    """Something that was said at one time."""

    time: str  # RFC 3339 in UTC, to the nanosecond: as texts they compare as times do
    stream: str  # stdout or stderr; lost: so many bytes (`text`) found no room in the log
    text: bytes  # without the newline
    whole: bool  # was there one behind it?


def open_log(place: Place, record: Record) -> Log:
    """Return the log of the sandbox in `place`.  Raises NotSupported for one that has none."""
    if not record.detached:
        raise NotSupported(
            f"{record.id} has no log: its streams are those of whoever has started it",
            hint="a sandbox that is started with --detach has one",
        )
    return Log(place, record)


class Log:
    """The log of a sandbox, open."""

    def __init__(self, place: Place, record: Record) -> None:
        self._directory = os.dup(place.fd)
        try:
            self._keeper = held.monitor_of(record)
        except ProcessLookupError:  # it has ended
            self._keeper = -1

    def __del__(self) -> None:
        for descriptor in (self._directory, self._keeper):
            if descriptor >= 0:
                os.close(descriptor)

    def entries(self, *, follow: bool) -> Iterator[Entry | None]:
        """Yield what there is; with `follow` go on until the sandbox ends, with None whenever all that there was is told."""
        older, newer = self._open_both()
        if older >= 0:
            try:
                yield from _Lines(older).read()
            finally:
                os.close(older)
        ended = self._keeper < 0 or not follow
        while newer >= 0:
            lines = _Lines(newer)
            try:
                yield from lines.read()
                if ended:
                    return
                yield None
                while not (moved := self._has_moved(newer)) and not ended:
                    ended = wait_end(self._keeper, _LOOK_SECONDS)
                    yield from lines.read()
                    yield None
                yield from lines.read()  # what came before the file was renamed, and behind our last look
                if not moved:
                    return
                newer_still = self._open_behind(newer)
            finally:
                os.close(newer)
            newer = newer_still

    def _open(self, name: str) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return -1

    def _has_moved(self, descriptor: int) -> bool:
        return not self._is_named(descriptor, "log")

    def _is_named(self, descriptor: int, name: str) -> bool:
        try:
            return os.path.samestat(os.stat(name, dir_fd=self._directory), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _open_both(self) -> tuple[int, int]:
        """Return the two files as they are at one time; -1: there is none."""
        for _ in range(100):
            newer = self._open_newest()
            older = self._open("log.1")
            if newer < 0 or self._is_named(newer, "log"):
                return older, newer
            for descriptor in (older, newer):
                if descriptor >= 0:
                    os.close(descriptor)
        return -1, self._open_newest()  # what is older goes faster than it can be read

    def _open_newest(self) -> int:
        """The name is free for a moment when the log is rotated, and for good when all is removed."""
        for _ in range(100):
            descriptor = self._open("log")
            if descriptor >= 0 or self._keeper < 0 or wait_end(self._keeper, 0):
                return descriptor
            time.sleep(0.002)
        return -1

    def _open_behind(self, descriptor: int) -> int:
        """Return the file that has followed upon this one; of what was renamed away meanwhile nothing is known."""
        if not self._is_named(descriptor, "log.1"):
            older = self._open("log.1")
            if older >= 0:
                return older
        return self._open_newest()


class _Lines:
    """The records of a file, as far as it is written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = b""

    def read(self) -> Iterator[Entry]:
        """Yield what is there and was not read before; half a record is the next call's."""
        while piece := os.read(self._descriptor, _PIECE):
            *lines, self._begun = (self._begun + piece).split(b"\n")
            for line in lines:
                entry = _entry(line)
                if entry is not None:
                    yield entry


def _entry(line: bytes) -> Entry | None:
    """Return what a record says, None for what is none."""
    fields = line.split(b" ", 3)
    if len(fields) != 4 or fields[1] not in _STREAMS:
        return None
    return Entry(fields[0].decode("ascii", "replace"), _STREAMS[fields[1]], fields[3], fields[2] == b"F")
