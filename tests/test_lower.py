"""Lowering is a function of spec and facts: what it comes to, as text, and what it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sandbox.errors import HostError, SpecError
from sandbox.kernel.probe.distribution import install
from sandbox.lower.container import lower
from sandbox.lower.host import Host, Origins
from sandbox.lower.seccomp import keeps_keyrings_out
from sandbox.plan.ops import Cgroup, Flag, Step, Sysctl
from sandbox.plan.words import describe
from sandbox.spec.runtime import Seccomp, Spec, Syscall, decode, encode

HOST = Host(
    uid=1000,
    gid=1000,
    state_dir="/run/user/1000/sandbox",
    newuidmap="/usr/bin/newuidmap",
    newgidmap="/usr/bin/newgidmap",
)
NAMESPACES = [{"type": kind} for kind in ("user", "mount", "pid", "ipc", "uts", "cgroup", "network")]
BASE: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "/srv/root", "readonly": True},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
        {"destination": "data", "type": "bind", "source": "/srv/data", "options": ["rbind", "rro", "nodev"]},
    ],
    "process": {"cwd": "/", "args": ["true"], "user": {"uid": 1000, "gid": 1000}, "noNewPrivileges": True},
    "hostname": "box",
    "linux": {
        "namespaces": NAMESPACES,
        "uidMappings": [{"containerID": 1000, "hostID": 1000, "size": 1}],
        "gidMappings": [{"containerID": 1000, "hostID": 1000, "size": 1}],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
    },
}


def spec(changes: dict[str, Any] | None = None) -> Spec:
    """Return BASE with members replaced; a dotted name goes down."""
    document = msgspec.json.decode(msgspec.json.encode(BASE))
    for name, value in (changes or {}).items():
        table = document
        *path, last = name.split(".")
        for part in path:
            table = table.setdefault(part, {})
        table[last] = value
    return decode(msgspec.json.encode(document))


def lowered(changes: dict[str, Any] | None = None, host: Host = HOST) -> tuple[Step, ...]:
    return lower(spec(changes), host, Origins({"mounts[1]": "build.toml:3: filesystem.read[0]"}))


def text(steps: tuple[Step, ...]) -> str:
    marks = {Flag.IF_PRESENT: "if present: ", Flag.MAY_FAIL: "try: ", Flag.OTHERWISE: "otherwise: "}
    return "\n".join(f"{marks.get(step.flags, '')}{describe(step.op)}  < {step.origin}" for step in steps)


def test_the_plan_of_a_small_spec() -> None:
    assert (
        text(lowered())
        == """\
create the namespaces user, mount, pid, ipc, uts, cgroup, network  < config.json: linux.namespaces
map ids (inside outside count): uids 1000 1000 1; gids 1000 1000 1  < config.json: linux.uidMappings
keep /run/user/1000/sandbox/containers/ID while it runs  < config.json: annotations.name
set nothing; keep nothing  < config.json: process.env
give the command no terminal  < config.json: process.terminal
take /srv/root as the root  < config.json: root
try: mount a new proc on /proc (nosuid)  < config.json: mounts[0]
otherwise: bind /proc (read-only, nosuid)  < config.json: mounts[0]
bind /srv/data onto /data (read-only, nodev)  < build.toml:3: filesystem.read[0]
if present: hide /proc/kcore  < config.json: linux.maskedPaths[0]
if present: make /proc/sys read-only  < config.json: linux.readonlyPaths[0]
set the host name box  < config.json: hostname
bring lo up  < config.json: linux.namespaces
make the root read-only  < config.json: root
leave the host's tree for the new root  < config.json: root
have a session keyring of its own  < config.json: linux.seccomp
become uid 1000, gid 1000, with no capability, and gain no privileges by execve  < config.json: process.capabilities
open the terminal  < config.json: process.terminal
start a session  < config.json: process.terminal
change to /  < config.json: process.cwd"""
    )


@pytest.mark.parametrize(
    "action, rules, own",
    [
        ("SCMP_ACT_ERRNO", [("SCMP_ACT_ALLOW", ["read", "write"])], False),
        ("SCMP_ACT_ERRNO", [("SCMP_ACT_ALLOW", ["read", "keyctl"])], True),
        ("SCMP_ACT_KILL_PROCESS", [("SCMP_ACT_LOG", ["request_key"])], True),
        ("SCMP_ACT_KILL", [("SCMP_ACT_ERRNO", ["add_key"])], False),
        ("SCMP_ACT_ALLOW", [("SCMP_ACT_ERRNO", ["keyctl", "add_key", "request_key"])], True),
        ("SCMP_ACT_LOG", [], True),
    ],
)
def test_a_keyring_of_its_own_where_no_filter_keeps_the_callers_out(
    action: str, rules: list[tuple[str, list[str]]], own: bool
) -> None:
    seccomp = Seccomp(default_action=action, syscalls=[Syscall(names=names, action=rule) for rule, names in rules])

    assert keeps_keyrings_out(seccomp) != own


def test_equal_specs_give_equal_plans() -> None:
    assert lowered() == lowered()


def test_what_is_written_is_what_is_read() -> None:
    assert decode(encode(spec())) == spec()


def test_without_no_new_privileges_the_filter_comes_while_it_may() -> None:
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}
    names = [type(step.op).__name__ for step in lowered({"linux.seccomp": seccomp, "process.noNewPrivileges": False})]
    usual = [type(step.op).__name__ for step in lowered({"linux.seccomp": seccomp})]

    assert names.index("SeccompFilter") < names.index("Credentials")
    assert usual.index("SeccompFilter") == len(usual) - 1


def test_symlinks_are_made_where_they_stay() -> None:
    changes = {
        "annotations": {"dev.sandbox.root": "fresh", "dev.sandbox.symlinks": '{"/bin": "usr/bin", "/data/link": "x"}'}
    }
    words = [describe(step.op) for step in lowered(changes)]
    link, bind = (
        words.index("make /data/link a symlink to x"),
        words.index("bind /srv/data onto /data (read-only, nodev)"),
    )

    assert words.index("make /bin a symlink to usr/bin") < bind < link


@pytest.mark.parametrize("filtered, flags", [(True, Flag.MAY_FAIL), (False, 0)])
def test_nesting_is_refused_by_the_kernel_too(filtered: bool, flags: int) -> None:
    changes: dict[str, Any] = {"annotations": {"dev.sandbox.nested": "false"}}
    if filtered:
        changes["linux.seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO"}
    (step,) = [step for step in lowered(changes) if isinstance(step.op, Sysctl)]

    assert (step.op.path, step.op.value, step.flags) == ("user/max_user_namespaces", "0", flags)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "hooks": ({"hooks": {"prestart": [{"path": "/x"}]}}, "hooks"),
    "a joined namespace": (
        {"linux.namespaces": [{"type": "user", "path": "/proc/1/ns/user"}]},
        r"linux.namespaces\[0\]",
    ),
    "an unknown namespace": ({"linux.namespaces": [{"type": "moon"}]}, "moon"),
    "no mount namespace": ({"linux.namespaces": [{"type": "user"}]}, "mount namespace"),
    "no id map": ({"linux.uidMappings": []}, "linux.uidMappings"),
    "an unmapped id": ({"process.user": {"uid": 7, "gid": 7}}, "uid 7 is not mapped"),
    "groups of a single id": (
        {"process.user": {"uid": 1000, "gid": 1000, "additionalGids": [5]}},
        "supplementary groups",
    ),
    "an unknown capability": ({"process.capabilities": {"bounding": ["CAP_FLY"]}}, "CAP_FLY"),
    "an unknown limit": ({"process.rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}, "RLIMIT_X"),
    "a sysctl of the host": ({"linux.sysctl": {"kernel.core_pattern": "|x"}}, "kernel.core_pattern"),
    "a sysctl that climbs": ({"linux.sysctl": {"net/../kernel/core_pattern": "|x"}}, "not the name of a sysctl"),
    "an option of a bind that is none": (
        {"mounts": [{"destination": "/x", "type": "bind", "source": "/x", "options": ["size=1"]}]},
        "size=1",
    ),
    "an id-mapped mount": (
        {"mounts": [{"destination": "/x", "type": "bind", "source": "/x", "options": ["idmap"]}]},
        "idmap",
    ),
    "a mount without a type": ({"mounts": [{"destination": "/x", "source": "/x"}]}, "needs a type"),
    "a device": ({"linux.devices": [{"type": "c", "path": "/dev/fuse"}]}, "linux.devices"),
    "a cgroup path": ({"linux.cgroupsPath": "/x"}, "linux.cgroupsPath"),
    "real-time scheduling": ({"process.scheduler": {"policy": "SCHED_FIFO"}}, "SCHED_OTHER"),
    "a listener": (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}},
        "notifies a listener",
    ),
    "block devices' limits": ({"linux.resources": {"blockIO": {"weight": 5}}}, "resources"),
}


@pytest.mark.parametrize("changes, names", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_in_force_is_refused_by_name(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(SpecError, match=names):
        lowered(changes)


def test_an_unknown_member_is_refused_with_its_place() -> None:
    with pytest.raises(SpecError, match=r"config.json: rot: is no property"):
        decode(b'{"rot": {}}')


def test_a_range_without_newuidmap_says_what_to_install() -> None:
    bare = HOST.replace(newuidmap="", newgidmap="")
    rows = [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100000, "size": 10}]
    with pytest.raises(HostError) as caught:
        lowered({"linux.uidMappings": rows, "process.user": {"uid": 0, "gid": 1000}}, bare)

    assert caught.value.hint == install("newuidmap")


DELEGATED = HOST.replace(
    cgroup="/job/main",
    cgroup_root="/cg",
    cgroup_top="/cg/job",
    controllers=("memory", "hugetlb"),
    offered=("memory", "hugetlb"),
    unmanaged=True,
    enabled=("memory",),
    files=frozenset({"memory.max"}),
)
LIMITED: dict[str, Any] = {"linux.resources": {"memory": {"limit": 1 << 30}, "pids": {"limit": 9}}}


def test_a_limit_is_a_cgroup_beside_ours() -> None:
    words = text(lowered({"linux.resources": {"memory": {"limit": 1 << 30}}}, DELEGATED))

    assert (
        "make the cgroup /cg/job/sandbox-ID, with memory.max=1073741824  < config.json: linux.resources.memory.limit"
        in words
    )
    assert "is not in force" not in words


def test_what_is_met_is_in_force_beside_what_is_not() -> None:
    words = text(lowered(LIMITED, DELEGATED))

    assert "with memory.max=1073741824  <" in words
    assert "warning: config.json: linux.resources.pids.limit: is not in force: the controller pids is not" in words


@pytest.mark.parametrize(
    "changes",
    [{"unmanaged": False}, {"cgroup": ""}, {"cgroup_root": ""}, {"cgroup_top": ""}],
    ids=lambda changes: next(iter(changes)),
)
def test_where_none_can_be_made_each_limit_is_said(changes: dict[str, Any]) -> None:
    words = text(lowered(LIMITED, DELEGATED.replace(**changes)))

    assert words.count(": is not in force: there is no cgroup for it") == 2
    assert words.count("  hint: ") == 1
    assert "make the cgroup" not in words


def test_a_file_that_this_kernel_has_not_is_said() -> None:
    changes = {"linux.resources": {"unified": {"memory.high": "1", "memory.max": "2"}}}
    words = text(lowered(changes, DELEGATED))

    assert "linux.resources.unified.memory.high: is not in force: this kernel has no memory.high" in words
    assert "with memory.max=2  <" in words


def test_strict_refuses_what_is_not_in_force() -> None:
    with pytest.raises(SpecError, match=r"annotations.strict: not in force: .*\.pids\.limit$") as caught:
        lowered({**LIMITED, "annotations": {"dev.sandbox.strict": "true"}}, DELEGATED)

    assert caught.value.hint


@pytest.mark.parametrize("name", ["report", "reportPage"])
def test_a_report_counts_what_can_be_counted(name: str) -> None:
    report = {"annotations": {f"dev.sandbox.{name}": "/r.json"}}
    (step,) = (step for step in lowered(report, DELEGATED) if isinstance(step.op, Cgroup))

    assert step.origin == f"config.json: annotations.{name}"
    assert (step.op.controllers, step.op.settings) == (("memory",), ())
    assert not [step for step in lowered({}, DELEGATED) if isinstance(step.op, Cgroup)]


@pytest.mark.parametrize(
    "files, written",
    [
        ({"io.weight"}, "io.weight=20"),
        ({"io.bfq.weight"}, "io.bfq.weight=20"),
        ({"io.bfq.weight", "io.weight"}, "io.weight=20"),
    ],
)
def test_the_weight_of_the_disks_is_their_schedulers_where_there_is_no_other(files: set[str], written: str) -> None:
    host = DELEGATED.replace(controllers=("io",), offered=("io",), enabled=("io",), files=frozenset(files))
    words = text(lowered({"linux.resources": {"unified": {"io.weight": "20"}}}, host))

    assert f"with {written}  <" in words


def test_the_schedulers_weight_goes_to_1000() -> None:
    files = frozenset({"io.bfq.weight"})
    host = DELEGATED.replace(controllers=("io",), offered=("io",), enabled=("io",), files=files)

    assert "io.bfq.weight=1000" in text(lowered({"linux.resources": {"unified": {"io.weight": "10000"}}}, host))
