"""What is written down of a container (state.json), and what it is doing.

The first line of state.json has a fixed form, for nsinit to read (nsinit/record.c); the file as a whole is one JSON
document.  What a file claims is never believed of a process: the status is derived from the one that lives or does not.
"""

from __future__ import annotations

from sandbox.errors import ContainerError
from sandbox.kernel import cgroup
from sandbox.kernel.process import is_stopped, parent, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HELD = '","held":true,'


class Status:
    """What a container is doing; runtime-spec, runtime.md#state, and runc's `paused`."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class State:
    """The state of a container; runtime-spec, runtime.md#state."""

    __slots__ = ("annotations", "bundle", "created", "id", "oci_version", "owner", "pid", "rootfs", "status")

    def __init__(
        self,
        *,
        oci_version: str,
        id: str,  # noqa: A002 (its name in the specification)
        pid: int,
        status: str,
        bundle: str,
        rootfs: str,
        created: str,
        annotations: dict[str, str],
        owner: str = "",
    ) -> None:
        self.oci_version = oci_version
        self.id = id
        self.pid = pid  # of the first process, as the host counts; 0 when it has ended
        self.status = status  # Status
        self.bundle = bundle
        self.rootfs = rootfs
        self.created = created  # RFC 3339
        self.annotations = annotations
        self.owner = owner

    def document(self) -> dict[str, Any]:
        """Return the JSON object that runc's `state` prints."""
        document: dict[str, Any] = {
            "ociVersion": self.oci_version,
            "id": self.id,
            "pid": self.pid,
            "status": self.status,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": self.created,
        }
        if self.annotations:
            document["annotations"] = self.annotations
        return {**document, "owner": self.owner}


class Record:
    """What state.json says."""

    __slots__ = ("_text", "cgroup", "created", "held", "id", "pid", "started", "unmade_cgroup")

    def __init__(self, text: str) -> None:
        """Read the fixed line; the rest when it is wanted.  Raises ValueError."""
        line, _, _ = text.partition("\n")
        self._text = text
        self.id = _between(line, '{"id":"', '"')
        self.pid = int(_between(line, '"pid":', ","))
        self.started = int(_between(line, '"started":', ","))
        self.created = _between(line, '"created":"', '"')
        named = _between(line, '"cgroup":"', '"')
        if named and (named[0] != "/" or named == "/"):
            raise ValueError("by any other path what were ended would be the machine")
        inode = int(_between(line, '"cgroupInode":', ",")) if '"cgroupInode":' in line else 0
        # Its directory, "" without one: another may have the name by now, which is not ours to freeze, kill or remove.
        self.cgroup = named if named and cgroup.is_inode(named, inode) else ""
        # It was about to be made, and may be there, empty.
        self.unmade_cgroup = "" if inode else named
        self.held = line.endswith(_HELD)  # a sandbox, whose monitor has the lock

    @property
    def detached(self) -> bool:
        """Was it started for nobody to wait for?"""
        return self.held and (self.document().get("annotations") or {}).get("dev.sandbox.detached") == "true"

    def document(self) -> dict[str, Any]:
        """Return the whole of state.json: `ociVersion`, `bundle`, `rootfs`, `annotations`, `namespaces` …"""
        from sandbox.spec.quick import value  # late: neither `kill` nor `delete` owe it

        try:
            document = value(self._text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ContainerError("state.json is damaged", where=self.id)
        return document


def _between(line: str, before: str, after: str) -> str:
    start = line.index(before) + len(before)
    return line[start : line.index(after, start)]


def is_paused(record: Record) -> bool:
    """Was everything in a container made to stand (`standing.py`)?"""
    return cgroup.is_frozen(record.cgroup) or (record.held and is_stopped(record.pid))


def is_suspended(record: Record) -> bool:
    """Was a sandbox stopped together with its monitor, by Ctrl-Z or another signal of job control?"""
    return record.held and state(parent(record.pid)) == "T"
