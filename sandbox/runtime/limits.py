"""Other limits for a container that runs: what is absent in the change stays as it is.

Some files hold two values of the specification, and some values of it are relative to others; what the
change leaves out of those is read from the files, so that half a change does not undo the other half.
"""

from __future__ import annotations

import os

import msgspec

from sandbox.errors import ContainerError, HostError
from sandbox.kernel import cgroup
from sandbox.spec.document import decode_leniently
from sandbox.spec.runtime import CpuResources, MemoryResources, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_PERIOD = 100_000  # of the kernel, in microseconds


def change(directory: str, resources: Resources | Mapping[str, Any], above: str = "") -> None:
    """Write the limits to the files of the cgroup at `directory`, and to those of `above`, where it has them too.

    Raises SpecError, HostError.
    """
    from sandbox.lower.resources import settings

    if not isinstance(resources, Resources):
        resources = decode_leniently(msgspec.json.encode(resources), Resources, name="resources")[0]
    completed = complete(directory, resources)
    _check_usage(directory, completed.memory)
    found = settings(completed, lambda place: f"resources.{place}", bfq=os.path.exists(f"{directory}/io.bfq.weight"))
    _enable(directory, dict.fromkeys(setting.controller for setting in found if setting.controller))
    words = [str(setting) for setting in found]
    cgroup.apply(directory, words)
    if above:
        cgroup.apply(above, words)


def _enable(directory: str, controllers: Iterable[str]) -> None:
    """Have these controllers in the cgroup, where those above it have them, which is ours too.  Raises HostError."""
    try:
        there = cgroup.read(directory, "cgroup.controllers").split()
    except OSError:  # the write will say what is wrong
        return
    above = os.path.dirname(directory)
    for controller in controllers:
        if controller in there:
            continue
        try:
            cgroup.write(above, "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            from sandbox.kernel.probe.cgroup import why_missing  # late: for a refusal alone

            cause = why_missing(above, [controller])
            raise HostError(
                f"the controller {controller} is not delegated to you", cause=cause.why, hint=cause.cure
            ) from error


_ENDLESS = 2**62  # as huge pages have it before anybody has set a limit
_FILES = {
    **dict.fromkeys(("memory.max", "memory.high", "memory.swap.max", "pids.max", "io.max"), ("", "max")),
    **dict.fromkeys(("memory.low", "memory.min", "memory.oom.group"), ("0",)),
    "cpu.max": ("max 100000",),
    "cpu.weight": ("100",),
    "io.weight": ("default 100",),
    "cpuset.cpus": ("",),
    "cpuset.mems": ("",),
}


def in_force(directory: str) -> dict[str, str]:
    """Return the limits that the cgroup has now, whoever has set them: files, and what is not the kernel's default in them."""
    found = {}
    sizes = [name for name in _listed(directory) if name.startswith("hugetlb.") and name.endswith(".max")]
    for name in (*_FILES, *sorted(sizes)):
        try:
            value = cgroup.read(directory, name).strip()
        except OSError:  # no such controller
            continue
        if value not in _FILES.get(name, ("max",)) and not (value.isdigit() and int(value) >= _ENDLESS):
            found[name] = value
    return found


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # it has ended
        return []


def _check_usage(directory: str, memory: MemoryResources | None) -> None:
    """Refuse a limit that would have processes killed at once, if that is asked for."""
    if memory is None or not memory.check_before_update or not memory.limit or memory.limit < 0:
        return
    try:
        usage = int(cgroup.read(directory, "memory.current"))
    except OSError:  # the write will say what is missing
        return
    if usage > memory.limit:
        raise ContainerError(f"rejecting memory limit {memory.limit} < usage {usage}")


def complete(directory: str, resources: Resources) -> Resources:
    """Return `resources` with what is read from the cgroup of values that go together."""
    changes: dict[str, Any] = {}
    if resources.cpu is not None:
        changes["cpu"] = _complete_cpu(directory, resources.cpu)
    if resources.memory is not None:
        changes["memory"] = _complete_memory(directory, resources.memory)
    return msgspec.structs.replace(resources, **changes)


def _complete_cpu(directory: str, cpu: CpuResources) -> CpuResources:
    if (cpu.quota is None) == (cpu.period is None):
        return cpu
    quota, period = _cpu_max(directory)
    return msgspec.structs.replace(
        cpu,
        quota=quota if cpu.quota is None else cpu.quota,
        period=cpu.period or period,
    )


def _cpu_max(directory: str) -> tuple[int, int]:
    """Return quota (-1: none) and period of cpu.max."""
    try:
        words = cgroup.read(directory, "cpu.max").split()
    except OSError:  # the write will say what is missing
        words = []
    if len(words) != 2 or not words[1].isdigit():
        return -1, _PERIOD
    return int(words[0]) if words[0].isdigit() else -1, int(words[1])


def _complete_memory(directory: str, memory: MemoryResources) -> MemoryResources:
    """A limit on memory and swap together is one on swap alone in cgroup v2, relative to that on memory."""
    if memory.swap is None or memory.swap <= 0 or memory.limit is not None:
        return memory
    try:
        text = cgroup.read(directory, "memory.max").strip()
    except OSError:
        return memory
    return msgspec.structs.replace(memory, limit=int(text) if text.isdigit() else -1)
