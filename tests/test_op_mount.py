"""What operations do to the file system, seen from inside."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from needs import needs
from plan_world import ATIME, NOATIME, NODEV, NOEXEC, NOSUID, PRIVATE, RDONLY, SHARED, SLAVE, UNBINDABLE, PlanWorld

from sandbox.plan.ops import (
    BindConsole,
    BindDevice,
    BindMount,
    ChangeMount,
    MakeDirectory,
    MakeFifo,
    MakeReadOnly,
    Mask,
    NewMount,
    NewSession,
    OpenTerminal,
    Terminal,
)

pytestmark = needs("userns", "mountns", "new_proc")


def options(run_plan: PlanWorld, target: str, *before: object) -> list[set[str]]:
    """Return for each mount at `target` its own options and its propagation."""
    table = run_plan.shell("cat /proc/self/mountinfo", before)
    rows = [line.split() for line in table.splitlines()]
    return [set(row[5].split(",")) | set(row[6 : row.index("-")]) for row in rows if row[4] == target]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a directory of the host's with a file in it."""
    path = tmp_path / "host/tree"
    path.mkdir(parents=True)
    (path / "note").write_text("hello")
    return path


# --- bind mounts ---


def test_a_read_only_bind_shows_the_host_file_and_refuses_writes(run_plan: PlanWorld, tree: Path) -> None:
    result = run_plan(
        [BindMount(source=str(tree), target="/data", set_recursive=RDONLY)],
        argv=["sh", "-c", "cat /data/note; echo x >/data/new"],
    )

    assert result.stdout == "hello"
    assert "Read-only file system" in result.stderr
    assert not (tree / "new").exists()


def test_attributes_hold_for_the_mount_itself_or_for_all_below(run_plan: PlanWorld, tree: Path) -> None:
    (tree / "below").mkdir()
    prepared = [
        BindMount(source=str(tree), target="/a"),
        NewMount(fstype="tmpfs", target="/a/below"),
    ]
    staged = str(run_plan.staging / "a")
    alone = [*prepared, BindMount(source=staged, target="/b", set_attributes=RDONLY | NOSUID)]
    whole = [*prepared, BindMount(source=staged, target="/b", set_recursive=RDONLY | NODEV)]
    undone = [*whole, BindMount(source=str(run_plan.staging / "b"), target="/c", clear_recursive=RDONLY)]
    flat = [*prepared, BindMount(source=staged, target="/b", recursive=0)]

    assert {"ro", "nosuid"} <= options(run_plan, "/b", *alone)[0]
    assert "rw" in options(run_plan, "/b/below", *alone)[0]
    assert {"ro", "nodev"} <= options(run_plan, "/b", *whole)[0]
    assert {"ro", "nodev"} <= options(run_plan, "/b/below", *whole)[0]
    assert {"rw", "nodev"} <= options(run_plan, "/c/below", *undone)[0]
    assert options(run_plan, "/b/below", *flat) == []


@pytest.mark.parametrize(
    "propagation, word", [(PRIVATE, ""), (SHARED, "shared:"), (UNBINDABLE, "unbindable"), (SLAVE, "")]
)
def test_propagation(run_plan: PlanWorld, tree: Path, propagation: int, word: str) -> None:
    for op in (
        BindMount(source=str(tree), target="/b", propagation=propagation),
        NewMount(fstype="tmpfs", target="/b", propagation=propagation),
    ):
        (seen,) = options(run_plan, "/b", op)
        marks = {option for option in seen if option.startswith(("shared", "master", "unbindable"))}
        assert len(marks) == bool(word)
        assert all(mark.startswith(word) for mark in marks)


def test_times_of_access(run_plan: PlanWorld) -> None:
    fresh = NewMount(fstype="tmpfs", target="/b")
    plain, changed = (
        options(run_plan, "/b", fresh),
        options(run_plan, "/b", fresh, ChangeMount(target="/b", set_attributes=NOATIME)),
    )
    back = options(
        run_plan,
        "/b",
        fresh,
        ChangeMount(target="/b", set_attributes=NOATIME),
        ChangeMount(target="/b", clear_attributes=ATIME),
    )

    assert "relatime" in plain[0]
    assert "noatime" in changed[0]
    assert "relatime" in back[0]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


SOURCES = {
    "regular": Path.touch,
    "fifo": lambda path: os.mkfifo(path),
    "socket": make_socket,
    "directory": Path.mkdir,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_any_kind_of_file_is_bound_onto_a_new_place(run_plan: PlanWorld, tmp_path: Path, kind: str) -> None:
    SOURCES[kind](tmp_path / "s")

    seen = run_plan.shell("stat -c %F /deep/er/place", [BindMount(source=str(tmp_path / "s"), target="/deep/er/place")])

    assert kind in seen
    made = (run_plan.rootfs / "deep/er/place").stat()
    assert stat.S_ISDIR(made.st_mode) == (kind == "directory")


def test_a_device_is_bound_as_an_ordinary_file_too(run_plan: PlanWorld) -> None:
    assert "character special" in run_plan.shell("stat -c %F /zero", [BindMount(source="/dev/zero", target="/zero")])


def test_file_on_file_and_directory_on_directory(run_plan: PlanWorld, tree: Path) -> None:
    (run_plan.rootfs / "etc/note").write_text("covered")
    (run_plan.rootfs / "etc/more").mkdir()
    (run_plan.rootfs / "etc/more/covered").touch()
    binds = [
        BindMount(source=str(tree / "note"), target="/etc/note"),
        BindMount(source=str(tree), target="/etc/more"),
    ]

    assert run_plan.shell("cat /etc/note; ls /etc/more", binds) == "hellonote\n"
    assert (run_plan.rootfs / "etc/note").read_text() == "covered"


@pytest.mark.parametrize(
    "source, target, reason",
    [
        ("tree", "/etc/file", "Not a directory"),
        ("tree/note", "/etc", "Is a directory"),
        ("tree/note", "/etc/file/below", "Not a directory"),
        ("tree/absent", "/etc/file", "No such file or directory"),
        ("link", "/etc/file", "Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_bound_is_refused(
    run_plan: PlanWorld, tree: Path, source: str, target: str, reason: str
) -> None:
    (run_plan.rootfs / "etc/file").touch()
    (tree.parent / "link").symlink_to("tree/note")

    words = run_plan.refusal([BindMount(source=str(tree.parent / source), target=target)])

    assert reason in words


def test_a_file_system_on_a_file_is_refused(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "etc/file").touch()

    assert "/etc/file: Not a directory" in run_plan.refusal([NewMount(fstype="tmpfs", target="/etc/file")])


# --- targets behind symlinks ---


@pytest.mark.parametrize(
    "link, destination, target, real",
    [
        ("a", "/c", "/a/b", "c/b"),
        ("a", "c", "/a/b/d", "c/b/d"),
        ("a", "/c/absent", "/a/b", "c/absent/b"),
        ("a", "/c/absent", "/a", "c/absent"),
        ("a", "../../../c", "/a/b", "c/b"),
        ("c/a", "../e", "/c/a/b", "e/b"),
        ("a", "/c/../f/./g", "/a/b", "f/g/b"),
    ],
)
@pytest.mark.parametrize("kind", ["directory", "file", "tmpfs"])
def test_a_target_behind_a_symlink_is_made_below_the_root(
    run_plan: PlanWorld, tree: Path, link: str, destination: str, target: str, real: str, kind: str
) -> None:
    (run_plan.rootfs / "c").mkdir()
    (run_plan.rootfs / link).symlink_to(destination)
    op = {
        "directory": BindMount(source=str(tree), target=target),
        "file": BindMount(source=str(tree / "note"), target=target),
        "tmpfs": NewMount(fstype="tmpfs", target=target),
    }[kind]

    seen = run_plan.shell("cut -d ' ' -f 5 /proc/self/mountinfo", [op]).splitlines()

    assert f"/{real}" in seen
    made = run_plan.rootfs / real
    assert made.is_file() if kind == "file" else made.is_dir()


def test_a_loop_of_symlinks_is_refused(run_plan: PlanWorld, tree: Path) -> None:
    (run_plan.rootfs / "a").symlink_to("b")
    (run_plan.rootfs / "b").symlink_to("a")

    words = run_plan.refusal([BindMount(source=str(tree), target="/a/c")])

    assert "Too many levels of symbolic links" in words


# --- new mounts ---


def test_a_tmpfs_takes_the_mode_of_what_it_covers_unless_told(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "scratch").mkdir(mode=0o700)
    (run_plan.rootfs / "scratch").chmod(0o3771)

    def mode(target: str = "/scratch", **members: object) -> str:
        op = NewMount(fstype="tmpfs", target=target, **members)
        return run_plan.shell(f"stat -c %a {target}", [op]).strip()

    assert mode(take_mode=1) == "3771"
    assert mode(take_mode=1, options=("mode=0711",)) == "711"
    assert mode() == "1777"
    assert mode("/made/for/it", take_mode=1) == "1777"


def test_a_changed_mount(run_plan: PlanWorld) -> None:
    fresh = [NewMount(fstype="tmpfs", target="/m"), NewMount(fstype="tmpfs", target="/m/below", attributes=NOSUID)]
    top = ChangeMount(target="/m", set_attributes=RDONLY | NOEXEC, propagation=SHARED)
    whole = ChangeMount(
        target="/m", set_recursive=NODEV, clear_recursive=NOSUID, propagation=SHARED, propagation_recursive=1
    )
    (m_top,) = options(run_plan, "/m", *fresh, top)
    (below_top,) = options(run_plan, "/m/below", *fresh, top)
    (below_whole,) = options(run_plan, "/m/below", *fresh, whole)

    assert {"ro", "noexec"} <= m_top
    assert any(option.startswith("shared:") for option in m_top)
    assert {"rw", "nosuid"} <= below_top
    assert not any(option.startswith("shared:") for option in below_top)
    assert "nodev" in below_whole
    assert "nosuid" not in below_whole
    assert any(option.startswith("shared:") for option in below_whole)


@pytest.mark.parametrize("propagation, word", [(SHARED, "shared:"), (UNBINDABLE, "unbindable")])
def test_the_roots_propagation_behind_the_pivot(run_plan: PlanWorld, propagation: int, word: str) -> None:
    table = run_plan.shell("cat /proc/self/mountinfo", after=[ChangeMount(target="/", propagation=propagation)])
    (row,) = [line.split() for line in table.splitlines() if line.split()[4] == "/"]

    assert row[6].startswith(word)


def test_what_is_no_mount_is_not_changed(run_plan: PlanWorld) -> None:
    assert "mount_setattr" in run_plan.refusal([ChangeMount(target="/etc", set_attributes=RDONLY)])


# --- covers, nodes ---


def test_covered_files_and_directories(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "etc/secret").write_text("canary")
    (run_plan.rootfs / "etc/dir").mkdir()
    (run_plan.rootfs / "etc/dir/secret").write_text("canary")
    covers = [Mask(target="/etc/secret"), Mask(target="/etc/dir"), MakeReadOnly(target="/tmp")]
    result = run_plan(covers, argv=["sh", "-c", "cat /etc/secret; ls /etc/dir; touch /tmp/x; touch /etc/dir/x"])

    assert result.stdout == ""
    assert result.stderr.count("Read-only file system") == 2


def test_a_fifo(run_plan: PlanWorld) -> None:
    fifos = [MakeFifo(target="/run/pipe", mode=0o621), MakeFifo(target="/run/pipe"), MakeFifo(target="/other", uid=0)]

    assert run_plan.shell("stat -c '%F %a %u' /run/pipe /other", fifos) == "fifo 621 0\nfifo 666 0\n"


def test_a_fifo_of_another_owner(run_plan: PlanWorld) -> None:
    fifo = MakeFifo(target="/dev/pipe", uid=7, gid=8)

    assert run_plan.shell("stat -c '%u:%g' /dev/pipe", [fifo], several_ids=True) == "7:8\n"


def test_a_fifo_in_the_place_of_something_else_is_refused(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "file").touch()
    (run_plan.rootfs / "link").symlink_to("/pipe")

    assert "File exists" in run_plan.refusal([MakeFifo(target="/file")])
    assert "File exists" in run_plan.refusal([MakeFifo(target="/link")])


def test_a_directory_with_its_parents(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "link").symlink_to("/far/away")
    steps = [MakeDirectory(path="/x/y", mode=0o700), MakeDirectory(path="/link/z"), MakeDirectory(path="/x/y")]

    assert (
        run_plan.shell("stat -c '%F %a' /x /x/y /far/away/z", steps) == "directory 755\ndirectory 700\ndirectory 755\n"
    )


def test_a_directory_in_the_place_of_a_file_is_refused(run_plan: PlanWorld) -> None:
    (run_plan.rootfs / "file").touch()

    assert "cannot make the directory /file" in run_plan.refusal([MakeDirectory(path="/file")])


def test_a_device_of_another_kind_is_refused(run_plan: PlanWorld) -> None:
    words = run_plan.refusal([BindDevice(source="/dev/zero", target="/dev/zero", major=1, minor=5, block=1)])

    assert "No such device" in words


PTS = NewMount(fstype="devpts", target="/dev/pts", options=("newinstance", "ptmxmode=0666", "mode=0620"))


def test_the_console_is_the_terminal(run_plan: PlanWorld) -> None:
    out = run_plan.shell(
        "tty; stat -c '%t:%T' /dev/console; echo /dev/pts/*; echo to the console >/dev/console",
        [PTS, OpenTerminal(), BindConsole()],
        [NewSession()],
        terminal=Terminal(mode=2, newlines=0),
    )

    assert out == "/dev/pts/0\n88:0\n/dev/pts/0 /dev/pts/ptmx\nto the console\n"


def test_without_a_terminal_there_is_no_console(run_plan: PlanWorld) -> None:
    assert run_plan.shell("ls /dev", [PTS, OpenTerminal(), BindConsole()]) == "fd\nnull\npts\n"
