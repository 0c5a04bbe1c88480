"""`update`: other limits for a container that runs."""

from __future__ import annotations

import os
import re
import sys

from sandbox.engine.command_line import quote
from sandbox.engine.log import reason
from sandbox.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.engine.call import Call
    from sandbox.spec.runtime import Resources

# Option, where its value goes in linux.resources, may it be negative?
_NUMBERS = (
    ("cpu_idle", "idle", True),
    ("cpu_burst", "burst", False),
    ("cpu_period", "period", False),
    ("cpu_rt_period", "realtimePeriod", False),
    ("cpu_share", "shares", False),
    ("cpu_quota", "quota", True),
    ("cpu_rt_runtime", "realtimeRuntime", True),
)
_SIZES = (("memory", "limit"), ("memory_swap", "swap"), ("memory_reservation", "reservation"))
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?[iI]?[bB]?", re.ASCII)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def run(call: Call) -> int:
    """Set them."""
    container = call.container()
    path = call.line.text("resources")
    container.set(_read(path) if path else from_options(call))
    return 0


def _read(path: str) -> Resources:
    """Return the resources in a file, "-" for standard input.  Raises HostError, SpecError."""
    from sandbox.spec.document import decode_leniently
    from sandbox.spec.runtime import Resources

    try:
        if path == "-":
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        raise HostError(f"open {path}: {reason(error)}") from error
    return decode_leniently(content, Resources, name=os.path.basename(path) if path != "-" else "standard input")[0]


def from_options(call: Call) -> dict[str, Any]:
    """Return the options as `linux.resources`.  Raises UsageError."""
    line = call.line
    cpu: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    for field, name, negative in _NUMBERS:
        if text := line.text(field):
            cpu[name] = _number(text, field.replace("_", "-"), negative=negative)
    for field in ("cpus", "mems"):
        if text := line.text(f"cpuset_{field}"):
            cpu[field] = text
    for field, name in _SIZES:
        if text := line.text(field):
            memory[name] = -1 if text == "-1" else _bytes(text, field.replace("_", "-"))
    if memory.get("limit") == -1:
        memory.setdefault("swap", -1)  # as in cgroup v1: no limit is none of both
    for field in ("kernel_memory", "kernel_memory_tcp"):
        if line.text(field):
            message = f"Setting --{field.replace('_', '-')} is ignored and will be removed"
            call.log.warning(message)
    if line.text("l3_cache_schema"):
        raise HostError("Intel RDT/CAT: l3 cache schema is not enabled", hint="it needs root")
    if line.text("mem_bw_schema"):
        raise HostError("Intel RDT/MBA: memory bandwidth schema is not enabled", hint="it needs root")
    resources = {
        "cpu": cpu,
        "memory": memory,
        "blockIO": {"weight": weight} if (weight := line.number("blkio_weight")) else {},
        "pids": {"limit": limit} if (limit := line.number("pids_limit")) else {},
    }
    return {name: value for name, value in resources.items() if value}


def _number(text: str, option: str, *, negative: bool) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    parser = "ParseInt" if negative else "ParseUint"
    if not digits.isascii() or not digits.isdigit() or (digits != text and not negative):
        raise UsageError(f"invalid value for {option}: strconv.{parser}: parsing {quote(text)}: invalid syntax")
    number = int(text)
    if not -(2**63) <= number < (2**63 if negative else 2**64):
        raise UsageError(f"invalid value for {option}: strconv.{parser}: parsing {quote(text)}: value out of range")
    return number


def _bytes(text: str, option: str) -> int:
    """Read a size as docker's units do: 100M, 1.5g, 10 KiB; the units are powers of 1024."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"invalid value for {option}: invalid size: '{text}'")
    number, unit = found.groups(default="")
    return int(float(number) * 1024 ** _UNITS[unit.lower()])
