"""Namespaces, id maps, and what makes the sandbox a machine of its own."""

from __future__ import annotations

from sandbox.errors import HostError, SpecError
from sandbox.lower.host import Host, Origins
from sandbox.plan.ops import (
    Flag,
    Isolate,
    LoopbackUp,
    MapIds,
    Notice,
    Register,
    SetDomainname,
    SetHostname,
    Step,
    Sysctl,
)
from sandbox.spec.runtime import IdMapping, Seccomp, Spec, annotation

# CLONE_NEW*, sched.h
NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}
# What can be had instead of limits that need a cgroup.
_CURES = {
    "memory": "limits.rlimits = { as = BYTES } limits each process",
    "cpu": "process.nice = 10 leaves the others their time",
    "pids": "limits.rlimits = { nproc = N } limits all your processes together",
}
REQUIRED = ("user", "mount", "pid", "cgroup")


def notices(spec: Spec, origins: Origins) -> list[Step]:
    """Say of each limit that is asked for and not in force."""
    assert spec.linux is not None
    resources = spec.linux.resources
    asked = []
    if resources is not None:
        asked = [(f"linux.resources.{key}", cure) for key, cure in _CURES.items() if getattr(resources, key)]
        for key in ("block_io", "hugepage_limits", "network", "rdma", "unified", "devices"):
            if getattr(resources, key):
                raise SpecError("is not supported", where=origins[f"linux.resources.{key}"], hint="leave it out")
    if annotation(spec, "timeout"):
        asked.append(("annotations.timeout", "timeout SECONDS sandbox run …"))
    return [
        Step(Notice(text=f"warning: {origins[place]}: is not in force yet\n  hint: {cure}"), origins[place])
        for place, cure in asked
    ]


def namespaces(spec: Spec, host: Host, origins: Origins) -> list[Step]:
    """Create the namespaces, all at once, and map the ids."""
    assert spec.linux is not None
    flags = 0
    for index, namespace in enumerate(spec.linux.namespaces):
        place = f"linux.namespaces[{index}]"
        if namespace.path:
            raise SpecError("joining a namespace is not supported", where=origins[place], hint='leave out "path"')
        if namespace.type not in NAMESPACES:
            raise SpecError(f'unknown namespace "{namespace.type}"', where=origins[place])
        flags |= NAMESPACES[namespace.type]
    for kind in REQUIRED:
        if not flags & NAMESPACES[kind]:
            raise SpecError(f"a sandbox without a {kind} namespace does not isolate", where=origins["linux.namespaces"])
    return [
        Step(Isolate(flags=flags), origins["linux.namespaces"]),
        Step(_id_maps(spec, host, origins), origins["linux.uidMappings"]),
    ]


def _id_maps(spec: Spec, host: Host, origins: Origins) -> MapIds:
    assert spec.linux is not None
    uids, gids = spec.linux.uid_mappings, spec.linux.gid_mappings
    if not uids or not gids:
        raise SpecError("a user namespace needs both maps", where=origins["linux.uidMappings"])
    if _only(uids, host.uid) and _only(gids, host.gid):
        return MapIds(uid_map=_lines(uids), gid_map=_lines(gids))
    if not host.newuidmap or not host.newgidmap:
        raise HostError(
            "newuidmap and newgidmap are not installed, and a map of more than one's own id needs them",
            where=origins["linux.uidMappings"],
            hint="sudo apt install uidmap",
        )
    return MapIds(uid_map=_lines(uids), gid_map=_lines(gids), uid_helper=host.newuidmap, gid_helper=host.newgidmap)


def _only(mappings: list[IdMapping], own: int) -> bool:
    return len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host_id == own


def _lines(mappings: list[IdMapping]) -> str:
    return "".join(f"{entry.container_id} {entry.host_id} {entry.size}\n" for entry in mappings)


def registration(spec: Spec, host: Host, origins: Origins) -> list[Step]:
    """Keep a directory for the sandbox while it runs."""
    return [
        Step(
            Register(directory=f"{host.state_dir}/containers", id=annotation(spec, "name")), origins["annotations.name"]
        )
    ]


def machine(spec: Spec, origins: Origins) -> list[Step]:
    """Names, loopback, sysctls; while the process may still do all in its namespaces."""
    assert spec.linux is not None
    types = {namespace.type for namespace in spec.linux.namespaces}
    steps = []
    if spec.hostname:
        steps.append(Step(SetHostname(name=spec.hostname), origins["hostname"]))
    if spec.domainname:
        steps.append(Step(SetDomainname(name=spec.domainname), origins["domainname"]))
    if "network" in types:
        steps.append(Step(LoopbackUp(), origins["linux.namespaces"]))
    for key, value in spec.linux.sysctl.items():
        steps.append(Step(_sysctl(key, value, types, origins), origins[f"linux.sysctl.{key}"]))
    if annotation(spec, "nested") == "false":
        # Inside another sandbox, whose /proc/sys is read-only, it cannot be written; the filter alone has to do then.
        flags = Flag.MAY_FAIL if _filter_refuses_namespaces(spec.linux.seccomp) else 0
        steps.append(Step(Sysctl(path="user/max_user_namespaces", value="0"), origins["annotations.nested"], flags))
    return steps


def _filter_refuses_namespaces(seccomp: Seccomp | None) -> bool:
    """Does the filter by itself keep user namespaces from being made?"""
    if seccomp is None or seccomp.default_action == "SCMP_ACT_ALLOW":
        return False
    allowed = [rule for rule in seccomp.syscalls if rule.action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")]
    # clone and unshare are allowed by their flags, if at all; clone3 keeps its flags in memory, where no filter looks.
    return not any(
        "clone3" in rule.names or ({"clone", "unshare"} & {*rule.names} and not rule.args) for rule in allowed
    )


def _sysctl(key: str, value: str, types: set[str], origins: Origins) -> Sysctl:
    """Let through what belongs to one of our namespaces, sysctl by sysctl, as runc does (namespaces(7))."""
    owner = ""
    if key.startswith(("net.", "net/")):
        owner = "network"
    elif key.startswith(("fs.mqueue.", "fs/mqueue/", "kernel.msg", "kernel.sem", "kernel.shm", "kernel/msg")):
        owner = "ipc"
    if owner not in types:
        raise SpecError("is not a sysctl of the sandbox's own namespaces", where=origins[f"linux.sysctl.{key}"])
    path = key if "/" in key else key.replace(".", "/")
    if ".." in path.split("/"):
        raise SpecError("is not the name of a sysctl", where=origins[f"linux.sysctl.{key}"])
    return Sysctl(path=path, value=value)
