"""From an OCI runtime spec to a plan: the passes and their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.errors import SpecError
from sandbox.lower import filesystem, isolation, process
from sandbox.lower.host import Host, Origins
from sandbox.plan.ops import Step
from sandbox.spec.runtime import Spec

# Properties that are not in force yet: a container that asks for them does not start.
_REFUSED: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("hooks", lambda spec: spec.hooks),
    ("linux.timeOffsets", lambda spec: spec.linux.time_offsets),
    ("linux.devices", lambda spec: spec.linux.devices),
    ("linux.cgroupsPath", lambda spec: spec.linux.cgroups_path),
    ("linux.intelRdt", lambda spec: spec.linux.intel_rdt),
    ("linux.rootfsPropagation", lambda spec: spec.linux.rootfs_propagation),
    ("linux.mountLabel", lambda spec: spec.linux.mount_label),
    ("linux.personality", lambda spec: spec.linux.personality),
    ("linux.memoryPolicy", lambda spec: spec.linux.memory_policy),
    ("linux.netDevices", lambda spec: spec.linux.net_devices),
    ("process.apparmorProfile", lambda spec: spec.process.apparmor_profile),
    ("process.selinuxLabel", lambda spec: spec.process.selinux_label),
    ("process.ioPriority", lambda spec: spec.process.io_priority),
    ("process.execCPUAffinity", lambda spec: spec.process.exec_cpu_affinity),
    ("process.commandLine", lambda spec: spec.process.command_line),
)


def lower(spec: Spec, host: Host, origins: Origins) -> tuple[Step, ...]:
    """Return the operations that put `spec` in force on `host`.

    Raises SpecError where the spec asks for something that one user cannot have.
    """
    if spec.root is None or spec.process is None or spec.linux is None:
        raise SpecError("root, process and linux are required", where=origins["$"])
    for place, value in _REFUSED:
        if value(spec):
            raise SpecError("is not supported", where=origins[place], hint="leave it out")
    return (
        *isolation.notices(spec, origins),
        *isolation.namespaces(spec, host, origins),
        *isolation.registration(spec, host, origins),
        *process.environment(spec, origins),
        *filesystem.root(spec, host, origins),
        *filesystem.mounts(spec, origins),
        *filesystem.covers(spec, origins),
        *isolation.machine(spec, origins),
        *filesystem.seal(spec, origins),
        *process.identity(spec, origins),
        *process.command(spec, origins),
    )
