"""What a container's spec says is in force: each property by its effect, seen from inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import BINARY
from needs import needs

pytestmark = needs("userns", "sandbox_oci")

APPLETS = "cat echo grep hostname id ls mkdir mount pwd sh sleep stat touch tty umask uname wc".split()
# A container's cgroup is named after it, and two workers of the tests are in one cgroup.
NAME = f"box-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}


class Bundle:
    """A bundle with busybox in it, run with changes to its config."""

    def __init__(self, place: Path) -> None:
        self.path = place / "bundle"
        self.state = place / "state"
        self.rootfs = self.path / "rootfs"
        (self.rootfs / "bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", self.rootfs / "bin")
        for name in APPLETS:
            (self.rootfs / "bin" / name).symlink_to("busybox")
        (self.rootfs / "etc").mkdir()
        (self.rootfs / "sub/below").mkdir(parents=True)
        (self.rootfs / "etc/note").write_text("image\n")
        (self.path / "data/below").mkdir(parents=True)
        (self.path / "data/note").write_text("host\n")
        self.path.chmod(0o755)

    def config(self, script: str, changes: dict[str, Any]) -> dict[str, Any]:
        kinds = ("user", "mount", "pid", "ipc", "uts", "network", "cgroup")
        document: dict[str, Any] = {
            "ociVersion": "1.3.0",
            "root": {"path": "rootfs"},
            "process": {
                "cwd": "/",
                "args": ["sh", "-c", script],
                "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0},
            },
            "mounts": [PROC, DEV],
            "linux": {
                "namespaces": [{"type": kind} for kind in kinds],
                "uidMappings": [{"containerID": 0, "hostID": os.getuid(), "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": os.getgid(), "size": 1}],
            },
        }
        for name, value in changes.items():
            table = document
            *way, last = name.split(".")
            for part in way:
                table = table.setdefault(part, {})
            table[last] = [*table["mounts"], *value] if name == "mounts" else value
            if value is None:
                del table[last]
        return document

    def __call__(
        self, script: str, changes: dict[str, Any], *, within: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        document = json.dumps(self.config(script, changes)).replace("$BUNDLE", str(self.path))
        (self.path / "config.json").write_text(document)
        program = str(BINARY.with_name("sandbox-oci"))
        return subprocess.run(
            [*within, program, "--root", str(self.state), "run", "--bundle", str(self.path), NAME],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def bind(*options: str, source: str = "data") -> dict[str, Any]:
    return {"mounts": [{"destination": "/m", "source": source, "options": list(options)}]}


def tmpfs(*options: str, target: str = "/m") -> dict[str, Any]:
    return {"mounts": [{"destination": target, "type": "tmpfs", "source": "tmpfs", "options": list(options)}]}


FLAGS = "grep ' /m ' /proc/self/mountinfo | while read a b c d e flags rest; do echo $flags; done"
STATUS = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | while read a b; do echo $b; done"
EVERY_NAMESPACE = [{"type": kind} for kind in ("user", "mount", "pid", "ipc", "uts", "network", "cgroup", "time")]

# What is changed, what looks, what it sees.
IN_FORCE: dict[str, tuple[dict[str, Any], str, str]] = {
    "the root, writable": ({}, "echo x >/new && cat /new", "x"),
    "the root, read-only": ({"root.readonly": True}, "echo x >/new || echo no", "no"),
    "a bind, read-only": (bind("bind", "ro"), "cat /m/note; touch /m/x || echo no", "host\nno"),
    "a bind, all read-only": (bind("rbind", "rro", "rnoexec"), FLAGS, "ro,noexec,relatime"),
    "a bind with all flags": (
        bind("bind", "nosuid", "nodev", "noexec", "nosymfollow"),
        FLAGS,
        "rw,nosuid,nodev,noexec,relatime,nosymfollow",
    ),
    "a bind by its type alone": (
        {"mounts": [{"destination": "/m", "type": "bind", "source": "data"}]},
        "cat /m/note",
        "host",
    ),
    "a file on a file": (
        {"mounts": [{"destination": "/etc/note", "source": "data/note", "options": ["bind"]}]},
        "cat /etc/note",
        "host",
    ),
    "a relative target": (
        {"mounts": [{"destination": "a/b/c", "source": "data", "options": ["bind"]}]},
        "cat /a/b/c/note",
        "host",
    ),
    "a tmpfs of a size": (tmpfs("size=1m", "mode=711", "noexec"), f"stat -c %a /m; {FLAGS}", "711\nrw,noexec,relatime"),
    "a tmpfs with a copy": (
        tmpfs("tmpcopyup", "ro", target="/etc"),
        "cat /etc/note; touch /etc/x || echo no",
        "image\nno",
    ),
    "a tmpfs that is changed": (
        {"mounts": [*tmpfs()["mounts"], {"destination": "/m", "options": ["remount", "ro", "noexec"]}]},
        FLAGS,
        "ro,noexec,relatime",
    ),
    "times of access": (tmpfs("noatime", "nodiratime"), FLAGS, "rw,noatime,nodiratime"),
    "what is shared": (tmpfs("rshared"), "grep -c ' /m .* shared:' /proc/self/mountinfo", "1"),
    "a shared root": (
        {"linux.rootfsPropagation": "shared"},
        "grep -c ' / / .* shared:\\| / [a-z,]* shared:' /proc/self/mountinfo",
        "1",
    ),
    "a read-only /dev": ({"mounts": [{**DEV, "options": ["ro"]}]}, "echo x >/dev/null; touch /dev/x || echo no", "no"),
    "a fifo": (
        {"linux.devices": [{"type": "p", "path": "/run/fifo", "fileMode": 0o620}]},
        "stat -c '%F %a' /run/fifo",
        "fifo 620",
    ),
    "a device by its number": (
        {"linux.devices": [{"type": "c", "path": "/run/nothing", "major": 1, "minor": 3}]},
        "echo x >/run/nothing; stat -c '%F %t:%T' /run/nothing",
        "character special file 1:3",
    ),
    "rules for devices that are not there": (
        {"linux.resources": {"devices": [{"allow": False, "access": "rwm"}]}},
        "echo x >/dev/null && echo yes",
        "yes",
    ),
    "what is hidden": (
        {"linux.maskedPaths": ["/sub", "/etc/note", "/absent"]},
        "ls /sub | wc -l; wc -c </etc/note",
        "0\n0",
    ),
    "what is read-only": ({"linux.readonlyPaths": ["/etc"]}, "touch /etc/x || echo no", "no"),
    "a working directory that is made": ({"process.cwd": "/a/b"}, "pwd", "/a/b"),
    "variables": ({"process.env": ["PATH=/bin", "A=1", "A=2"]}, "echo $A $HOME", "2 /"),
    "a umask": ({"process.user.umask": 0o77}, "umask", "0077"),
    "a umask of its own": ({}, "umask", "0022"),
    "limits": (
        {
            "process.rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 30, "hard": 40},
                {"type": "CORE", "soft": 0, "hard": 0},
            ]
        },
        "ulimit -n; ulimit -Hn; ulimit -c",
        "30\n40\n0",
    ),
    "no capability": ({}, STATUS, "\n".join(["0" * 16] * 5)),
    "capabilities": (
        {
            "process.capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN"],
                "permitted": ["CAP_KILL"],
                "effective": ["CAP_KILL"],
                "inheritable": ["CAP_KILL"],
                "ambient": ["CAP_KILL"],
            }
        },
        STATUS,
        "0000000000000020\n0000000000000021\n0000000000000021\n0000000000000021\n0000000000000020",
    ),
    "no new privileges": ({"process.noNewPrivileges": True}, "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    "a score for the OOM killer": ({"process.oomScoreAdj": 321}, "cat /proc/self/oom_score_adj", "321"),
    "a scheduling policy": (
        {"process.scheduler": {"policy": "SCHED_IDLE"}},
        "grep -w policy /proc/self/sched | while read a b c; do echo $c; done",
        "5",
    ),
    "a nice value": (
        {"process.scheduler": {"policy": "SCHED_BATCH", "nice": 7}},
        "read a b c d e f g h i j k l m n o p q r nice rest </proc/self/stat; echo $nice",
        "7",
    ),
    "a host name and a domain": (
        {"hostname": "box", "domainname": "example.org"},
        "hostname; cat /proc/sys/kernel/domainname",
        "box\nexample.org",
    ),
    "the domain by its sysctl": (
        {"linux.sysctl": {"kernel.domainname": "example.org"}},
        "cat /proc/sys/kernel/domainname",
        "example.org",
    ),
    "sysctls": (
        {"linux.sysctl": {"net.ipv4.ip_forward": "1", "kernel/msgmax": "99", "net/ipv4/conf/lo/forwarding": "1"}},
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/conf/lo/forwarding",
        "1\n99\n1",
    ),
    "loopback": ({}, "cat /sys/class/net/lo/operstate 2>/dev/null; grep -c lo: /proc/net/dev", "1"),
    "clocks": (
        {
            "linux.namespaces": EVERY_NAMESPACE,
            "linux.timeOffsets": {"monotonic": {"secs": 1000}, "boottime": {"secs": 5, "nanosecs": 7}},
        },
        "cat /proc/self/timens_offsets",
        "monotonic        1000         0\nboottime            5         7",
    ),
    "another machine": ({"linux.personality": {"domain": "LINUX32"}}, "uname -m", "i686"),
    "a memory policy": (
        {"linux.memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}},
        "read a policy b </proc/self/numa_maps; echo $policy",
        "bind:0",
    ),
    "a filter": (
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
            }
        },
        "mkdir /x 2>&1; grep Seccomp: /proc/self/status",
        "mkdir: can't create directory '/x': No space left on device\nSeccomp:\t2",
    ),
    "a cgroup of its own": ({}, "grep ^0: /proc/self/cgroup", "0::/"),
}


@pytest.mark.parametrize("changes, script, expected", IN_FORCE.values(), ids=IN_FORCE.keys())
def test_a_property_is_in_force(bundle: Bundle, changes: dict[str, Any], script: str, expected: str) -> None:
    result = bundle(script, changes)

    assert result.stdout.strip() == expected, result.stderr


RANGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a user with groups": (
        {"process.user": {"uid": 5, "gid": 6, "additionalGids": [7, 8]}, "process.env": ["PATH=/bin", "HOME="]},
        "id; echo $HOME",
        "uid=5 gid=6 groups=7,8\n/",
    ),
    "a directory for root alone": ({"process.user": {"uid": 5, "gid": 6}, "process.cwd": "/closed"}, "pwd", "/closed"),
    "the owner of a fifo": (
        {"linux.devices": [{"type": "p", "path": "/run/fifo", "uid": 3, "gid": 4}]},
        "stat -c %u:%g /run/fifo",
        "3:4",
    ),
}


@needs("newuidmap")
@pytest.mark.parametrize("changes, script, expected", RANGES.values(), ids=RANGES.keys())
def test_a_property_of_several_ids_is_in_force(
    bundle: Bundle, changes: dict[str, Any], script: str, expected: str
) -> None:
    (bundle.rootfs / "closed").mkdir(mode=0o700)
    result = bundle(script, {**ranges(), **changes})

    assert result.stdout.strip() == expected, result.stderr


def ranges() -> dict[str, Any]:
    """Return maps of all that is ours."""
    from plan_world import several_ids_of_ours

    operation = several_ids_of_ours()
    return {
        f"linux.{kind}Mappings": [
            dict(zip(("containerID", "hostID", "size"), map(int, line.split()), strict=True))
            for line in text.splitlines()
        ]
        for kind, text in (("uid", operation.uid_map), ("gid", operation.gid_map))
    }


@needs("newuidmap")
@pytest.mark.parametrize("network", ["new", "joined"])
@pytest.mark.parametrize("propagation", ["private", "shared", "slave"])
def test_within_our_own_user_namespace_a_container_keeps_its_mounts_to_itself(
    bundle: Bundle, propagation: str, network: str
) -> None:
    """As podman runs us: root of a user namespace that it has made, of which the container is to be."""
    kinds = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup")]
    kinds.append({"type": "network"} if network == "new" else {"type": "network", "path": str(bundle.path / "net")})
    (bundle.path / "net").touch()
    changes = {"linux.namespaces": kinds, "linux.uidMappings": None, "linux.gidMappings": None}
    # What stays in the namespace of mounts is counted before and after.
    script = 'unshare --net="$1" true; shift; mount -t tmpfs x "$0" && wc -l </proc/self/mountinfo; "$@"; wc -l </proc/self/mountinfo'
    within = ["unshare", "--user", "--map-root-user", "--map-auto", "--mount", f"--propagation={propagation}"]
    within += ["sh", "-c", script, str(bundle.path / "data/below"), str(bundle.path / "net")]
    result = bundle(
        "id; cat /proc/self/uid_map | wc -l; ls /m",
        {**changes, **bind("rbind", "rslave"), "process.user": {"uid": 5, "gid": 6, "additionalGids": [7]}},
        within=tuple(within),
    )
    before, *inside, after = result.stdout.splitlines()

    assert inside == ["uid=5 gid=6 groups=7", "2", "below", "note"], result.stderr
    assert before == after


def test_what_the_kernel_refuses_is_said_with_its_place(bundle: Bundle) -> None:
    result = bundle("echo ran", {"process.scheduler": {"policy": "SCHED_FIFO", "priority": 99}})

    assert result.returncode == 1
    assert "ran" not in result.stdout
    assert "config.json: process.scheduler" in result.stderr
