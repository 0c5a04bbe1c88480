"""What operations do to the process, seen from inside."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from needs import needs
from plan_world import NAMESPACES, PlanWorld, bits

from sandbox.plan.ops import (
    BindDevice,
    Credentials,
    FindCommand,
    FindHome,
    Flag,
    JoinKeyring,
    LabelKind,
    MakeDirectory,
    NewMount,
    NewSession,
    Op,
    OpenTerminal,
    OwnStreams,
    PinCpus,
    SetIoPriority,
    SetLabel,
    SetMemoryPolicy,
    SetOomScore,
    SetPersonality,
    SetScheduler,
    Step,
    Terminal,
    TimeNamespace,
    WorkingDirectory,
)

pytestmark = needs("userns", "mountns", "new_proc")

ALL = (1 << 41) - 1
PTS = NewMount(fstype="devpts", target="/dev/pts", options=("newinstance", "ptmxmode=0666", "mode=0620"))


def user(uid: int, gid: int | None = None, **members: int | bytes) -> Credentials:
    """Become an ordinary user."""
    return Credentials(uid=uid, gid=uid if gid is None else gid, set_groups=1, **members)


# --- schedule ---


def test_a_time_namespace(run_plan: PlanWorld) -> None:
    offsets = TimeNamespace(offsets="monotonic 864000 0\nboottime 8640000 5\n")
    script = "cat /proc/uptime; readlink /proc/self/ns/time /proc/self/ns/time_for_children; sh -c 'cat /proc/uptime'"
    uptime, own, children, of_child = run_plan.shell(script, [offsets]).splitlines()

    assert float(uptime.split()[0]) > 8640000
    assert float(of_child.split()[0]) > 8640000
    assert own == children != os.readlink("/proc/self/ns/time")


def test_a_time_namespace_with_the_hosts_clocks(run_plan: PlanWorld) -> None:
    seen = run_plan.shell("readlink /proc/self/ns/time", [TimeNamespace(offsets="")]).strip()

    assert seen != os.readlink("/proc/self/ns/time")


def test_offsets_that_the_kernel_refuses(run_plan: PlanWorld) -> None:
    assert "timens_offsets" in run_plan.refusal([TimeNamespace(offsets="monotonic -99999999999 0\n")])


SCHEDULE = "import os; print(os.sched_getscheduler(0), os.nice(0), os.sched_getparam(0).sched_priority)"


@pytest.mark.parametrize(
    "op, seen",
    [
        (SetScheduler(policy=3, nice=5), "3 5 0"),  # SCHED_BATCH
        (SetScheduler(policy=0, nice=19), "0 19 0"),
        (SetScheduler(policy=5), "5 0 0"),  # SCHED_IDLE
    ],
)
def test_scheduling(run_plan: PlanWorld, op: Op, seen: str) -> None:
    assert run_plan.shell(f"python3 -c '{SCHEDULE}'", after=[op]).strip() == seen


def test_a_policy_that_one_may_not_have(run_plan: PlanWorld) -> None:
    words = run_plan.refusal(after=[SetScheduler(policy=1, priority=99)])

    assert "sched_setattr" in words
    assert "Operation not permitted" in words


def test_priority_of_io(run_plan: PlanWorld) -> None:
    assert run_plan.shell("ionice", after=[SetIoPriority(value=2 << 13 | 6)]) == "best-effort: prio 6\n"
    assert run_plan.shell("ionice", after=[SetIoPriority(value=3 << 13)]).strip() == "idle"
    assert "ioprio_set" in run_plan.refusal(after=[SetIoPriority(value=7 << 13)])


def test_personality(run_plan: PlanWorld) -> None:
    linux32, no_randomization = 0x0008, 0x0040000

    assert run_plan.shell("uname -m", after=[SetPersonality(domain=linux32)]).strip() != os.uname().machine
    seen = run_plan.shell("cat /proc/self/personality", after=[SetPersonality(domain=no_randomization)])
    assert int(seen, 16) == no_randomization


def test_memory_policy(run_plan: PlanWorld) -> None:
    bind, prefer = 2, 1

    seen = run_plan.shell("cat /proc/self/numa_maps", after=[SetMemoryPolicy(mode=bind, nodes=bits(0))])
    assert " bind:0 " in seen
    seen = run_plan.shell("cat /proc/self/numa_maps", after=[SetMemoryPolicy(mode=prefer, nodes=bits(0))])
    assert " prefer:0 " in seen
    assert "set_mempolicy" in run_plan.refusal(after=[SetMemoryPolicy(mode=bind, nodes=bits(63))])
    assert " default " in run_plan.shell("cat /proc/self/numa_maps", after=[SetMemoryPolicy(mode=0)])


def test_processors(run_plan: PlanWorld) -> None:
    last = max(os.sched_getaffinity(0))
    seen = run_plan.shell("grep Cpus_allowed_list /proc/self/status", after=[PinCpus(cpus=bits(last))])

    assert seen.split()[1] == str(last)
    assert "sched_setaffinity" in run_plan.refusal(after=[PinCpus(cpus=bits(63))])


def test_nothing_of_the_process_depends_on_the_images_proc(run_plan: PlanWorld) -> None:
    """runc CVE-2019-19921, CVE-2025-52881: the image's /proc is a directory with files of its own."""
    run_plan.proc = ()
    (run_plan.rootfs / "proc/self/attr").mkdir(parents=True)
    for name in ("oom_score_adj", "timens_offsets", "attr/exec"):
        (run_plan.rootfs / "proc/self" / name).write_text("image's")
    label = Step(SetLabel(kind=LabelKind.APPARMOR, value="nosuch"), "here", Flag.MAY_FAIL | Flag.IF_PRESENT)
    result = run_plan(
        [TimeNamespace(offsets="monotonic 864000 0\n")],
        [SetOomScore(value=900), label],
        argv=["python3", "-c", "import time; print(int(time.clock_gettime(time.CLOCK_MONOTONIC)))"],
    )

    if result.returncode == 0:
        assert int(result.stdout) > 864000
    else:  # the kernel has no such label to give, and says so
        assert "nosuch" in result.stderr
    for name in ("oom_score_adj", "timens_offsets", "attr/exec"):
        assert (run_plan.rootfs / "proc/self" / name).read_text() == "image's"


@pytest.mark.parametrize("kind", [LabelKind.APPARMOR, LabelKind.SELINUX])
def test_a_label_that_cannot_be_given_is_refused(run_plan: PlanWorld, kind: int) -> None:
    words = run_plan.refusal(after=[SetLabel(kind=kind, value="sandbox-no-such-label")])

    assert "sandbox-no-such-label" in words


# --- keyring ---


DESCRIBE = """
import ctypes, os
text = ctypes.create_string_buffer(256)
libc = ctypes.CDLL(None)
describe, session = 6, -3
assert libc.syscall({"x86_64": 250, "aarch64": 219}[os.uname().machine], describe, session, text, 256) > 0
print(text.value.decode())
"""


def test_a_session_keyring_of_its_own(run_plan: PlanWorld) -> None:
    kind, _, _, permissions, name = run_plan.shell(f"python3 -c '{DESCRIBE}'", after=[JoinKeyring()]).strip().split(";")

    assert (kind, name) == ("keyring", "_ses.")
    assert int(permissions, 16) & 8  # anybody in here may search it


# --- credentials ---


def status(text: str) -> dict[str, int]:
    lines = (line.split(":") for line in text.splitlines() if line.startswith("Cap"))
    return {name: int(value, 16) for name, value in lines}


def test_root_with_different_sets(run_plan: PlanWorld) -> None:
    """Id 0 gets at its exec what is bounding or inheritable, and has as effective what is permitted."""
    chown, kill, sys_admin, net_raw = 1 << 0, 1 << 5, 1 << 21, 1 << 13
    credentials = Credentials(
        uid=0,
        gid=0,
        bounding=chown | kill | net_raw,
        permitted=chown | kill | sys_admin,
        effective=chown,
        inheritable=chown | kill,
        ambient=chown,
    )
    seen = status(run_plan.shell("cat /proc/self/status", after=[credentials]))

    assert seen["CapBnd"] == chown | kill | net_raw
    assert seen["CapInh"] == chown | kill
    assert seen["CapPrm"] == seen["CapEff"] == chown | kill | net_raw
    # An exec by id 0 leaves nothing of them, capabilities(7).
    assert seen["CapAmb"] in (0, chown)


def test_another_user_with_ambient_capabilities(run_plan: PlanWorld) -> None:
    raw = 1 << 13
    credentials = user(5, 6, groups=struct.pack("<2I", 7, 8), bounding=raw, permitted=raw, inheritable=raw, ambient=raw)
    out = run_plan.shell("id -u; id -g; id -G; cat /proc/self/status", after=[credentials], several_ids=True)

    assert out.splitlines()[:3] == ["5", "6", "6 7 8"]
    assert set(status(out).values()) == {raw}


def test_capabilities_that_cannot_be_had_together(run_plan: PlanWorld) -> None:
    words = run_plan.refusal(after=[Credentials(uid=0, gid=0, permitted=1, effective=2)])

    assert "capset" in words


# --- working directory ---


def test_a_directory_that_only_root_may_enter(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "roots").mkdir(mode=0o700)
    first = Step(WorkingDirectory(path="/roots"), "here", Flag.MAY_FAIL)
    again = WorkingDirectory(path="/roots", again=1)
    result = run_plan(after=[first, user(5), again], argv=["pwd"], several_ids=True)
    late = run_plan(after=[user(5), again], argv=["pwd"], several_ids=True)

    assert result.stdout == "/roots\n"
    assert late.returncode == 125
    assert "Permission denied" in late.stderr


def test_a_directory_that_only_the_user_may_enter(run_plan: PlanWorld) -> None:
    """Root without the capability to pass everywhere, as in runc's second attempt."""
    made = [NewMount(fstype="tmpfs", target="/theirs", options=("uid=5", "mode=0700"))]
    first = Step(WorkingDirectory(path="/theirs"), "here", Flag.MAY_FAIL)
    steps = [Credentials(uid=0, gid=0, bounding=ALL, permitted=0x1C0, effective=0x1C0), first]
    again = WorkingDirectory(path="/theirs", again=1)
    result = run_plan(made, [*steps, user(5), again], argv=["pwd"], several_ids=True)

    assert result.stdout == "/theirs\n", result.stderr


def test_an_absent_directory_is_refused_the_second_time(run_plan: PlanWorld) -> None:
    first = Step(WorkingDirectory(path="/absent"), "here", Flag.MAY_FAIL)

    assert "No such file" in run_plan.refusal(after=[first, WorkingDirectory(path="/absent", again=1)])


# --- home ---

PASSWD = """\
broken
root:x:0:0:root:/root:/bin/sh
one:x:1:1::relative:/bin/sh
two:x:2:2:::/bin/sh
three:x:03:3::/not/three:/bin/sh
three:x: 3:3::/not/three:/bin/sh
three:x:3:3:Three,,,:/home/three:
three:x:3:3:Three,,,:/home/second:
+:x:4:4
four:x:4x:4::/not/four:
huge:x:4294967298:2::/not/two:
five:x:5:5::/home/five:/bin/sh:more
last:x:6:6::/home/last:/bin/sh"""


@pytest.mark.parametrize(
    "uid, home",
    [(0, "/root"), (1, "/"), (2, "/"), (3, "/home/three"), (4, "/"), (5, "/home/five"), (6, "/home/last"), (9, "/")],
)
def test_home_by_the_containers_passwd(run_plan: PlanWorld, uid: int, home: str) -> None:
    (run_plan.rootfs / "etc/passwd").write_text(f"{'long' * 300}:x:{uid}:0::/not:/\n{PASSWD}")
    for environment in ((), ("HOME=",)):
        run_plan.environment = ("PATH=/usr/bin", *environment)
        assert run_plan.shell("echo $HOME", after=[FindHome(uid=uid)]).strip() == home


def test_home_that_is_named_stays(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "etc/passwd").write_text(PASSWD)
    run_plan.environment = ("PATH=/usr/bin", "HOME=/given")

    assert run_plan.shell("echo $HOME", after=[FindHome(uid=0)]) == "/given\n"


@pytest.mark.parametrize("hostile", ["symlink", "fifo", "directory", "device", "endless"])
def test_a_hostile_passwd_is_nobodys(run_plan: PlanWorld, tmp_path: Path, hostile: str) -> None:
    passwd = run_plan.rootfs / "etc/passwd"
    (tmp_path / "outside").write_text("me:x:0:0::/outside:/bin/sh\n")
    if hostile == "symlink":
        passwd.symlink_to(tmp_path / "outside")
    elif hostile == "fifo":
        os.mkfifo(passwd)
    elif hostile == "directory":
        passwd.mkdir()
    elif hostile == "device":
        passwd.symlink_to("/dev/null")
    else:
        with passwd.open("wb") as file:
            file.seek(1 << 40)
            file.write(b"\nme:x:0:0::/outside:/bin/sh\n")
    run_plan.environment = ("PATH=/usr/bin",)

    assert run_plan.shell("echo $HOME", after=[FindHome(uid=0)]) == "/\n"


# --- the command ---


@pytest.mark.parametrize(
    "name, status",
    [
        ("true", 0),
        ("/usr/bin/true", 0),
        ("../usr/bin/true", 0),
        ("absent", 127),
        ("/absent", 127),
        ("plain", 127),  # as in runc: what PATH has and cannot be executed is not there
        ("/srv/plain", 126),
        ("/srv", 126),
        ("srv", 127),
        ("/srv/plain/below", 127),
        ("/dev/null", 126),
    ],
)
def test_a_command_is_found_or_not(run_plan: PlanWorld, name: str, status: int) -> None:
    (run_plan.rootfs / "srv").mkdir()
    (run_plan.rootfs / "srv/plain").touch()
    run_plan.environment = ("PATH=/absent:/srv:/:/usr/bin",)
    result = run_plan(
        after=[WorkingDirectory(path="/tmp"), FindCommand(), Step(MakeDirectory(path="/found"))], argv=[name]
    )

    assert result.returncode == status, result.stderr
    assert (run_plan.rootfs / "found").exists() == (status == 0)


def test_a_command_that_only_others_may_execute(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "mine").write_text("#!/bin/sh\n")
    (run_plan.rootfs / "mine").chmod(0o700)
    result = run_plan(after=[user(5), FindCommand()], argv=["/mine"], several_ids=True)

    assert result.returncode == 126
    assert run_plan(after=[FindCommand()], argv=["/mine"]).returncode == 0


def test_without_a_path_nothing_is_found(run_plan: PlanWorld) -> None:
    run_plan.environment = ()

    assert run_plan(after=[FindCommand()], argv=["true"]).returncode == 127


# --- streams and terminal ---


def test_the_terminals_size_and_newlines(run_plan: PlanWorld) -> None:
    for newlines, end in ((0, "\n"), (1, "\r\n")):
        terminal = Terminal(mode=2, rows=31, columns=97, newlines=newlines)
        result = run_plan([PTS, OpenTerminal()], [NewSession()], argv=["stty", "size"], terminal=terminal)
        assert result.stdout.encode() == f"31 97{end}".encode() or newlines  # text mode hides the return
        modes = run_plan([PTS, OpenTerminal()], [NewSession()], argv=["stty", "-a"], terminal=terminal).stdout
        assert (" onlcr" in modes) == bool(newlines)
        assert "rows 31; columns 97" in modes


def test_a_terminal_for_another_user(run_plan: PlanWorld) -> None:
    script = "id -u; stat -c %u $(tty); echo written >/dev/tty; echo again >$(tty); echo err >/dev/fd/2"
    out = run_plan.shell(
        script,
        [PTS, BindDevice(source="/dev/tty", target="/dev/tty", major=5, minor=0), OpenTerminal()],
        [OwnStreams(uid=5), user(5), NewSession()],
        several_ids=True,
        terminal=Terminal(mode=2, newlines=0),
    )

    assert out == "5\n5\nwritten\nagain\nerr\n"


def test_streams_for_another_user(run_plan: PlanWorld) -> None:
    after = [OwnStreams(uid=5), user(5)]
    argv = ["sh", "-c", "echo out >/dev/fd/1; stat -L -c %u /dev/fd/0 /dev/fd/1"]
    result = run_plan(after=after, argv=argv, several_ids=True)

    assert result.stdout.split() == ["out", "65534", "5"], result.stderr
    assert os.stat("/dev/null").st_uid == 0


def test_streams_that_cannot_be_given_away_stay(run_plan: PlanWorld) -> None:
    with open("/etc/passwd") as file:
        result = run_plan(after=[OwnStreams(uid=5)], argv=["true"], several_ids=True, stdin=file.fileno())
        unmapped = run_plan(after=[OwnStreams(uid=5)], argv=["true"])

    assert result.returncode == unmapped.returncode == 0


def test_without_a_network_namespace_nothing_changes(run_plan: PlanWorld) -> None:
    assert run_plan(argv=["true"], namespaces=NAMESPACES & ~0x40000000).returncode == 0
