"""Which processes a container has, and signals for all of them.

Its cgroup knows them; where it has none, they are those of its process namespace or, if that is the
host's, those that share its mount namespace.
"""

from __future__ import annotations

import os

from sandbox.errors import ContainerError, HostError
from sandbox.kernel import cgroup
from sandbox.kernel.process import lives, members, namespace, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.runtime.record import Record

_KILL = 9


def has_own_pids(record: Record) -> bool:
    """Does everything in the container end with its first process?"""
    own = namespace("pid", record.pid)
    return own is None or own != namespace("pid", "self")


def inside(record: Record) -> list[int]:
    """Return the processes of a container."""
    if record.cgroup:
        return cgroup.processes(record.cgroup)
    if not lives(record.pid, record.started):
        return []
    found = _by_namespace(record, numbers())
    return found if record.pid in found else [record.pid, *found]


def _by_namespace(record: Record, candidates: Iterable[int]) -> list[int]:
    kind = "pid" if has_own_pids(record) else "mnt"
    identity = namespace(kind, record.pid)
    if identity is None or identity == namespace(kind, "self"):
        return []
    return members(kind, identity, candidates)


def signal_all(record: Record, number: int) -> None:
    """Signal every process of a container.  Raises ContainerError."""
    if record.cgroup and number == _KILL:
        if not cgroup.kill(record.cgroup):
            raise ContainerError("unable to kill all processes: some are left")
        return
    if not record.cgroup:
        signal_each(inside(record), number, record)
        return
    # Standing still, none can start another that we would miss.
    frozen = cgroup.is_frozen(record.cgroup)
    try:
        if not frozen:
            cgroup.freeze(record.cgroup, frozen=True)
    except HostError:
        frozen = True  # nothing to thaw; those that are there get it
    try:
        signal_each(cgroup.processes(record.cgroup), number, None)
    finally:
        if not frozen:
            cgroup.freeze(record.cgroup, frozen=False)


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes that were in a container a moment ago."""
    signal_each(pids, _KILL, None)


def signal_each(pids: Iterable[int], number: int, record: Record | None) -> None:
    """Signal processes that are of the container `record`, those alone that still are; None: whoever they are.

    Raises ContainerError.
    """
    from signal import pidfd_send_signal  # late: 3 ms

    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            # Looked at behind the opening: the number may be another's by now.
            if record is None or pid == record.pid or _by_namespace(record, [pid]):
                pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            continue
        except OSError as error:
            raise ContainerError(f"unable to signal {pid}: {os.strerror(error.errno or 0).lower()}") from error
        finally:
            os.close(descriptor)
