"""Which namespaces are made and which are joined."""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.lower.ids import id_maps
from sandbox.plan.ops import Isolate, JoinNamespace, Notice, Step, TimeNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case

# CLONE_NEW*, sched.h
NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
}
REQUIRED = ("user", "mount", "pid", "cgroup")  # of a sandbox
# The right to join the others may come with the user namespace; with the mount namespace the host's files go.
JOIN_ORDER = ("user", "cgroup", "ipc", "uts", "network", "pid", "time", "mount")

CAP_SYS_ADMIN = 1 << 21


def namespaces(case: Case) -> list[Step]:
    """Create the namespaces, all at once, map the ids, and join what is there."""
    for index, namespace in enumerate(case.linux.namespaces):
        where = case.origins[f"linux.namespaces[{index}]"]
        if namespace.type not in NAMESPACES:
            raise SpecError(f'unknown namespace "{namespace.type}"', where=where)
        if namespace.path and not case.is_container:
            raise SpecError("joining a namespace is not supported", where=where, hint='leave out "path"')
    if case.is_container:
        _check_container(case)
    else:
        _check_sandbox(case)
    # A time namespace is for the children of who makes it, and entered apart.
    flags = sum(NAMESPACES[kind] for kind in case.namespaces if case.makes(kind) and kind != "time")
    steps = [Step(Isolate(flags=flags), case.origins["linux.namespaces"])]
    if case.makes("user"):
        steps.append(Step(id_maps(case), case.origins["linux.uidMappings"]))
    return steps + _joined(case)


def notices(case: Case) -> list[Step]:
    """Say of the id maps that they are not what is in force: containerd and CRI-O name the namespace and its maps."""
    if case.makes("user") or not (case.linux.uid_mappings or case.linux.gid_mappings):
        return []
    where = case.origins["linux.uidMappings"]
    return [Step(Notice(text=f"{where}: the user namespace that is joined has maps of its own"), where)]


def membership(case: Case) -> int:
    """Return the kinds (CLONE_NEW*) of the namespaces that a process joins to be in the container."""
    return sum(number for kind, number in NAMESPACES.items() if case.has(kind))


def clocks(case: Case) -> list[Step]:
    """Enter a new time namespace, if there is one."""
    if not case.makes("time"):
        return []
    offsets = "".join(
        f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in sorted(case.linux.time_offsets.items())
    )
    place = "linux.timeOffsets" if offsets else "linux.namespaces"
    return [Step(TimeNamespace(offsets=offsets), case.origins[place])]


def _joined(case: Case) -> list[Step]:
    steps = []
    for kind in JOIN_ORDER:
        # In a namespace of our own we are already; to join it would need rights over it.
        if case.has(kind) and not case.makes(kind):
            index = [entry.type for entry in case.linux.namespaces].index(kind)
            operation = JoinNamespace(path=case.namespaces[kind], flag=NAMESPACES[kind])
            steps.append(Step(operation, case.origins[f"linux.namespaces[{index}]"]))
    return steps


def _check_sandbox(case: Case) -> None:
    for kind in REQUIRED:
        if kind not in case.namespaces:
            raise SpecError(
                f"a sandbox without a {kind} namespace does not isolate", where=case.origins["linux.namespaces"]
            )
    if "time" in case.namespaces:
        raise SpecError("a sandbox has the host's clocks", where=case.origins["linux.namespaces"])


def _check_container(case: Case) -> None:
    where = case.origins["linux.namespaces"]
    if not case.has("mount"):
        raise SpecError(
            "without a mount namespace of the container's own its root would become ours",
            where=where,
            hint='add {"type": "mount"}',
        )
    if not case.has("user") and not case.host.capabilities & CAP_SYS_ADMIN:
        raise SpecError(
            "without a user namespace of its own a container needs CAP_SYS_ADMIN, which we lack (rootless)",
            where=where,
            hint='add {"type": "user"}, and linux.uidMappings and linux.gidMappings',
        )
    if case.linux.time_offsets and not case.makes("time"):
        raise SpecError(
            "a time namespace that is joined has its offsets already",
            where=case.origins["linux.timeOffsets"],
            hint="leave it out",
        )
