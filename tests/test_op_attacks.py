"""An image that wants out: what it puts in the way of mounts and files leads nowhere outside.

The classes of runc CVE-2021-30465, CVE-2024-21626, CVE-2024-45310, CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from needs import needs
from plan_world import NODEV, PRIVATE, RDONLY, PlanWorld, exchanging

from sandbox.plan.ops import (
    BindConsole,
    BindDevice,
    BindMount,
    ChangeMount,
    FindHome,
    MakeDirectory,
    MakeFifo,
    MakeReadOnly,
    MakeSymlink,
    Mask,
    NewMount,
    NewSession,
    Op,
    OpenTerminal,
    Sysctl,
    Terminal,
    TimeNamespace,
    WorkingDirectory,
)

pytestmark = needs("userns", "mountns", "new_proc")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a directory of the host's beside the root, with a file and a directory in it."""
    path = tmp_path / "outside"
    (path / "dir").mkdir(parents=True)
    (path / "secret").write_text("canary")
    return path


def listing(directory: Path) -> list[tuple[str, int, int]]:
    """Return everything below `directory`, with what would change by a write."""
    return sorted((str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in directory.rglob("*"))


# What is done to TARGET, a path that the image has prepared.
DONE: dict[str, Callable[[PlanWorld, str], Op]] = {
    "a directory's bind": lambda world, target: BindMount(source=str(world.top / "source"), target=target),
    "a file's bind": lambda world, target: BindMount(source=str(world.top / "source/file"), target=target),
    "a tmpfs": lambda world, target: NewMount(fstype="tmpfs", target=target),
    "a tmpfs with a copy": lambda world, target: NewMount(fstype="tmpfs", target=target, copy_up=1, take_mode=1),
    "a device": lambda world, target: BindDevice(source="/dev/zero", target=target, major=1, minor=5),
    "a directory": lambda world, target: MakeDirectory(path=target),
    "a fifo": lambda world, target: MakeFifo(target=target),
    "a symlink": lambda world, target: MakeSymlink(target=target, destination="x"),
    "a mask": lambda world, target: Mask(target=target),
    "a read-only tree": lambda world, target: MakeReadOnly(target=target),
    "a change": lambda world, target: ChangeMount(target=target, set_attributes=RDONLY),
}

# The beginning of a file; of a fifo, which would not begin, and of a device, which would not end, too.
SHOW = ("sh", "-c", 'for file; do dd "if=$file" iflag=nonblock bs=100 count=1 status=none; done', "sh")

LEADING_OUT = ("OUTSIDE", "OUTSIDE/absent", "../../../../../../../..OUTSIDE", "up/OUTSIDE", "/proc/self/root/OUTSIDE")
LEADING_OUT += ("/proc/1/root/OUTSIDE", "/proc/self/cwd", "/proc/self/fd/5", "/proc/thread-self/root")


@pytest.mark.parametrize("done", DONE)
@pytest.mark.parametrize("link", LEADING_OUT)
def test_a_symlink_that_leads_out(run_plan: PlanWorld, outside: Path, done: str, link: str) -> None:
    source = run_plan.top / "source"
    source.mkdir()
    (source / "file").write_text("source's")
    (run_plan.rootfs / "up").symlink_to("/" + "../" * 20)
    (run_plan.rootfs / "a").symlink_to(link.replace("OUTSIDE", str(outside)))
    before = listing(outside)
    for target in ("/a", "/a/dir", "/a/secret", "/a/new", "/a/new/deeper", "/a/../new", "/up/" + "../" * 20 + "new"):
        result = run_plan([DONE[done](run_plan, target)], argv=[*SHOW, "/a/secret"])
        assert "canary" not in result.stdout
        assert listing(outside) == before


@pytest.mark.parametrize("done", DONE)
def test_a_directory_that_becomes_a_symlink_on_the_way(run_plan: PlanWorld, outside: Path, done: str) -> None:
    source = run_plan.top / "source"
    source.mkdir()
    (source / "file").write_text("source's")
    (run_plan.rootfs / "a/dir").mkdir(parents=True)
    (run_plan.rootfs / "a/secret").touch()
    (run_plan.rootfs / "b").symlink_to(outside)
    before = listing(outside)
    with exchanging(run_plan.rootfs / "a", run_plan.rootfs / "b"):
        for number in range(12):
            targets = ("/a/dir", "/a/secret", f"/a/new{number}", f"/a/new{number}/x/y")
            result = run_plan([DONE[done](run_plan, targets[number % 4])], argv=[*SHOW, "/a/secret", "/b/secret"])
            assert "canary" not in result.stdout

    assert listing(outside) == before


@needs("strace")
@pytest.mark.parametrize("slowed", ["mkdirat", "openat2", "readlinkat"])
@pytest.mark.parametrize("done", ["a directory", "a file's bind", "a tmpfs with a copy"])
def test_a_mount_point_that_becomes_a_symlink_when_it_is_made(
    run_plan: PlanWorld, outside: Path, done: str, slowed: str
) -> None:
    """runc CVE-2024-45310: between mkdir and the walk on, and between any look and any step."""
    source = run_plan.top / "source"
    source.mkdir()
    (source / "file").write_text("source's")
    before = listing(outside)
    for number in range(3):
        made, link = run_plan.rootfs / f"made{number}", run_plan.rootfs / f"link{number}"
        link.symlink_to(outside)
        with exchanging(made, link):  # as soon as there is something to exchange it with
            run_plan([DONE[done](run_plan, f"/made{number}/x/y")], slowed=slowed)
            run_plan([DONE[done](run_plan, f"/link{number}/x/y")], slowed=slowed)

    assert listing(outside) == before


# --- procfs ---


@pytest.mark.parametrize("fstype", ["proc", "sysfs"])
@pytest.mark.parametrize("link", ["/etc", "proc2", "/absent"])
def test_the_kernels_file_systems_are_not_mounted_by_a_symlink(run_plan: PlanWorld, fstype: str, link: str) -> None:
    run_plan.proc = ()
    (run_plan.rootfs / "proc2").mkdir()
    (run_plan.rootfs / "kernel").symlink_to(link)
    words = run_plan.refusal([NewMount(fstype=fstype, target="/kernel")])

    assert "Too many levels of symbolic links" in words
    assert not (run_plan.rootfs / "absent").exists()


@pytest.mark.parametrize(
    "target", ["/here", "/here/sys", "/here/self", "/etc/here/uptime", "/here/sys/kernel/hostname"]
)
def test_nothing_is_mounted_in_procfs_by_a_symlink(run_plan: PlanWorld, tmp_path: Path, target: str) -> None:
    """runc CVE-2019-19921: a volume in the place of a part of /proc."""
    (tmp_path / "file").touch()
    (run_plan.rootfs / "here").symlink_to("/proc")
    (run_plan.rootfs / "etc/here").symlink_to("../proc")
    file = "uptime" in target or "hostname" in target
    op = BindMount(source=str(tmp_path / "file" if file else tmp_path), target=target)

    assert "Too many levels of symbolic links" in run_plan.refusal([op])


def test_what_the_plan_names_in_procfs_is_mounted(run_plan: PlanWorld, tmp_path: Path) -> None:
    """As lxcfs has it."""
    (tmp_path / "uptime").write_text("1.00 2.00\n")
    op = BindMount(source=str(tmp_path / "uptime"), target="/proc/uptime")

    assert run_plan.shell("cat /proc/uptime", [op]) == "1.00 2.00\n"


def test_a_sysctl_is_not_written_to_the_image(run_plan: PlanWorld, outside: Path) -> None:
    run_plan.proc = ()
    (run_plan.rootfs / "proc/sys/net/ipv4").mkdir(parents=True)
    (run_plan.rootfs / "proc/sys/net/ipv4/ip_default_ttl").symlink_to(outside / "secret")
    later = NewMount(fstype="proc", target="/tmp")
    out = run_plan.shell(
        "cat /tmp/sys/net/ipv4/ip_default_ttl", [Sysctl(path="net/ipv4/ip_default_ttl", value="77"), later]
    )

    assert out == "77\n"
    assert (outside / "secret").read_text() == "canary"


# --- devices ---


@pytest.mark.parametrize("fake", ["file", "symlink", "another device", "fifo"])
def test_a_device_that_is_another_file_is_refused(run_plan: PlanWorld, tmp_path: Path, fake: str) -> None:
    """runc CVE-2025-31133: what is taken for /dev/null is exchanged."""
    source = tmp_path / "null"
    if fake == "file":
        source.touch()
    elif fake == "symlink":
        source.symlink_to("/dev/null")
    elif fake == "fifo":
        os.mkfifo(source)
    else:
        source = Path("/dev/zero")
    words = run_plan.refusal([BindDevice(source=str(source), target="/dev/fake", major=1, minor=3)])

    assert "cannot bind the device" in words


def test_a_mask_is_the_hosts_null_whatever_the_image_has(run_plan: PlanWorld, outside: Path) -> None:
    (run_plan.rootfs / "etc/secret").write_text("canary")
    image = [NewMount(fstype="tmpfs", target="/dev"), MakeSymlink(target="/dev/null", destination="/etc/secret")]
    script = "cat /etc/secret; stat -c '%t:%T %F' /etc/secret"

    assert run_plan.shell(script, [*image, Mask(target="/etc/secret")]) == "1:3 character special file\n"


PTS = NewMount(fstype="devpts", target="/dev/pts", options=("newinstance", "ptmxmode=0666"))


@pytest.mark.parametrize("destination", ["/etc/victim", "/etc/absent", "/proc/self/fd/0", "null"])
def test_the_console_is_not_bound_by_a_symlink(run_plan: PlanWorld, destination: str) -> None:
    """runc CVE-2025-52565."""
    (run_plan.rootfs / "etc/victim").touch()
    planted = MakeSymlink(target="/dev/console", destination=destination)
    result = run_plan([PTS, planted, OpenTerminal(), BindConsole()], argv=["echo", "ran"], terminal=Terminal(mode=2))

    assert result.returncode == 125
    assert "Too many levels of symbolic links" in result.stderr
    assert not (run_plan.rootfs / "etc/absent").exists()


def test_a_terminal_that_is_another_file_is_refused(run_plan: PlanWorld, tmp_path: Path) -> None:
    steps = [MakeDirectory(path="/dev/pts"), BindDevice(source="/dev/zero", target="/dev/pts/ptmx", major=1, minor=5)]
    result = run_plan([*steps, OpenTerminal()], argv=["echo", "ran"], terminal=Terminal(mode=2))

    assert result.returncode == 125
    assert "No such device" in result.stderr


# --- what is open ---


@pytest.mark.parametrize("number", range(3, 16))
def test_a_descriptor_of_ours_is_no_working_directory(run_plan: PlanWorld, outside: Path, number: int) -> None:
    """runc CVE-2024-21626."""
    descriptor = os.open(outside, os.O_RDONLY)
    path = f"/proc/self/fd/{number}"
    argv = ["python3", "-c", "import os; print(os.getcwd(), os.listdir('.'), os.listdir('..'))"]
    try:
        result = run_plan(after=[WorkingDirectory(path=path)], argv=argv, pass_fds=[descriptor])
    finally:
        os.close(descriptor)

    assert "secret" not in result.stdout
    if result.returncode != 125:  # our descriptor of the new root
        assert result.stdout.startswith("/ [")
        assert "rootfs" not in result.stdout


def test_nothing_of_ours_is_open_in_the_command(run_plan: PlanWorld, tmp_path: Path) -> None:
    (run_plan.rootfs / "data/deep").mkdir(parents=True)
    (run_plan.rootfs / "data/file").write_text("x")
    before: list[Op] = [
        PTS,
        TimeNamespace(offsets="monotonic 1 0\n"),
        BindMount(source=str(tmp_path), target="/m", set_recursive=NODEV, propagation=PRIVATE),
        NewMount(fstype="tmpfs", target="/data", copy_up=1, uid_map="0 0 1\n", gid_map="0 0 1\n"),
        MakeFifo(target="/pipe"),
        OpenTerminal(),
        BindConsole(),
    ]
    argv = ["python3", "-c", "import os; print([os.path.exists(f'/proc/self/fd/{n}') for n in range(40)].count(True))"]
    result = run_plan(before, [FindHome(uid=0), NewSession()], argv=argv, terminal=Terminal(mode=2, newlines=0))

    assert result.stdout == "3\n", result.stderr
