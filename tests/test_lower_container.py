"""Lowering of a bundle's container: what it comes to, as text (tests/golden), and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sandbox.errors import HostError, SpecError
from sandbox.kernel.paths import Node, is_bind
from sandbox.kernel.probe.cgroup import why_missing
from sandbox.kernel.probe.distribution import install
from sandbox.lower.container import lower, lower_process
from sandbox.lower.host import Call, Host, Origins
from sandbox.plan.encode import Plan, decode, encode
from sandbox.plan.ops import (
    BindMount,
    BindRoot,
    Cgroup,
    ChangeMount,
    Container,
    Credentials,
    Environment,
    Flag,
    Isolate,
    JoinNamespace,
    Listener,
    LoopbackUp,
    MapIds,
    NewMount,
    Notice,
    NotifySocket,
    Op,
    SeccompFilter,
    SetLabel,
    SetMemoryPolicy,
    SetRlimit,
    SetUmask,
    Step,
    TimeNamespace,
    WorkingDirectory,
)
from sandbox.plan.words import describe
from sandbox.spec import quick
from sandbox.spec.check import check
from sandbox.spec.runtime import Process, Spec

OpType = TypeVar("OpType", bound=Op)
GOLDEN = Path(__file__).parent / "golden"
MANY = tuple("cpu cpuset hugetlb io memory pids rdma".split())
DISK = Node("b", 8, 0, mode=0o660, uid=65534, gid=65534)
FUSE = Node("c", 10, 229, mode=0o666, uid=65534, gid=65534)

USER = Host(
    uid=1000,
    gid=1000,
    state_dir="/run/user/1000/sandbox",
    newuidmap="/usr/bin/newuidmap",
    newgidmap="/usr/bin/newgidmap",
    bundle="/b",
    uid_map=((0, 0, 4294967295),),
    gid_map=((0, 0, 4294967295),),
    cgroup="/team/shell",
    cgroup_root="/sys/fs/cgroup",
    cgroup_top="/sys/fs/cgroup/team",
    controllers=MANY,
    devices={("c", 10, 229): "/dev/fuse", ("b", 8, 0): "/dev/sda"},
    nodes={"/dev/fuse": FUSE, "/dev/sda": DISK},
)
# As podman is: root of a user namespace that it has made.
PODMAN = USER.replace(
    uid=0,
    gid=0,
    capabilities=(1 << 41) - 1,
    uid_map=((0, 1000, 1), (1, 100000, 65536)),
    gid_map=((0, 1000, 1), (1, 100000, 65536)),
)
BASE: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
    "linux": {
        "namespaces": [{"type": kind} for kind in ("user", "mount", "pid", "ipc", "uts", "network", "cgroup")],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    },
}
RANGE = [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100000, "size": 65536}]
RANGES = {"linux.uidMappings": RANGE, "linux.gidMappings": RANGE}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return BASE with members replaced, or left out (None); a dotted name goes down."""
    document: dict[str, Any] = json.loads(json.dumps(BASE))
    for name, value in changes.items():
        table = document
        *path, last = name.split(".")
        for part in path:
            table = table.setdefault(part, {})
        table[last] = value
        if value is None:
            del table[last]
    return document


def read(document: dict[str, Any]) -> Spec:
    spec = quick.spec(json.dumps(document).encode())
    assert spec is not None, "the quick reader takes what is well-formed"
    check(spec)
    return spec


def seen(spec: Spec, host: Host) -> Host:
    """Return `host` with the bundle's relative paths below /b, and all of them there."""
    assert spec.root is not None
    paths = [spec.root.path, *(mount.source for mount in spec.mounts if is_bind(mount.type, mount.options))]
    return host.replace(sources={path: path if path.startswith("/") else f"/b/{path}" for path in paths})


def lowered(changes: dict[str, Any] | None = None, host: Host = USER, call: Call | None = None) -> tuple[Step, ...]:
    spec = read(changed(changes or {}))
    return lower(spec, seen(spec, host) if not host.sources else host, Origins(), call or Call())


def only(kind: type[OpType], steps: tuple[Step, ...]) -> OpType:
    (found,) = [step.op for step in steps if isinstance(step.op, kind)]
    return found


def kinds(steps: tuple[Step, ...]) -> list[str]:
    return [type(step.op).__name__ for step in steps]


MARKS = {
    Flag.IF_PRESENT: "if present: ",
    Flag.MAY_FAIL: "try: ",
    Flag.OTHERWISE: "otherwise: ",
    Flag.OTHERWISE | Flag.IF_PRESENT: "otherwise, if present: ",
    Flag.UNLESS_PRESENT: "unless present: ",
    Flag.JOINED: "who joins: ",
}


def text(steps: tuple[Step, ...]) -> str:
    lines = [f"{MARKS.get(step.flags, '')}{describe(step.op)}  < {step.origin}" for step in steps]
    return "\n".join(line.replace("\n", "\\n") for line in lines) + "\n"


def golden(name: str, steps: tuple[Step, ...]) -> str:
    """Return what is written down; with WRITE_GOLDEN in the environment it is written first, to be read."""
    path = GOLDEN / f"{name}.plan"
    if "WRITE_GOLDEN" in os.environ:
        path.write_text(text(steps))
    return path.read_text()


@pytest.mark.parametrize("name, host", [("podman", PODMAN), ("runc-spec", USER), ("everything", USER)])
def test_the_plan_of_a_whole_config(name: str, host: Host) -> None:
    spec = read(json.loads((GOLDEN / f"{name}.json").read_text()))
    steps = lower(spec, seen(spec, host), Origins(), Call())

    assert text(steps) == golden(name, steps)
    assert decode(encode(Plan(b"key", (), steps))).steps == steps
    assert lower(spec, seen(spec, host), Origins(), Call()) == steps


# --- namespaces and ids ---


def test_without_a_user_namespace_a_container_is_roots_of_the_present_one() -> None:
    bare = {"linux.namespaces": [{"type": "mount"}], "linux.uidMappings": None, "linux.gidMappings": None}
    steps = lowered(bare, PODMAN)

    assert only(Isolate, steps).flags == 0x00020000
    assert not [step for step in steps if isinstance(step.op, MapIds)]
    assert only(Container, steps).namespaces == 0x00020000
    assert only(Credentials, steps).set_groups == 1
    with pytest.raises(SpecError, match="CAP_SYS_ADMIN"):
        lowered(bare)


def test_what_is_joined_is_joined_in_an_order_that_gives_the_rights() -> None:
    paths = [{"type": kind, "path": f"/ns/{kind}"} for kind in ("mount", "time", "network", "pid", "ipc", "user")]
    steps = lowered({"linux.namespaces": paths, "linux.uidMappings": None, "linux.gidMappings": None})
    joined = [step.op.path.rpartition("/")[2] for step in steps if isinstance(step.op, JoinNamespace)]

    assert joined == ["user", "ipc", "network", "pid", "time", "mount"]
    assert only(Isolate, steps).flags == 0
    assert only(Credentials, steps).set_groups == 2  # whoever made the user namespace may have denied it
    assert not [step for step in steps if isinstance(step.op, (LoopbackUp, TimeNamespace))]


def test_a_namespace_of_our_own_is_not_joined() -> None:
    namespaces = [*BASE["linux"]["namespaces"][:-2], {"type": "network", "path": "/proc/self/ns/net"}]
    host = USER.replace(own_namespaces=frozenset(["/proc/self/ns/net"]))
    steps = lowered({"linux.namespaces": namespaces}, host)

    assert not [step for step in steps if isinstance(step.op, JoinNamespace)]
    assert not only(Container, steps).namespaces & 0x40000000
    with pytest.raises(SpecError, match="network namespace is the host's"):
        lowered({"linux.namespaces": namespaces, "linux.sysctl": {"net.core.somaxconn": "1"}}, host)


MAPS: dict[str, tuple[dict[str, Any], Host, dict[str, Any]]] = {
    "one's own": ({}, USER, {"uid_helper": "", "by_monitor": 0, "become_root": 0}),
    "a range": (RANGES, USER, {"uid_helper": "/usr/bin/newuidmap", "by_monitor": 0, "become_root": 1}),
    "as root of a namespace": (
        {
            "linux.uidMappings": [{"containerID": 0, "hostID": 1, "size": 9}],
            "linux.gidMappings": [{"containerID": 0, "hostID": 1, "size": 9}],
        },
        PODMAN,
        {"uid_helper": "", "by_monitor": 1, "become_root": 1, "uid_map": "0 1 9\n"},
    ),
    "without an id 0": (
        {
            "linux.uidMappings": [{"containerID": 5, "hostID": 0, "size": 1}],
            "linux.gidMappings": [{"containerID": 5, "hostID": 0, "size": 1}],
            "process.user": {"uid": 5, "gid": 5},
        },
        PODMAN,
        {"by_monitor": 1, "become_root": 0},
    ),
}


@pytest.mark.parametrize("changes, host, members", MAPS.values(), ids=MAPS.keys())
def test_who_fills_the_id_maps(changes: dict[str, Any], host: Host, members: dict[str, Any]) -> None:
    values = only(MapIds, lowered(changes, host)).values()

    assert {name: values[name] for name in members} == members


def test_maps_beside_a_namespace_that_has_its_own_are_said_not_to_be_in_force() -> None:
    namespaces = [{"type": "user", "path": "/ns/user"}, *BASE["linux"]["namespaces"][1:]]
    steps = lowered({"linux.namespaces": namespaces})

    assert "has maps of its own" in only(Notice, steps).text
    assert not [step for step in steps if isinstance(step.op, MapIds)]


# --- files ---


def mounted(options: list[str], *, kind: str = "tmpfs", source: str = "/src", host: Host = USER) -> Op:
    changes = {"mounts": [{"destination": "/m", "type": kind, "source": source, "options": options}]}
    return next(step.op for step in lowered(changes, host) if getattr(step.op, "target", "") == "/m")


RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, STRICTATIME, ATIME, NODIRATIME, NOSYMFOLLOW = (
    1,
    2,
    4,
    8,
    0x10,
    0x20,
    0x70,
    0x80,
    0x200000,
)
PRIVATE, SLAVE, SHARED, UNBINDABLE = 1 << 18, 1 << 19, 1 << 20, 1 << 17
BINDS: dict[str, dict[str, int]] = {
    "ro": {"set_attributes": RDONLY},
    "rw": {"clear_attributes": RDONLY},
    "ro rw": {"clear_attributes": RDONLY},
    "rw ro": {"set_attributes": RDONLY},
    "rro": {"set_recursive": RDONLY},
    "rrw": {"clear_recursive": RDONLY},
    "rro rw": {"set_recursive": RDONLY},
    "ro rrw noexec": {"clear_recursive": RDONLY, "set_attributes": NOEXEC},
    "rro rrw": {"clear_recursive": RDONLY},
    "nosuid nodev noexec": {"set_attributes": NOSUID | NODEV | NOEXEC},
    "suid dev exec": {"clear_attributes": NOSUID | NODEV | NOEXEC},
    "rnosuid rnodev rnoexec": {"set_recursive": NOSUID | NODEV | NOEXEC},
    "rsuid rdev rexec": {"clear_recursive": NOSUID | NODEV | NOEXEC},
    "noatime": {"set_attributes": NOATIME, "clear_attributes": ATIME},
    "atime": {"clear_attributes": ATIME},
    "relatime": {"clear_attributes": ATIME},
    "norelatime": {},
    "strictatime noatime": {"set_attributes": NOATIME, "clear_attributes": ATIME},
    "rstrictatime": {"set_recursive": STRICTATIME, "clear_recursive": ATIME},
    "nodiratime diratime": {"clear_attributes": NODIRATIME},
    "rnosymfollow": {"set_recursive": NOSYMFOLLOW},
    "rslave": {"propagation": SLAVE},
    "private rshared": {"propagation": SHARED},
    "runbindable": {"propagation": UNBINDABLE},
    "defaults async loud silent nomand noiversion nolazytime": {},
}


@pytest.mark.parametrize("options, members", BINDS.items(), ids=BINDS.keys())
def test_the_options_of_a_bind_mount(options: str, members: dict[str, int]) -> None:
    expected = BindMount(**{"source": "/src", "target": "/m", "propagation": PRIVATE} | members)

    assert mounted(["rbind", *options.split()], kind="none") == expected
    assert mounted(["bind", *options.split()], kind="none") == BindMount(**expected.values() | {"recursive": 0})


@pytest.mark.parametrize("word, bit", [("shared", SHARED), ("unbindable", UNBINDABLE)])
def test_propagation_of_the_top_of_a_tree(word: str, bit: int) -> None:
    mounts = [{"destination": "/m", "source": "/src", "options": ["rbind", word]}]
    first, second = (step.op for step in lowered({"mounts": mounts}) if getattr(step.op, "target", "") == "/m")

    assert (first.values()["propagation"], second) == (PRIVATE, ChangeMount(target="/m", propagation=bit))


def test_the_options_of_a_new_file_system() -> None:
    words = "rnosuid strictatime sync lazytime mode=700 size=1m rslave tmpcopyup rw"

    assert mounted(words.split(), source="tmpfs") == NewMount(
        fstype="tmpfs",
        target="/m",
        options=("source=tmpfs", "sync", "lazytime", "mode=700", "size=1m"),
        attributes=NOSUID | STRICTATIME,
        propagation=SLAVE,
        take_mode=1,
        copy_up=1,
    )


def test_a_remount_changes_what_it_names() -> None:
    assert mounted(["remount", "bind", "ro", "rexec", "rprivate"]) == ChangeMount(
        target="/m", set_attributes=RDONLY, clear_recursive=NOEXEC, propagation=PRIVATE, propagation_recursive=1
    )


def test_read_only_cgroups_are_read_only_all_the_way_down() -> None:
    """runc CVE-2023-25809"""
    for source in ("/", "/sys", "/sys/fs/cgroup", "/sys/fs/cgroup/team"):
        operation = mounted(["rbind", "ro"], kind="none", source=source)
        assert isinstance(operation, BindMount)
        assert operation.set_recursive == RDONLY


def test_the_host_s_hierarchy_is_shown_where_there_is_no_cgroup_namespace() -> None:
    mounts = [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}]
    namespaces = BASE["linux"]["namespaces"][:-1]
    steps = [
        step
        for step in lowered({"mounts": mounts, "linux.namespaces": namespaces})
        if getattr(step.op, "target", "").startswith("/sys")
    ]

    assert [step.flags for step in steps] == [Flag.MAY_FAIL, Flag.OTHERWISE]
    assert isinstance(steps[1].op, BindMount)
    assert (steps[1].op.source, steps[1].op.set_recursive) == ("/sys/fs/cgroup", RDONLY)


def test_processes_of_the_host_s_namespace_are_shown_by_the_host_s_procfs() -> None:
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]}]
    own = [step for step in lowered({"mounts": mounts}) if getattr(step.op, "target", "") == "/proc"]
    namespaces = [entry for entry in BASE["linux"]["namespaces"] if entry["type"] != "pid"]
    shared = lowered({"mounts": mounts, "linux.namespaces": namespaces})
    hosts = [step for step in shared if getattr(step.op, "target", "") == "/proc"]

    assert [step.flags for step in own] == [0]
    assert [step.flags for step in hosts] == [Flag.MAY_FAIL, Flag.OTHERWISE]


@pytest.mark.parametrize(
    "word, root, change",
    [
        ("", PRIVATE, None),
        ("private", PRIVATE, None),
        ("rslave", SLAVE, None),
        ("shared", PRIVATE, (SHARED, 0)),
        ("runbindable", PRIVATE, (UNBINDABLE, 1)),
    ],
)
def test_propagation_of_the_root(word: str, root: int, change: tuple[int, int] | None) -> None:
    steps = lowered({"linux.rootfsPropagation": word})
    changes = [step.op for step in steps if isinstance(step.op, ChangeMount)]

    assert only(BindRoot, steps).propagation == root
    assert [(op.propagation, op.propagation_recursive) for op in changes] == ([change] if change else [])


def test_devices_that_the_spec_mounts_itself_stay() -> None:
    mounts = [
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/dev/null", "type": "bind", "source": "/dev/null", "options": ["rbind", "nosuid"]},
    ]
    targets = [getattr(step.op, "target", "") for step in lowered({"mounts": mounts})]
    bound = [{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}]

    assert targets.count("/dev/null") == 1
    assert targets.index("/dev/zero") > targets.index("/dev/null")
    assert "BindDevice" not in kinds(lowered({"mounts": bound}))


def test_a_node_that_is_not_as_asked_is_said_to_be_the_host_s() -> None:
    device = {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}
    steps = lowered({"linux.devices": [{**device, "fileMode": 0o600}]})

    assert "with its owner 65534:65534 and its mode 0666" in only(Notice, steps).text
    assert "Notice" not in kinds(lowered({"linux.devices": [{**device, "fileMode": 0o20666}]}))


RULES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "all denied": ([{"allow": False, "access": "rwm"}], r"devices\[0\]: forbids devices c 10:229"),
    "this one denied": (
        [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 10, "access": "w"}],
        r"devices\[1\]",
    ),
    "only reading": (
        [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}],
        r"devices\[0\]",
    ),
    "no access": ([{"allow": True}], "no access"),
    "no type": ([{"allow": True, "access": "r", "type": "z"}], "no type"),
}


@pytest.mark.parametrize("rules, names", RULES.values(), ids=RULES.keys())
def test_device_rules_that_forbid_what_is_bound(rules: list[dict[str, Any]], names: str) -> None:
    device = {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}
    with pytest.raises(SpecError, match=names):
        lowered({"linux.devices": [device], "linux.resources": {"devices": rules}})


def test_device_rules_that_forbid_what_is_bound_by_a_mount() -> None:
    rules = [{"allow": False, "access": "rwm"}]
    mount = {"destination": "/dev/fuse", "type": "bind", "source": "/dev/fuse", "options": ["bind"]}
    hosts = {"destination": "/host", "type": "bind", "source": "/dev", "options": ["rbind"]}
    for entry, names in ((mount, r"mounts\[0\] shows at /dev/fuse"), (hosts, "does not name")):
        with pytest.raises(SpecError, match=names):
            lowered({"mounts": [entry], "linux.resources": {"devices": rules}})
    # Nothing of them: no device but the usual is within reach.
    assert lowered({"linux.resources": {"devices": rules}})
    hosts["options"] = ["rbind", "nodev"]
    assert lowered({"mounts": [hosts], "linux.resources": {"devices": rules}})


# --- the process ---


def test_a_small_limit_of_open_files_comes_when_we_are_done() -> None:
    steps = lowered({"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 99}]})
    limits = [(index, step.op) for index, step in enumerate(steps) if isinstance(step.op, SetRlimit)]
    gate = kinds(steps).index("StartGate")

    assert [(op.soft, op.hard) for _, op in limits] == [(99, 99), (3, 99)]
    assert limits[0][0] < gate < limits[1][0]


def test_the_filter_comes_last_or_while_it_may() -> None:
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}
    early = kinds(lowered({"linux.seccomp": seccomp}))
    late = kinds(lowered({"linux.seccomp": seccomp, "process.noNewPrivileges": True}))

    assert early.index("SeccompFilter") < early.index("Credentials")
    assert late.index("SeccompFilter") == len(late) - 1


def test_a_filter_that_notifies_has_a_listener() -> None:
    rule = {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/agent",
        "listenerMetadata": "\x01é",
        "syscalls": [rule],
    }
    steps = lowered({"linux.seccomp": {**seccomp, "flags": ["SECCOMP_FILTER_FLAG_TSYNC"]}})
    silent = lowered({"linux.seccomp": {**seccomp, "syscalls": []}})

    assert only(Listener, steps) == Listener(path="/agent", metadata='"\\u0001é"')
    assert only(SeccompFilter, steps).flags == 1 << 3
    assert "Listener" not in kinds(silent)  # "if the SCMP_ACT_NOTIFY action is not used this value is ignored"


def test_the_umask_of_a_container_is_not_the_caller_s() -> None:
    assert only(SetUmask, lowered()).mask == 0o022
    assert only(SetUmask, lowered({"process.user.umask": 0o77})).mask == 0o77


def test_labels_where_the_module_is_enabled() -> None:
    changes = {"process.apparmorProfile": "box"}

    assert only(SetLabel, lowered(changes, USER.replace(apparmor=True))) == SetLabel(kind=0, value="box")
    assert "SetLabel" not in kinds(lowered({"process.apparmorProfile": "unconfined"}))
    label = {
        "process.selinuxLabel": "a:b:c:s0",
        "linux.mountLabel": "a:b:d:s0",
        "mounts": [{"destination": "/m", "type": "tmpfs", "source": "tmpfs"}],
    }
    steps = lowered(label, USER.replace(selinux=True))
    assert only(SetLabel, steps) == SetLabel(kind=1, value="a:b:c:s0")
    assert only(NewMount, steps).options == ("source=tmpfs", "context=a:b:d:s0")


def test_memory_policies_and_lists_of_numbers() -> None:
    policy = {"mode": "MPOL_INTERLEAVE", "nodes": "0-1, 64", "flags": ["MPOL_F_RELATIVE_NODES"]}
    operation = only(SetMemoryPolicy, lowered({"linux.memoryPolicy": policy}))

    assert operation.mode == 3 | 1 << 14
    assert operation.nodes == (0b11).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert only(SetMemoryPolicy, lowered({"linux.memoryPolicy": {"mode": "MPOL_LOCAL"}})).nodes == b""


def test_groups_that_the_caller_has_may_be_kept() -> None:
    """crun's annotation, podman's --group-add keep-groups"""
    steps = lowered({**RANGES, "annotations": {"run.oci.keep_original_groups": "1"}})

    assert only(Credentials, steps).set_groups == 0
    assert only(Credentials, lowered(RANGES)).set_groups == 1


def test_readiness_is_passed_on_unless_the_spec_does_it() -> None:
    call = Call(notify_directory="/s/containers/x/notify", notify_host="/run/systemd/notify")
    steps = lowered(call=call)
    mount = {"destination": "/run/notify", "type": "bind", "source": "/n", "options": ["bind"]}

    assert only(NotifySocket, steps).host == "/run/systemd/notify"
    assert only(BindMount, steps).target == "/run/notify"
    assert "NOTIFY_SOCKET=/run/notify/notify.sock" in only(Environment, steps).set
    assert "NotifySocket" not in kinds(lowered({"mounts": [mount]}, call=call))


def test_without_a_keyring_of_its_own_if_so_asked() -> None:
    assert "JoinKeyring" in kinds(lowered())
    assert "JoinKeyring" not in kinds(lowered(call=Call(keyring=False)))


# --- a process that joins ---


def test_a_process_that_joins_has_what_it_does_not_say_of_the_container() -> None:
    spec = read(
        changed(
            {
                "process.capabilities": {"bounding": ["CAP_KILL"]},
                "process.rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}],
                "process.noNewPrivileges": True,
                "process.oomScoreAdj": 5,
                "process.user": {"uid": 0, "gid": 0, "umask": 0o27},
                "process.execCPUAffinity": {"final": "1"},
                "linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
            }
        )
    )
    process = Process(args=["id"], cwd="/x", env=["A=1"], oom_score_adj=0)
    steps = lower_process(spec, process, USER, Origins())
    credentials = only(Credentials, steps)

    assert (credentials.bounding, credentials.no_new_privileges) == (1 << 5, 1)
    assert only(SetRlimit, steps).hard == 2
    assert only(SetUmask, steps).mask == 0o27
    assert [step.op.again for step in steps if isinstance(step.op, WorkingDirectory)] == [0, 1]
    assert text(steps) == golden("process", steps)


# --- cgroups ---

PLACES = {
    "": ("/sys/fs/cgroup/team", ""),
    "name": ("/sys/fs/cgroup/team", "name"),
    "a/b": ("/sys/fs/cgroup/team/a", "b"),
    "/team/x/y": ("/sys/fs/cgroup/team/x", "y"),
    "../../team/z": ("/sys/fs/cgroup/team/team", "z"),  # a path of ours does not climb
    "/team/x/../y": ("/sys/fs/cgroup/team", "y"),
}


@pytest.mark.parametrize("path, place", PLACES.items(), ids=[path or "none" for path in PLACES])
def test_where_the_cgroup_is(path: str, place: tuple[str, str]) -> None:
    operation = only(Cgroup, lowered({"linux.cgroupsPath": path}))

    assert (operation.parent, operation.name) == place
    assert operation.top == "/sys/fs/cgroup/team"


@pytest.mark.parametrize("changes", [{}, {"cgroup_top": ""}, {"cgroup_root": ""}, {"cgroup": ""}])
def test_where_none_can_be_had_there_is_none_if_nothing_depends_on_it(changes: dict[str, str]) -> None:
    host = USER.replace(**changes)

    for path in ("", "name"):
        assert ("Cgroup" in kinds(lowered({"linux.cgroupsPath": path}, host))) is not changes
    if changes:
        with pytest.raises(SpecError, match="cgroup"):
            lowered({"linux.cgroupsPath": "/team/x"}, host)
        with pytest.raises(SpecError, match=r"linux\.resources\.pids\.limit"):
            lowered({"linux.resources": {"pids": {"limit": 5}}}, host)


def test_a_controller_that_is_not_ours_is_named_with_what_asked_for_it() -> None:
    with pytest.raises(SpecError, match=r"linux\.resources\.memory\.limit: the controller memory") as caught:
        lowered({"linux.resources": {"memory": {"limit": 5}}}, USER.replace(controllers=("pids",)))

    found = why_missing(USER.cgroup_top, ["memory"])
    assert (caught.value.cause, caught.value.hint) == (found.why, found.cure)


def test_an_unknown_capability_is_left_out_with_a_warning() -> None:
    steps = lowered({"process.capabilities": {"bounding": ["CAP_FLY", "CAP_CHOWN"]}})

    assert only(Credentials, steps).bounding == 1
    assert only(Notice, steps).text == (
        'config.json: process.capabilities.bounding: unknown capability "CAP_FLY", which is not given'
    )


# --- refusals ---

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no mount namespace": ({"linux.namespaces": [{"type": "user"}]}, r"linux\.namespaces: without a mount namespace"),
    "an unmapped uid": ({"process.user": {"uid": 7, "gid": 0}}, r"process\.user: uid 7 is not mapped"),
    "an unmapped gid": ({"process.user": {"uid": 0, "gid": 7}}, "gid 7 is not mapped"),
    "an unmapped group": ({**RANGES, "process.user": {"uid": 0, "gid": 0, "additionalGids": [99999]}}, "gid 99999"),
    "groups of a single id": ({"process.user": {"uid": 0, "gid": 0, "additionalGids": [0]}}, r"setgroups\(2\)"),
    "a capability that is not permitted": (
        {"process.capabilities": {"effective": ["CAP_KILL"]}},
        r"process\.capabilities\.effective: CAP_KILL is not among permitted",
    ),
    "an inheritable one that is not bounding": (
        {"process.capabilities": {"inheritable": ["CAP_KILL"]}},
        "CAP_KILL is not among bounding",
    ),
    "an unknown limit": ({"process.rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}, "RLIMIT_X"),
    "a limit twice": (
        {"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}, {"type": "CORE", "soft": 1, "hard": 1}]},
        r"rlimits\[1\]: CORE is there twice",
    ),
    "an oom score": ({"process.oomScoreAdj": 5000}, r"process\.oomScoreAdj"),
    "a umask": ({"process.user": {"uid": 0, "gid": 0, "umask": 4096}}, r"process\.user\.umask"),
    "a scheduling policy": ({"process.scheduler": {"policy": "SCHED_ISO"}}, r"process\.scheduler\.policy"),
    "a scheduling flag": (
        {"process.scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}},
        r"process\.scheduler\.flags\[0\]",
    ),
    "processors": ({"process.execCPUAffinity": {"initial": "x"}}, r"process\.execCPUAffinity\.initial"),
    "AppArmor": ({"process.apparmorProfile": "box"}, r"process\.apparmorProfile: AppArmor is not enabled"),
    "SELinux": ({"process.selinuxLabel": "a:b"}, r"process\.selinuxLabel: SELinux is not enabled"),
    "a mount's label": ({"linux.mountLabel": "a:b"}, r"linux\.mountLabel: SELinux"),
    "Intel RDT": ({"linux.intelRdt": {"closID": "x"}}, r"linux\.intelRdt: .*root's alone"),
    "network devices": ({"linux.netDevices": {"eth0": {}}}, r"linux\.netDevices"),
    "a personality": ({"linux.personality": {"domain": "BSD"}}, r"linux\.personality\.domain"),
    "a memory mode": ({"linux.memoryPolicy": {"mode": "MPOL_X", "nodes": "0"}}, r"linux\.memoryPolicy\.mode"),
    "memory without nodes": ({"linux.memoryPolicy": {"mode": "MPOL_BIND"}}, r"linux\.memoryPolicy\.nodes"),
    "nodes that no mode has": ({"linux.memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0"}}, "no nodes"),
    "a memory flag": (
        {"linux.memoryPolicy": {"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}},
        r"linux\.memoryPolicy\.flags",
    ),
    "two memory flags": (
        {
            "linux.memoryPolicy": {
                "mode": "MPOL_BIND",
                "nodes": "0",
                "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
            }
        },
        "relative or static",
    ),
    "the root's propagation": ({"linux.rootfsPropagation": "rfoo"}, r"linux\.rootfsPropagation"),
    "offsets of a namespace that is joined": (
        {
            "linux.namespaces": [*BASE["linux"]["namespaces"], {"type": "time", "path": "/ns/time"}],
            "linux.timeOffsets": {"monotonic": {"secs": 1}},
        },
        r"linux\.timeOffsets",
    ),
    "a sysctl of the host": ({"linux.sysctl": {"vm.swappiness": "1"}}, r"linux\.sysctl\.vm\.swappiness"),
    "a kernel sysctl of the host": ({"linux.sysctl": {"kernel.shmall2": "1"}}, "not a sysctl of"),
    "a sysctl that climbs": ({"linux.sysctl": {"net/../kernel/panic": "1"}}, "not the name of a sysctl"),
    "two host names": ({"hostname": "a", "linux.sysctl": {"kernel.hostname": "b"}}, "kernel.hostname: is not the"),
    "no node": (
        {"linux.devices": [{"type": "c", "path": "/dev/x", "major": 99, "minor": 1}]},
        r"linux\.devices\[0\]: /dev/x: the host has no node",
    ),
    "a systemd unit": (
        {"linux.cgroupsPath": "user.slice:box:1"},
        r"linux\.cgroupsPath: .* with --systemd-cgroup alone",
    ),
    "the root cgroup": ({"linux.cgroupsPath": "/"}, r"linux\.cgroupsPath: is the root"),
    "another's cgroup": ({"linux.cgroupsPath": "/others/x"}, "/sys/fs/cgroup/others is not yours"),
    "metadata without a listener": (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}},
        r"listenerMetadata",
    ),
    "notifications without a listener": (
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}],
            }
        },
        r"linux\.seccomp\.listenerPath: is missing",
    ),
    "a flag for notifications alone": (
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            }
        },
        r"linux\.seccomp\.flags",
    ),
    "an action": ({"linux.seccomp": {"defaultAction": "SCMP_ACT_X"}}, r"config\.json: linux\.seccomp\.defaultAction"),
}
MOUNTS_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({"source": "/x"}, "needs a type"),
    "none": ({"type": "none", "source": "/x", "options": ["ro"]}, "needs a type"),
    "no source": ({"type": "bind", "options": ["bind"]}, "needs a source"),
    "an option of a bind that is none": (
        {"type": "bind", "source": "/x", "options": ["size=1"]},
        '"size=1" is none of',
    ),
    "sync of a bind": ({"type": "bind", "source": "/x", "options": ["sync"]}, '"sync" is of the file system'),
    "an option of a remount": ({"options": ["remount", "size=1"]}, "size=1"),
    "ids of a remount": ({"options": ["remount", "idmap"]}, "id-mapped"),
    "a copy of a bind": ({"type": "bind", "source": "/x", "options": ["tmpcopyup"]}, "tmpcopyup is for a tmpfs"),
    "a copy of another": ({"type": "mqueue", "source": "x", "options": ["tmpcopyup"]}, "tmpcopyup is for a tmpfs"),
    "a group that is not mapped": ({"type": "devpts", "source": "d", "options": ["gid=5"]}, "gid 5 is not mapped"),
    "a label": ({"type": "tmpfs", "source": "t", "options": ['context="x"']}, "needs SELinux"),
    "the root": ({"destination": "/..", "type": "tmpfs", "source": "t"}, "the root itself"),
}


@pytest.mark.parametrize("changes, names", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_in_force_is_refused_by_name(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(SpecError, match=names):
        lowered(changes)


@pytest.mark.parametrize("mount, names", MOUNTS_REFUSED.values(), ids=MOUNTS_REFUSED.keys())
def test_a_mount_that_cannot_be_had_is_refused_by_its_place(mount: dict[str, Any], names: str) -> None:
    with pytest.raises(SpecError, match=rf"config\.json: mounts\[0\]: .*{names}"):
        lowered({"mounts": [{"destination": "/m", **mount}]})


def test_what_is_not_there_is_named_with_the_place_that_asked() -> None:
    mount = {"destination": "/m", "type": "bind", "source": "data", "options": ["bind"]}
    host = USER.replace(sources={"rootfs": "/b/rootfs"}, absent={"data": "permission denied"})
    with pytest.raises(SpecError, match=r"config\.json: mounts\[0\]: data: permission denied"):
        lowered({"mounts": [mount]}, host)
    with pytest.raises(SpecError, match=r"config\.json: root\.path: rootfs: no such file or directory"):
        lowered({}, USER.replace(sources={"/": "/"}))


def test_an_id_mapped_mount_needs_maps() -> None:
    mount = {"destination": "/m", "type": "bind", "source": "/x", "options": ["idmap"]}
    bare = {"linux.namespaces": [{"type": "mount"}], "linux.uidMappings": None, "linux.gidMappings": None}
    with pytest.raises(SpecError, match="needs uidMappings"):
        lowered({**bare, "mounts": [mount]}, PODMAN)


def test_what_we_have_not_ourselves_nobody_gets() -> None:
    bare = {"linux.namespaces": [{"type": "mount"}], "linux.uidMappings": None, "linux.gidMappings": None}
    capabilities = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]}
    with pytest.raises(SpecError, match="CAP_KILL is not among those that we hold"):
        lowered({**bare, "process.capabilities": capabilities}, PODMAN.replace(capabilities=1 << 21))
    maps = {"linux.uidMappings": [{"containerID": 0, "hostID": 99999, "size": 1}]}
    with pytest.raises(SpecError, match=r"uidMappings\[0\]: 99999 and 1 uids from there are not ours"):
        lowered({**maps, "linux.gidMappings": RANGE}, PODMAN)


def test_a_range_without_newuidmap_says_what_to_install() -> None:
    with pytest.raises(HostError) as caught:
        lowered(RANGES, USER.replace(newuidmap="", newgidmap=""))

    assert caught.value.hint == install("newuidmap")
