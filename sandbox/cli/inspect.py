"""`sandbox inspect`: all that is known of a sandbox, as JSON."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from sandbox.cli.ps import Row
from sandbox.errors import UsageError
from sandbox.kernel.process import parent
from sandbox.quantities import seconds_of
from sandbox.runtime.finding import find
from sandbox.runtime.processes import inside
from sandbox.runtime.record import Record, Status
from sandbox.runtime.state import Place, state_root
from sandbox.runtime.tasks import command_line

_KINDS = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
# Members of state.json that are shown as they are.
_AS_RECORDED = (
    "cwd", "hostname", "uidMappings", "gidMappings", "binds", "seccomp", "terminal", "limits", "rootfs", "annotations",
)  # fmt: skip


def inspect(operands: list[str]) -> int:
    """Print an object for the sandbox that is named, for several an array."""
    if not operands:
        raise UsageError("no sandbox was given", hint="sandbox inspect ID…")
    containers = f"{state_root()}/containers"
    found = []
    for name in operands:
        place, record = find(containers, name)
        with place:
            found.append(describe(place, record))
    print(json.dumps(found if len(operands) > 1 else found[0], indent=2))
    return 0


def describe(place: Place, record: Record) -> dict[str, Any]:
    """Return what is known of one."""
    status = place.status(record)
    document = record.document()
    result = place.result()
    lives = status not in (Status.STOPPED, Status.CREATING)
    found = {
        **Row(record, status, quiet=False, result=result).document(),
        "ociVersion": document.get("ociVersion", ""),
        "uptime": round(time.time() - seconds_of(record.created), 1) if lives else None,
        "monitor": parent(record.pid) if lives and record.held else None,
        "detached": record.detached,
        "log": f"{place.path}/log" if record.detached else None,
        "result": result or None,
        "directory": place.path,
        "cgroup": record.cgroup or (_cgroup(record.pid) if lives else ""),
        "limitsInForce": _limits(record.cgroup) if lives and record.cgroup else {},
        "namespaces": _namespaces(record.pid) if lives else {},
        "processes": [process for pid in inside(record) if (process := _process(pid))] if lives else [],
    }
    return found | {name: document[name] for name in _AS_RECORDED if name in document}


def _limits(directory: str) -> dict[str, str]:
    from sandbox.runtime.limits import in_force  # late: msgspec

    return in_force(directory)


def _namespaces(pid: int) -> dict[str, str]:
    found = {}
    for kind in _KINDS:
        try:
            found[kind] = os.readlink(f"/proc/{pid}/ns/{kind}")
        except OSError:
            continue
    return found


def _cgroup(pid: int) -> str:
    """Return the cgroup that it shares with its caller, as that sees it."""
    for line in _text(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return ""


def _process(pid: int) -> dict[str, Any] | None:
    fields = dict(line.partition(":")[::2] for line in _text(f"/proc/{pid}/status").splitlines())
    if "NSpid" not in fields:
        return None
    return {
        "pid": pid,
        "pidInside": int(fields["NSpid"].split()[-1]),
        "parent": int(fields["PPid"]),
        "uid": int(fields["Uid"].split()[1]),
        "gid": int(fields["Gid"].split()[1]),
        "state": fields["State"].split()[0],
        "command": command_line(pid) or [fields["Name"].strip()],
    }


def _text(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""
