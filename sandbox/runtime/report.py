"""The report of a run: its form, and the report of a run that never was.

nsinit writes that of a command that was started (`nsinit/report.c`); of one that was not, there is little to
say but why, and Python has the words.  `docs/report.md` describes the form to people.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from sandbox.errors import HostError, SandboxError
from sandbox.quantities import moment

SCHEMA = 1


class Setting(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that was asked for, and whether it was in force."""

    name: str
    asked: str
    origin: str
    enforced: bool
    why: str = ""


class OutOfMemory(Struct, frozen=True, forbid_unknown_fields=True):
    """Processes were killed as memory had run out, of the sandbox's own limit or of one that was set `inside` or is `outside`.

    `name` and `pid` (inside) are those of the process that reached it, where that is known for certain.
    """

    limit: Literal["own", "inside", "outside"]
    killed: int
    name: str | None = None
    pid: int | None = None


class Exit(Struct, frozen=True, forbid_unknown_fields=True):
    """How it ended: `status` is that of `sandbox run`, the others are the command's."""

    status: int
    code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    oom: OutOfMemory | None = None


class Usage(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, and bytes."""

    wall: float = 0
    user: float = 0
    system: float = 0
    largest_resident: int = 0


class MemoryEvents(Struct, frozen=True, forbid_unknown_fields=True):
    """How often; those of cgroups that were made inside count, too."""

    high: int | None = None
    max: int | None = None
    oom: int | None = None
    oom_kill: int | None = None


class Memory(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes."""

    peak: int | None = None
    limit: int | None = None
    high: int | None = None
    swap_peak: int | None = None
    swap_limit: int | None = None
    events: MemoryEvents = MemoryEvents()


class Cpu(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, but for the periods, which are counted."""

    usage: float | None = None
    user: float | None = None
    system: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled: float | None = None


class Io(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes, and how many requests, of all devices together."""

    read: int | None = None
    written: int | None = None
    reads: int | None = None
    writes: int | None = None


class PidsEvents(Struct, frozen=True, forbid_unknown_fields=True):
    """How often a process could not be made."""

    max: int | None = None


class Pids(Struct, frozen=True, forbid_unknown_fields=True):
    """Processes and threads."""

    peak: int | None = None
    limit: int | None = None
    events: PidsEvents = PidsEvents()


class Stall(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds in which some, or all, of what wanted to run waited (PSI)."""

    some: float | None = None
    full: float | None = None


class Pressure(Struct, frozen=True, forbid_unknown_fields=True):
    """What was waited for."""

    cpu: Stall = Stall()
    memory: Stall = Stall()
    io: Stall = Stall()


class Cgroup(Struct, frozen=True, forbid_unknown_fields=True):
    """What the kernel counted; None is what it does not count here, or, of a limit, that there is none."""

    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    io: Io = Io()
    pids: Pids = Pids()
    pressure: Pressure = Pressure()


class Samples(Struct, frozen=True, forbid_unknown_fields=True):
    """What was used at each `time` (seconds from the start): sums of processor seconds and bytes, and what there was."""

    time: list[float] = []
    memory: list[int | None] = []
    cpu: list[float | None] = []
    read: list[int | None] = []
    written: list[int | None] = []
    pids: list[int | None] = []


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a detached sandbox: bytes of its output that found no room in its log, and of which that does not tell."""

    lost: int


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a sandbox with a user-mode network: had the program that gave it ended before?"""

    lost: bool


class Failure(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the command was not started."""

    message: str
    cause: str = ""
    hint: str = ""


class Report(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole document."""

    schema: int
    id: str = ""
    command: list[str]
    profiles: list[str]
    cwd: str
    settings: list[Setting] = []
    started: str | None = None
    ended: str
    exit: Exit
    usage: Usage = Usage()
    cgroup: Cgroup | None = None
    samples: Samples | None = None
    log: Log | None = None
    network: Network | None = None
    error: Failure | None = None


def of_failure(error: SandboxError, command: Sequence[str], record: bytes) -> Report:
    """Return the report of a run that `error` has prevented; `record` is what the plan has of it."""
    known = msgspec.json.decode(b"{" + record + b"}")
    return Report(
        schema=SCHEMA,
        command=[word.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for word in command],
        profiles=known["profiles"],
        cwd=known["cwd"],
        settings=msgspec.convert(known["settings"], list[Setting]),
        ended=moment(time.time_ns()),
        exit=Exit(error.exit_code),
        error=Failure(str(error), error.cause, error.hint),
    )


def document(report: Report) -> bytes:
    """Return `report` as nsinit writes it."""
    return msgspec.json.encode(report) + b"\n"


def write(content: bytes, directory_fd: int, path: str) -> None:
    """Write `content` whole or not at all, as `nsinit/report.c` does.  Raises HostError."""
    temporary = f".sandbox-report-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o600, dir_fd=directory_fd)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.rename(temporary, os.path.basename(path), src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        except OSError:
            os.unlink(temporary, dir_fd=directory_fd)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> HostError:
    return HostError(
        f"the report cannot be written to {path}: {error.strerror}", hint="name another file: --report FILE"
    )


def early(error: SandboxError, command: Sequence[str], profiles: Sequence[str]) -> Report:
    """Return the report of a run of which there is no plan."""
    record = msgspec.json.encode({"profiles": list(profiles), "cwd": os.getcwd(), "settings": []})[1:-1]
    return of_failure(error, command, record)


def write_early(content: bytes, path: str) -> None:
    """Write it where nothing has been opened yet.  Raises HostError."""
    path = os.path.join(os.getcwd(), path)
    try:
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as refusal:
        raise _unwritable(path, refusal) from refusal
    try:
        write(content, directory, path)
    finally:
        os.close(directory)
