"""What makes a container look like a machine of its own: names, loopback, sysctls."""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.plan.ops import Flag, LoopbackUp, SetDomainname, SetHostname, Step, Sysctl
from sandbox.spec.annotations import annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case
    from sandbox.spec.runtime import Seccomp

# namespaces(7); as runc has it.  What else lies in kernel.* is the host's.
IPC_SYSCTLS = ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
UTS_SYSCTLS = ("hostname", "domainname")


def machine(case: Case) -> list[Step]:
    """Set names, loopback and sysctls, while the process may still do all in its namespaces."""
    spec, origins = case.spec, case.origins
    steps = []
    if spec.hostname:
        steps.append(Step(SetHostname(name=spec.hostname), origins["hostname"]))
    if spec.domainname:
        steps.append(Step(SetDomainname(name=spec.domainname), origins["domainname"]))
    if case.makes("network"):
        steps.append(Step(LoopbackUp(), origins["linux.namespaces"]))
    for key, value in case.linux.sysctl.items():
        steps.append(Step(_sysctl(case, key, value), origins[f"linux.sysctl.{key}"]))
    if annotation(spec, "nested") == "false":
        # Inside another sandbox, whose /proc/sys is read-only, it cannot be written; the filter alone has to do then.
        flags = Flag.MAY_FAIL if _filter_refuses_namespaces(case.linux.seccomp) else 0
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


def _sysctl(case: Case, key: str, value: str) -> Sysctl | SetHostname | SetDomainname:
    """Let through what belongs to one of our namespaces, sysctl by sysctl, as runc does (namespaces(7))."""
    where = case.origins[f"linux.sysctl.{key}"]
    path = _path(key)
    top, _, rest = path.partition("/")
    owner = ""
    if top == "net":
        owner = "network"
    elif (top == "kernel" and rest in IPC_SYSCTLS) or path.startswith("fs/mqueue/"):
        owner = "ipc"
    elif top == "kernel" and rest in UTS_SYSCTLS:
        owner = "uts"
    if not owner:
        raise SpecError("is not a sysctl of the sandbox's own namespaces", where=where, hint="leave it out")
    if not case.has(owner):
        raise SpecError(
            f"is not a sysctl of the sandbox's own namespaces: the {owner} namespace is the host's",
            where=where,
            hint=f'add {{"type": "{owner}"}} to linux.namespaces',
        )
    if not all(part and part not in (".", "..") for part in path.split("/")):
        raise SpecError("is not the name of a sysctl", where=where)
    if owner != "uts":
        return Sysctl(path=path, value=value)
    # The files are those of the host's root, who is not in the container; the calls are not.
    named = case.spec.hostname if rest == "hostname" else case.spec.domainname
    if named and named != value:
        raise SpecError(f'is not the {rest}, "{named}"', where=where, hint="leave it out")
    return SetHostname(name=value) if rest == "hostname" else SetDomainname(name=value)


def _path(key: str) -> str:
    """Return the file of a sysctl, below /proc/sys.  The first separator tells which of `.` and `/` is one, sysctl(8)."""
    dot, slash = key.find("."), key.find("/")
    if dot == -1 or -1 < slash < dot:
        return key
    return key.translate({ord("."): "/", ord("/"): "."})
