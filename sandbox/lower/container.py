"""From an OCI runtime spec to a plan: the passes and their order."""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.lower import (
    cgroup,
    devices,
    filesystem,
    hooks,
    machine,
    namespaces,
    network,
    outwards,
    process,
    record,
    scheduling,
    seccomp,
    watch,
)
from sandbox.lower.host import Call, Case, Host, Origins
from sandbox.lower.mount_options import NODEV, NOEXEC, NOSUID, RDONLY, target_of
from sandbox.plan.ops import (
    BindConsole,
    BindMount,
    Command,
    FindCommand,
    FindHome,
    JoinKeyring,
    NewSession,
    NotifySocket,
    OpenTerminal,
    OwnStreams,
    Reaper,
    StartGate,
    Step,
)
from sandbox.spec.annotations import annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.spec.runtime import Process, Spec

# What no user can have: a container that asks for it does not start.
_ROOTS: tuple[tuple[str, Callable[[Any], object], str], ...] = (
    ("linux.intelRdt", lambda spec: spec.linux.intel_rdt, "the file system resctrl is root's alone"),
    (
        "linux.netDevices",
        lambda spec: spec.linux.net_devices,
        "who takes a device out of the host's network has to own that",
    ),
    ("process.commandLine", lambda spec: spec.process.command_line, "is for Windows"),
)
# What no profile asks for: a sandbox does not start with it.
_STRICT: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("linux.timeOffsets", lambda spec: spec.linux.time_offsets),
    ("linux.rootfsPropagation", lambda spec: spec.linux.rootfs_propagation),
    ("linux.mountLabel", lambda spec: spec.linux.mount_label),
    ("linux.personality", lambda spec: spec.linux.personality),
    ("linux.memoryPolicy", lambda spec: spec.linux.memory_policy),
    ("process.apparmorProfile", lambda spec: spec.process.apparmor_profile),
    ("process.selinuxLabel", lambda spec: spec.process.selinux_label),
    ("process.ioPriority", lambda spec: spec.process.io_priority),
    ("process.execCPUAffinity", lambda spec: spec.process.exec_cpu_affinity),
)

NOTIFY_DIRECTORY = "/run/notify"  # inside, as in runc


def lower(spec: Spec, host: Host, origins: Origins, call: Call | None = None) -> tuple[Step, ...]:
    """Return the operations that put `spec` in force on `host`: a profile's sandbox, or with a `call` a container.

    Raises SpecError where the spec asks for something that one user cannot have.
    """
    case = Case(spec, host, origins, call)
    for place, value, why in _ROOTS:
        if value(spec):
            raise SpecError(why, where=origins[place], hint="leave it out")
    devices.check_device_rules(case)
    return _container(case) if case.is_container else _sandbox(case)


def _sandbox(case: Case) -> tuple[Step, ...]:
    for place, value in _STRICT:
        if value(case.spec):
            raise SpecError("is not supported", where=case.origins[place], hint="leave it out")
    terminal, origins = case.origins["process.terminal"], case.origins
    late = bool(case.process.no_new_privileges)
    return (
        *cgroup.sandbox(case),
        *namespaces.namespaces(case),
        *hooks.hooks(case),
        record.container(case),
        *filesystem.absent(case),
        *watch.time_limit(case),
        *watch.memory_limit(case),
        *watch.report(case),
        *watch.readiness(case),
        *watch.keep(case),
        *process.environment(case),
        *network.companion(case),
        *network.start(case),
        *filesystem.root(case),
        *filesystem.mounts(case),
        *devices.devices(case),
        *filesystem.covers(case),
        # A symlink of an image's leads them where it likes below the root: not below what is covered.
        *network.files(case),
        *watch.readiness_socket(case),
        *machine.machine(case),
        *network.ports(case),
        *network.wait(case),
        *filesystem.seal(case),
        *scheduling.oom_score(case),
        # Keys are the user's in whatever namespace.  Where a filter keeps them out, the kernel's count of keyrings is spared.
        *([] if seccomp.keeps_keyrings_out(case.linux.seccomp) else [Step(JoinKeyring(), origins["linux.seccomp"])]),
        # Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go.
        *([] if late else seccomp.seccomp_filter(case)),
        *process.credentials(case),
        Step(OpenTerminal(), terminal),
        Step(NewSession(), terminal),
        # From here on what holds for the command alone, not for the process 1 that reaps behind it.
        *([Step(Reaper(), origins["annotations.init"])] if annotation(case.spec, "init") == "true" else []),
        *process.rlimits(case),
        *process.umask(case),
        *scheduling.nice(case),
        *process.directory(case),
        *(seccomp.seccomp_filter(case) if late else []),
    )


def _container(case: Case) -> tuple[Step, ...]:
    origins = case.origins
    if case.linux.mount_label and not case.host.selinux:
        raise SpecError("SELinux is not enabled in this kernel", where=origins["linux.mountLabel"], hint="leave it out")
    terminal = origins["process.terminal"]
    return (
        record.container(case),
        *namespaces.notices(case),
        *outwards.notices(case),
        *devices.device_notices(case),
        *namespaces.namespaces(case),
        *cgroup.cgroup(case),
        *_notify(case),
        *_command(case),
        *hooks.hooks(case),
        *seccomp.listener(case),
        *namespaces.clocks(case),
        *filesystem.root(case),
        *filesystem.mounts(case),
        *_notify_mount(case),
        *devices.devices(case),
        Step(OpenTerminal(), terminal),
        *([Step(BindConsole(), terminal)] if case.process.terminal else []),
        *devices.closed(case),
        *hooks.runtime_hooks(case),
        *filesystem.covers(case),
        *machine.machine(case),
        *filesystem.shared(case),
        *filesystem.seal(case),
        *_become(case, start=[Step(StartGate(), origins["$"]), *hooks.start_hooks(case)]),
    )


def lower_process(
    spec: Spec, process_spec: Process, host: Host, origins: Origins, call: Call | None = None
) -> tuple[Step, ...]:
    """Return the operations by which another process joins the container that `spec` describes.

    What `process_spec` leaves out of limits, labels, capabilities and the like is the container's.  Raises SpecError.
    """
    case = Case(spec, host, origins, call or Call(), process_spec)
    terminal = origins["process.terminal"]
    return (
        record.container(case),
        *_command(case),
        *seccomp.listener(case),
        Step(OpenTerminal(), terminal),
        *_become(case, start=[]),
    )


def _command(case: Case) -> list[Step]:
    if not case.process.args:
        raise SpecError("must not be empty", where=case.origins["process.args"])
    further = (f"NOTIFY_SOCKET={NOTIFY_DIRECTORY}/notify.sock",) if _notify(case) else ()
    return [
        Step(Command(arguments=tuple(case.process.args)), case.origins["process.args"]),
        *process.environment(case, further),
    ]


def _become(case: Case, start: list[Step]) -> list[Step]:
    """Become the command, as far as that is done anew for each process that joins; in between the container is
    started."""
    origins = case.origins
    uid = case.process.user.uid
    late = bool(case.setting("no_new_privileges"))
    limits = process.rlimits(case)
    return [
        Step(NewSession(), origins["process.terminal"]),
        *([Step(JoinKeyring(), origins["process"])] if case.call.keyring else []),
        Step(OwnStreams(uid=uid), origins["process.user"]),
        Step(FindHome(uid=uid), origins["process.env"]),
        *scheduling.oom_score(case),
        *scheduling.scheduling(case),
        *process.labels(case),
        *process.umask(case),
        *process.first_directory(case),
        *process.early_rlimits(limits),
        # Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go.
        *([] if late else seccomp.seccomp_filter(case)),
        *process.credentials(case),
        Step(FindCommand(), origins["process.args"]),
        *start,
        *process.late_rlimits(limits),
        *process.directory(case, again=True),
        *(seccomp.seccomp_filter(case) if late else []),
    ]


def _has_notify_mount(case: Case) -> bool:
    return any(target_of(mount) == NOTIFY_DIRECTORY for mount in case.spec.mounts)


def _notify(case: Case) -> list[Step]:
    """Take the container's readiness and pass it on; unless the spec has its own way for that, as podman's."""
    if not case.call.notify_directory or _has_notify_mount(case):
        return []
    operation = NotifySocket(directory=case.call.notify_directory, host=case.call.notify_host)
    return [Step(operation, case.origins["$"])]


def _notify_mount(case: Case) -> list[Step]:
    if not _notify(case):
        return []
    operation = BindMount(
        source=case.call.notify_directory,
        target=NOTIFY_DIRECTORY,
        recursive=0,
        set_attributes=RDONLY | NOSUID | NODEV | NOEXEC,  # as in runc; a socket can be written to all the same
        propagation=1 << 18,
        early=filesystem.opening(case),
    )
    return [Step(operation, case.origins["$"])]
