"""The features document tells the truth: what it names is lowered, and what it does not name is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.lower.container import lower
from sandbox.lower.features import features
from sandbox.lower.host import Call, Host, Origins
from sandbox.spec.check import NAMESPACES, check
from sandbox.spec.runtime import (
    Capabilities,
    Hook,
    Hooks,
    Linux,
    MemoryPolicy,
    Mount,
    Namespace,
    Process,
    Root,
    Seccomp,
    Spec,
    Syscall,
    SyscallArg,
)

HOST = Host(uid=0, gid=0, state_dir="/s", bundle="/b", capabilities=(1 << 41) - 1, sources={"r": "/b/r", "/x": "/x"})
MOUNT_NAMESPACE = Namespace(type="mount")


def taken(**members: Any) -> bool:
    """Is a container with these members lowered?"""
    linux = members.pop("linux", Linux(namespaces=[MOUNT_NAMESPACE]))
    process = members.pop("process", Process(args=["x"], cwd="/"))
    spec = Spec(oci_version="1.0.0", root=Root(path="r"), process=process, linux=linux, **members)
    try:
        check(spec)
        lower(spec, HOST, Origins(), Call())
    except SandboxError:
        return False
    return True


def with_option(option: str) -> bool:
    """Is a mount's option taken for one, and not for one of the file system?"""
    kinds = (
        Mount(destination="/m", source="/x", options=["bind", option]),
        Mount(destination="/m", source="x", type="tmpfs", options=[option]),
        Mount(destination="/m", source="/x", options=["bind", "remount", option]),
    )
    return any(taken(mounts=[mount]) for mount in kinds)


DOCUMENT = features()
LINUX = DOCUMENT["linux"]


def test_mount_options() -> None:
    ids = [option for option in DOCUMENT["mountOptions"] if option.endswith("idmap")]  # which need maps here
    assert ids == ["idmap", "ridmap"]
    assert all(with_option(option) for option in DOCUMENT["mountOptions"] if option not in ids)
    bind = Mount(destination="/m", source="/x", options=["bind", "rsize=5"])
    assert not taken(mounts=[bind])


def test_runc_s_options_are_all_there() -> None:
    """Of `runc features`, but for acl and noacl: options of file systems, as newer ones have it."""
    runc = """async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime
        noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev
        rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid
        rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared
        silent slave strictatime suid symfollow sync tmpcopyup unbindable""".split()

    assert not {*runc} - {*DOCUMENT["mountOptions"]}


def test_namespaces() -> None:
    assert LINUX["namespaces"] == sorted(NAMESPACES)
    for name in LINUX["namespaces"]:
        joined = Namespace(type=name, path="/ns") if name != "user" else Namespace(type=name, path="/ns/user")
        namespaces = [joined] if name == "mount" else [MOUNT_NAMESPACE, joined]
        assert taken(linux=Linux(namespaces=namespaces)), name
    assert not taken(linux=Linux(namespaces=[MOUNT_NAMESPACE, Namespace(type="moon")]))


def test_hooks() -> None:
    for name in DOCUMENT["hooks"]:
        attribute = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        assert taken(hooks=Hooks(**{attribute: [Hook(path="/h")]})), name


def test_capabilities() -> None:
    for name in LINUX["capabilities"]:
        assert taken(process=Process(args=["x"], cwd="/", capabilities=Capabilities(bounding=[name]))), name
    assert len(LINUX["capabilities"]) == 41


def test_seccomp() -> None:
    def filtered(**members: Any) -> bool:
        seccomp = Seccomp(**{"default_action": "SCMP_ACT_ALLOW", "listener_path": "/l"} | members)
        return taken(linux=Linux(namespaces=[MOUNT_NAMESPACE], seccomp=seccomp))

    seccomp = LINUX["seccomp"]
    for action in seccomp["actions"]:
        assert filtered(syscalls=[Syscall(names=["acct"], action=action)]), action
    for operator in seccomp["operators"]:
        argument = SyscallArg(index=0, value=1, op=operator)
        assert filtered(syscalls=[Syscall(names=["acct"], action="SCMP_ACT_ERRNO", args=[argument])]), operator
    for flag in seccomp["supportedFlags"]:
        notifying = [Syscall(names=["acct"], action="SCMP_ACT_NOTIFY")]
        assert filtered(flags=[flag], syscalls=notifying), flag
    assert filtered(architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"])
    assert not filtered(architectures=["SCMP_ARCH_PDP11"])
    assert seccomp["knownFlags"] == seccomp["supportedFlags"]


def test_memory_policy() -> None:
    for mode in LINUX["memoryPolicy"]["modes"]:
        nodes = "" if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else "0"
        policy = MemoryPolicy(mode=mode, nodes=nodes)
        assert taken(linux=Linux(namespaces=[MOUNT_NAMESPACE], memory_policy=policy)), mode
    for flag in LINUX["memoryPolicy"]["flags"]:
        policy = MemoryPolicy(mode="MPOL_BIND", nodes="0", flags=[flag])
        assert taken(linux=Linux(namespaces=[MOUNT_NAMESPACE], memory_policy=policy)), flag


@pytest.mark.parametrize("version, is_taken", [("1.0.0", True), ("1.3.0", True), ("2.0.0", False), ("0.9.0", False)])
def test_versions(version: str, is_taken: bool) -> None:
    spec = Spec(
        oci_version=version,
        root=Root(path="r"),
        process=Process(args=["x"], cwd="/"),
        linux=Linux(namespaces=[MOUNT_NAMESPACE]),
    )
    try:
        check(spec)
    except SandboxError:
        assert not is_taken
    else:
        assert is_taken
    assert (DOCUMENT["ociVersionMin"], DOCUMENT["ociVersionMax"]) == ("1.0.0", "1.3.0")


def test_what_is_not_enabled_is_refused() -> None:
    from sandbox.spec.runtime import IntelRdt, NetDevice

    assert not LINUX["intelRdt"]["enabled"]
    assert not taken(linux=Linux(namespaces=[MOUNT_NAMESPACE], intel_rdt=IntelRdt(clos_id="x")))
    assert not LINUX["netDevices"]["enabled"]
    namespaces = [MOUNT_NAMESPACE, Namespace(type="network")]
    assert not taken(linux=Linux(namespaces=namespaces, net_devices={"eth0": NetDevice()}))
    assert LINUX["cgroup"]["systemdUser"]
    assert not LINUX["cgroup"]["systemd"]  # the one of the system is root's
    assert not taken(linux=Linux(namespaces=[MOUNT_NAMESPACE], cgroups_path="user.slice:a:b"))
