"""Numbers of `[limits]`: sizes, times, and the limits of setrlimit(2)."""

from __future__ import annotations

import re

from sandbox.errors import ProfileError
from sandbox.profile.load import Layered
from sandbox.profile.schema import RlimitPair
from sandbox.spec.runtime import CpuResources, MemoryResources, PidsResources, Resources, Rlimit

RLIMITS = [
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"),
    *("rtprio", "rttime", "sigpending", "stack"),
]
UNLIMITED = 2**64 - 1  # RLIM_INFINITY
GRACE = 10  # seconds between the request to end and the end, as from podman and docker
CPU_PERIOD = 100_000  # microseconds, the kernel's own default

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


def resources(layered: Layered) -> Resources | None:
    """Return what all processes may use together, None if nothing is limited.  Raises ProfileError."""
    limits = layered.profile.limits
    if limits.memory is None and limits.cpus is None and limits.pids is None:
        return None
    result = Resources()
    if limits.memory is not None:
        result.memory = MemoryResources(limit=size(limits.memory, layered.origin("limits", "memory").text))
    if limits.cpus is not None:
        if not 0.01 <= limits.cpus <= 10_000:
            where = layered.origin("limits", "cpus").text
            raise ProfileError(f"{limits.cpus} is not a number of processors", where=where, hint="write 0.5 or 2")
        result.cpu = CpuResources(quota=int(limits.cpus * CPU_PERIOD), period=CPU_PERIOD)
    if limits.pids is not None:
        if limits.pids < 1:
            raise ProfileError(
                f"{limits.pids} is too few processes",
                where=layered.origin("limits", "pids").text,
                hint="write 1 or more",
            )
        result.pids = PidsResources(limit=limits.pids)
    return result
