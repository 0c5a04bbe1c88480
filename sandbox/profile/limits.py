"""Numbers of `[limits]`: sizes, times, and the limits of setrlimit(2); what is counted of all processes together is in
`sandbox.profile.resources`."""

from __future__ import annotations

import re

from sandbox.errors import ProfileError
from sandbox.profile.load import Layered
from sandbox.profile.schema_limits import RlimitPair
from sandbox.spec.runtime import Rlimit

RLIMITS = [
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"),
    *("rtprio", "rttime", "sigpending", "stack"),
]
# What is counted of all processes together.
SHARED = (
    *("memory", "memory_high", "memory_low", "memory_min", "swap", "oom_group", "cpus", "cpu_weight", "cpuset"),
    *("cpuset_mems", "pids", "io_weight", "io", "hugepages", "unified"),
)
UNLIMITED = 2**64 - 1  # RLIM_INFINITY
GRACE = 10  # seconds between the request to end and the end, as from podman and docker
LOG_SIZE = 1 << 20  # bytes: of hundreds in a runtime directory, which is a tenth of the memory
LOG_LEAST = 1 << 16

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def size(value: int | str, where: str) -> int:
    """Return bytes.  Raises ProfileError."""
    match = _SIZE.fullmatch(str(value).strip())
    count = int(float(match[1]) * _SIZES[match[2].upper()]) if match else 0
    if not 0 < count < 2**63:
        raise ProfileError(f'"{value}" is not a size', where=where, hint='write "512M" or "2G"')
    return count


def log_size(layered: Layered) -> int:
    """Return what the log of a detached sandbox may take at most.  Raises ProfileError."""
    value = layered.profile.process.log_size
    if value is None:
        return LOG_SIZE
    where = layered.origin("process", "log_size").text
    count = size(value, where)
    if count < LOG_LEAST:
        raise ProfileError(f"{value} is too small for a log", where=where, hint="write 64K or more")
    return count


def seconds(value: float | str, where: str) -> str:
    """Return seconds, as text without needless zeros.  Raises ProfileError."""
    match = _TIME.fullmatch(str(value).strip())
    count = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if not 0 < count < 2**31:
        raise ProfileError(f'"{value}" is not a time', where=where, hint='write "90s", "15m" or "2h"')
    return f"{count:.3f}".rstrip("0").rstrip(".")


def grace(value: float | str | None, where: str) -> str:
    """Return what `seconds` does; nothing at all is a time, too.  Raises ProfileError."""
    if value is None:
        return f"{GRACE}"
    return "0" if str(value).strip() in ("0", "0s") else seconds(value, where)


def rlimits(layered: Layered) -> list[tuple[Rlimit, str]]:
    """Return the limits of each process, with where they were written.  Raises ProfileError."""
    result = []
    for name, value in layered.profile.limits.rlimits.items():
        where = layered.origin("limits", "rlimits", name).text
        if name not in RLIMITS:
            from sandbox.profile.complaint import nearest  # late: only where something is wrong

            raise ProfileError(f'no limit is called "{name}"', where=where, hint=nearest(name, RLIMITS))
        pair = value if isinstance(value, RlimitPair) else RlimitPair(soft=value, hard=value)
        soft, hard = _number(pair.soft, where), _number(pair.hard, where)
        if soft > hard:
            raise ProfileError(f"the soft limit {soft} is over the hard limit {hard}", where=where)
        result.append((Rlimit(type=f"RLIMIT_{name.upper()}", soft=soft, hard=hard), where))
    return result


def _number(value: int | str, where: str) -> int:
    number = UNLIMITED if isinstance(value, str) else value
    if not 0 <= number <= UNLIMITED:
        raise ProfileError(f"{value} is not a limit", where=where, hint='write a number from 0, or "unlimited"')
    return number
