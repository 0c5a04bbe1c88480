"""What the kernel says of a process in /proc, proc(5)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # in nanoseconds
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMMAND_MOST = 4096  # bytes, as of a command that is written down


class Task:
    """A process, as it is at a moment."""

    __slots__ = ("cpu", "nice", "parent", "pid", "resident", "started", "state", "threads", "used")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        """Take the fields of its stat behind the name."""
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.cpu = (int(fields[11]) + int(fields[12])) * _TICK  # its own, in nanoseconds
        self.used = self.cpu + (int(fields[13]) + int(fields[14])) * _TICK  # and that of children it has collected
        self.nice = int(fields[16])
        self.threads = int(fields[17])
        self.started = int(fields[19])
        self.resident = int(fields[21]) * _PAGE


def look_at(pid: int) -> Task | None:
    """Return the process, None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Task(pid, line[line.rindex(b")") + 2 :].split())


def command_line(pid: int) -> list[str]:
    """Return the beginning of what a process was started with, [] where there is nothing.

    It may be megabytes of each of thousands.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            text = file.read(_COMMAND_MOST + 1)
    except OSError:
        return []
    words = text[:_COMMAND_MOST].decode(errors="replace").split("\0")
    if len(text) <= _COMMAND_MOST:
        return words[:-1]
    words[-1] += "…"
    return words


def proportional_memory(pids: Iterable[int]) -> int | None:
    """Return the memory of processes, of what is shared the share of each; None where we may not see it of one."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                lines = file.read().splitlines()
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        except OSError:
            return None
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
    return total
