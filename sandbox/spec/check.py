"""What of a runtime spec does not fit together, whoever runs it.

Decides by the document alone: the rules of the specification and of runc's validator that need no look at the host.
What one user cannot have is `sandbox.lower`'s to refuse, a filter that makes no sense `sandbox.spec.seccomp`'s.
"""

from __future__ import annotations

from sandbox.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.spec.runtime import Hooks, IdMapping, Linux, Process, Scheduler, Spec

NAMESPACES = ("mount", "cgroup", "uts", "ipc", "user", "pid", "network", "time")
CLOCKS = ("monotonic", "boottime")
REAL_TIME = ("SCHED_FIFO", "SCHED_RR")
IO_CLASSES = ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")

_HOOKS = (
    ("prestart", "prestart"),
    ("createRuntime", "create_runtime"),
    ("createContainer", "create_container"),
    ("startContainer", "start_container"),
    ("poststart", "poststart"),
    ("poststop", "poststop"),
)
_FOREIGN = (("vm", "a virtual machine"), ("windows", "Windows"), ("solaris", "Solaris"), ("zos", "z/OS"))
_IDS = 1 << 32
_NANOSECONDS = 1_000_000_000


def check(spec: Spec, name: str = "config.json") -> list[str]:
    """Refuse what cannot be, and return a warning for each member that has no meaning here.

    Raises SpecError with the document's `name` and the place, `config.json: linux.namespaces[2]`.
    """
    try:
        return [f"{name}: {warning}" for warning in _check(spec)]
    except SpecError as error:
        raise SpecError(str(error), where=name, hint=error.hint) from None


def _check(spec: Spec) -> list[str]:
    check_version(spec.oci_version)
    for member, platform in (*_FOREIGN, ("freebsd", "FreeBSD")):
        if getattr(spec, member) is not None:
            raise SpecError(f"is for {platform}, and this runtime is for Linux", where=member, hint="leave it out")
    if spec.root is None:
        raise SpecError("is missing", where="root")
    if not spec.root.path:
        raise SpecError("is empty", where="root.path")
    if spec.linux is None:
        raise SpecError("is missing", where="linux", hint="a container needs at least a mount namespace")
    if spec.process is None:
        raise SpecError("is missing", where="process")
    if "" in spec.annotations:
        raise SpecError("has a member without a name", where="annotations")
    warnings = _process(spec.process)
    if spec.hooks is not None:
        _hooks(spec.hooks)
    _namespaces(spec, spec.linux)
    _linux(spec.linux)
    for index, mount in enumerate(spec.mounts):
        warnings += _mount(mount.destination, f"mounts[{index}].destination")
        if bool(mount.uid_mappings) != bool(mount.gid_mappings):
            raise SpecError("uidMappings and gidMappings go together", where=f"mounts[{index}]")
        _mappings(mount.uid_mappings, f"mounts[{index}].uidMappings")
        _mappings(mount.gid_mappings, f"mounts[{index}].gidMappings")
    return warnings


def check_version(version: str) -> None:
    """Refuse an `ociVersion` of which it is not known what it means: a major version other than 1."""
    where = "ociVersion"
    if not version:
        raise SpecError("is missing", where=where)
    if not _is_semver(version):
        raise SpecError(f"{version!r} is no version", where=where, hint='write it as "1.3.0"')
    if version.partition(".")[0] != "1":
        raise SpecError(f"{version} is not supported", where=where, hint="1.x.y is")


def _is_semver(version: str) -> bool:
    """Is it MAJOR.MINOR.PATCH[-PRE][+BUILD], Semantic Versioning 2.0.0?"""
    rest, plus, build = version.partition("+")
    core, dash, before = rest.partition("-")
    numbers = core.split(".")
    return (
        len(numbers) == 3
        and all(_is_number(number) for number in numbers)
        and (not plus or all(_is_identifier(part) for part in build.split(".")))
        and (not dash or all(_is_identifier(part) for part in before.split(".")))
        and not any(part.isdigit() and not _is_number(part) for part in before.split("."))
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0"))


def _is_identifier(text: str) -> bool:
    return bool(text) and text.isascii() and text.replace("-", "a").isalnum()


def _mount(destination: str, where: str) -> list[str]:
    if not destination:
        raise SpecError("is empty", where=where)
    if not destination.startswith("/"):
        return [f"{where}: {destination} is not absolute, which is deprecated; it is taken from the root"]
    return []


def check_process(process: Process, name: str = "process.json") -> list[str]:
    """Refuse a process that cannot be, one that `exec` is given; as `check` does."""
    try:
        return [f"{name}: {warning}" for warning in _process(process, "")]
    except SpecError as error:
        raise SpecError(str(error), where=name, hint=error.hint) from None


def _process(process: Process, parent: str = "process.") -> list[str]:
    if not process.args:
        raise SpecError("must not be empty", where=f"{parent}args")
    if not process.cwd:
        raise SpecError("must not be empty", where=f"{parent}cwd")
    if not process.cwd.startswith("/"):
        raise SpecError(f"{process.cwd} is not an absolute path", where=f"{parent}cwd")
    if process.command_line:
        raise SpecError("is for Windows", where=f"{parent}commandLine", hint="leave it out, and use args")
    for index, variable in enumerate(process.env):
        if variable.find("=") < 1:
            raise SpecError(f"{variable!r} is not NAME=VALUE", where=f"{parent}env[{index}]")
    limits: set[str] = set()
    for index, limit in enumerate(process.rlimits):
        where = f"{parent}rlimits[{index}]"
        if limit.type in limits:
            raise SpecError(f"{limit.type} is there twice", where=where)
        if limit.soft > limit.hard:
            raise SpecError(f"soft, {limit.soft}, is more than hard, {limit.hard}", where=where)
        limits.add(limit.type)
    if process.scheduler is not None:
        _scheduler(process.scheduler, f"{parent}scheduler")
    if process.io_priority is not None:
        if process.io_priority.io_class not in IO_CLASSES:
            raise SpecError(
                f"{process.io_priority.io_class!r} is unknown",
                where=f"{parent}ioPriority.class",
                hint=f"one of {', '.join(IO_CLASSES)}",
            )
        if not 0 <= process.io_priority.priority <= 7:
            raise SpecError(f"{process.io_priority.priority} is not 0 to 7", where=f"{parent}ioPriority.priority")
    if process.user.username:
        return [f"{parent}user.username: is for Windows, and not in force"]
    return []


def _scheduler(scheduler: Scheduler, where: str) -> None:
    if not scheduler.policy:
        raise SpecError("must not be empty", where=f"{where}.policy")
    if not -20 <= scheduler.nice <= 19:
        raise SpecError(f"{scheduler.nice} is not -20 to 19", where=f"{where}.nice")
    if scheduler.priority and scheduler.policy not in REAL_TIME:
        raise SpecError(f"is for {' and '.join(REAL_TIME)} alone", where=f"{where}.priority")
    if scheduler.policy != "SCHED_DEADLINE" and (scheduler.runtime or scheduler.deadline or scheduler.period):
        raise SpecError("runtime, deadline and period are for SCHED_DEADLINE alone", where=where)


def _hooks(hooks: Hooks) -> None:
    for stage, attribute in _HOOKS:
        for index, hook in enumerate(getattr(hooks, attribute)):
            where = f"hooks.{stage}[{index}]"
            if not hook.path.startswith("/"):
                raise SpecError(f"{hook.path!r} is not an absolute path", where=f"{where}.path")
            if hook.timeout is not None and hook.timeout <= 0:
                raise SpecError(f"{hook.timeout} is not greater than zero", where=f"{where}.timeout")
            for place, variable in enumerate(hook.env):
                if variable.find("=") < 1:
                    raise SpecError(f"{variable!r} is not NAME=VALUE", where=f"{where}.env[{place}]")


def _namespaces(spec: Spec, linux: Linux) -> None:
    types: set[str] = set()
    for index, namespace in enumerate(linux.namespaces):
        where = f"linux.namespaces[{index}]"
        if namespace.type not in NAMESPACES:
            raise SpecError(f"{namespace.type!r} is no namespace", where=where, hint=f"one of {', '.join(NAMESPACES)}")
        if namespace.type in types:
            raise SpecError(f"{namespace.type} is there twice", where=where)
        if namespace.path and not namespace.path.startswith("/"):
            raise SpecError(f"{namespace.path!r} is not an absolute path", where=f"{where}.path")
        types.add(namespace.type)
    # What it would be done to instead is the caller's own.
    for kind, places in (
        ("mount", (("linux.maskedPaths", linux.masked_paths), ("linux.readonlyPaths", linux.readonly_paths))),
        ("uts", (("hostname", spec.hostname), ("domainname", spec.domainname))),
        ("user", (("linux.uidMappings", linux.uid_mappings), ("linux.gidMappings", linux.gid_mappings))),
        ("time", (("linux.timeOffsets", linux.time_offsets),)),
        ("network", (("linux.netDevices", linux.net_devices),)),
    ):
        for place, value in places:
            if value and kind not in types:
                raise SpecError(
                    f"needs a {kind} namespace of the container's own",
                    where=place,
                    hint=f'add {{"type": "{kind}"}} to linux.namespaces',
                )


def _linux(linux: Linux) -> None:
    for clock, offset in linux.time_offsets.items():
        if clock not in CLOCKS:
            raise SpecError("has no offset", where=f"linux.timeOffsets.{clock}", hint=f"one of {', '.join(CLOCKS)}")
        if offset.nanosecs >= _NANOSECONDS:
            raise SpecError(f"{offset.nanosecs} is a second or more", where=f"linux.timeOffsets.{clock}.nanosecs")
    for index, device in enumerate(linux.devices):
        where = f"linux.devices[{index}]"
        if not device.path.startswith("/"):
            raise SpecError(f"{device.path!r} is not an absolute path", where=f"{where}.path")
        if device.type not in ("c", "u", "b", "p"):
            raise SpecError(f"{device.type!r} is no type of device", where=f"{where}.type", hint="one of c, u, b, p")
    for member, paths in (("maskedPaths", linux.masked_paths), ("readonlyPaths", linux.readonly_paths)):
        for index, path in enumerate(paths):
            if not path.startswith("/"):
                raise SpecError(f"{path!r} is not an absolute path", where=f"linux.{member}[{index}]")
    if linux.personality is not None and linux.personality.flags:
        raise SpecError("there are none", where="linux.personality.flags", hint="leave it out")
    if linux.seccomp is not None and linux.seccomp.listener_metadata and not linux.seccomp.listener_path:
        raise SpecError("needs a listenerPath to go to", where="linux.seccomp.listenerMetadata")
    _mappings(linux.uid_mappings, "linux.uidMappings")
    _mappings(linux.gid_mappings, "linux.gidMappings")


def _mappings(mappings: list[IdMapping], where: str) -> None:
    """Refuse ranges that the kernel refuses without a word about which: empty ones, those that overlap."""
    for index, entry in enumerate(mappings):
        place = f"{where}[{index}]"
        if not entry.size:
            raise SpecError("must not be 0", where=f"{place}.size")
        for member, start in (("containerID", entry.container_id), ("hostID", entry.host_id)):
            if start + entry.size > _IDS:
                raise SpecError(f"{start} and {entry.size} ids from there are no ids", where=f"{place}.{member}")
        for before, other in enumerate(mappings[:index]):
            if _overlap(entry.container_id, entry.size, other.container_id, other.size):
                raise SpecError(f"maps ids that [{before}] maps", where=place)
            if _overlap(entry.host_id, entry.size, other.host_id, other.size):
                raise SpecError(f"maps to ids that [{before}] maps to", where=place)


def _overlap(first: int, size: int, second: int, other: int) -> bool:
    return first < second + other and second < first + size
