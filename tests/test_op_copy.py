"""What an image has in a directory is copied into the tmpfs over it; id-mapped mounts."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import descendants
from needs import needs
from plan_world import NAMESPACES, RDONLY, PlanWorld, exchanging

from sandbox.plan.ops import BindMount, JoinNamespace, NewMount

pytestmark = needs("userns", "mountns", "new_proc")


def covered(**members: object) -> NewMount:
    return NewMount(fstype="tmpfs", target="/data", **{"copy_up": 1, **members})


@pytest.fixture
def data(run_plan: PlanWorld) -> Path:
    """Return the image's /data."""
    path = run_plan.rootfs / "data"
    path.mkdir()
    return path


SHOW = "cd /data; find . | sort | xargs stat -c '%n %F %a %Y'"


def test_a_copy_is_like_the_image(run_plan: PlanWorld, data: Path) -> None:
    (data / "sub/deeper").mkdir(parents=True)
    (data / "sub/deeper/file").write_text("x" * 100_000)
    (data / "program").write_text("#!/bin/sh\n")
    (data / "empty").touch()
    os.mkfifo(data / "pipe")
    (data / "absolute").symlink_to("/etc/passwd")
    (data / "dangling").symlink_to("nowhere")
    for name, mode in (("program", 0o4755), ("empty", 0o000), ("pipe", 0o640), ("sub", 0o1777), ("sub/deeper", 0o500)):
        (data / name).chmod(mode)
    for number, name in enumerate(("sub/deeper/file", "program", "sub/deeper", "sub", "absolute", "pipe")):
        os.utime(data / name, (number + 1000, number + 2000), follow_symlinks=False)
    rest = "; cat sub/deeper/file | md5sum; readlink absolute dangling; cat /proc/self/mountinfo | grep -c ' /data '"
    plain = run_plan.shell(SHOW + rest.rpartition(";")[0])
    copied = run_plan.shell(SHOW + rest, [covered(take_mode=1)])

    # The tmpfs itself has a size and a time of its own.
    assert plain.splitlines()[1:] == copied.splitlines()[1:-1]
    assert copied.splitlines()[-1] == "1"
    (data / "sub/deeper").chmod(0o700)


def test_what_is_written_to_the_copy_is_not_written_to_the_image(run_plan: PlanWorld, data: Path) -> None:
    (data / "file").write_text("image")

    assert run_plan.shell("echo new >/data/file; cat /data/file", [covered()]) == "new\n"
    assert (data / "file").read_text() == "image"


def test_a_copy_can_be_read_only(run_plan: PlanWorld, data: Path) -> None:
    (data / "file").write_text("image")
    result = run_plan([covered(attributes=RDONLY)], argv=["sh", "-c", "cat /data/file; echo new >/data/file"])

    assert result.stdout == "image"
    assert "Read-only file system" in result.stderr


def test_owners_and_attributes_are_copied(run_plan: PlanWorld, data: Path) -> None:
    os.setxattr(data, "user.on", b"directory")
    (data / "file").touch()
    os.setxattr(data / "file", "user.on", b"file\0x")
    (data / "sub").mkdir()
    os.setxattr(data / "sub", "user.on", b"sub")
    script = (
        "stat -c '%n %u:%g %a' /data/*; python3 -c 'import os; print([os.getxattr(p, \"user.on\") for p in PATHS])'"
    )
    script = script.replace("PATHS", '[\\"/data/file\\", \\"/data/sub\\"]').replace('\\"user.on\\"', '"user.on"')
    script = script.replace('\\"', '"')
    run_plan.shell("chown 5:6 /data/file; chmod 6711 /data/file; chown 7:8 /data/sub", several_ids=True)
    try:
        copied = run_plan.shell(script, [covered()], several_ids=True)
    finally:
        run_plan.shell("chown 0:0 /data/*", several_ids=True)

    assert copied == "/data/file 5:6 6711\n/data/sub 7:8 755\n[b'file\\x00x', b'sub']\n"


def test_files_of_nobody_become_ours(run_plan: PlanWorld, data: Path) -> None:
    """An owner who has no id inside cannot be given one."""
    before = [BindMount(source="/etc/hostname", target="/data/theirs"), covered()]

    assert run_plan.shell("stat -c %u:%g /data/theirs", before) == "0:0\n"


def test_a_copy_that_does_not_fit_names_the_file(run_plan: PlanWorld, data: Path) -> None:
    (data / "large").write_bytes(bytes(3 << 20))

    words = run_plan.refusal([covered(options=("size=1m",))])
    assert "large" in words
    assert "No space left" in words


def test_a_bottomless_directory_is_refused(run_plan: PlanWorld, data: Path) -> None:
    at = os.open(data, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("deep", dir_fd=at)
        below = os.open("deep", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)

    assert "deep" in run_plan.refusal([covered()])


def test_many_files(run_plan: PlanWorld, data: Path) -> None:
    for number in range(700):
        (data / f"{'n' * (number % 200)}{number}").touch()

    assert run_plan.shell("ls /data | wc -l", [covered()]).strip() == "700"


def test_a_symlink_that_appears_while_we_copy_is_not_followed(run_plan: PlanWorld, data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "dir").mkdir(parents=True)
    (outside / "dir/secret").write_text("canary")
    (outside / "secret").write_text("canary")
    for name in ("file", "dir"):
        (data / f"{name}.link").symlink_to(outside / ("secret" if name == "file" else "dir"))
    (data / "file").write_text("image")
    (data / "dir").mkdir()
    with exchanging(data / "file", data / "file.link"), exchanging(data / "dir", data / "dir.link"):
        results = [run_plan([covered()], argv=["grep", "-rsl", "canary", "/data"]) for _ in range(100)]

    assert {result.stdout for result in results} == {""}
    assert {result.returncode for result in results} <= {1, 2, 125}


# --- id-mapped mounts ---


def test_a_mapped_copy(run_plan: PlanWorld, data: Path) -> None:
    (data / "file").touch()
    op = covered(uid_map="0 5 1\n", gid_map="0 6 1\n")

    assert run_plan.shell("stat -c %u:%g /data /data/file", [op], several_ids=True) == "5:6\n5:6\n"


def test_a_mapped_bind_with_what_is_below(run_plan: PlanWorld) -> None:
    made = [NewMount(fstype="tmpfs", target="/a", options=("uid=3", "gid=4")), NewMount(fstype="tmpfs", target="/a/b")]
    source = str(run_plan.staging / "a")
    maps = {"uid_map": "0 20 1\n3 7 1\n", "gid_map": "0 21 1\n4 8 1\n"}
    alone = [*made, BindMount(source=source, target="/m", **maps)]
    whole = [*made, BindMount(source=source, target="/m", map_recursive=1, **maps)]
    show = "stat -c %u:%g /a /m /m/b; touch /m/b/new 2>/dev/null && stat -c %u:%g /a/b/new; true"

    assert run_plan.shell(show, alone, several_ids=True).split() == ["3:4", "7:8", "0:0", "0:0"]
    assert run_plan.shell(show, whole, several_ids=True).split() == ["3:4", "7:8", "20:21"]


def test_files_created_through_a_map_have_its_owner(run_plan: PlanWorld) -> None:
    made = NewMount(fstype="tmpfs", target="/a", options=("uid=9", "gid=9"))
    bind = BindMount(source=str(run_plan.staging / "a"), target="/m", uid_map="9 0 1\n", gid_map="9 0 1\n")

    assert run_plan.shell("touch /m/new; stat -c %u:%g /a/new /m/new", [made, bind], several_ids=True) == "9:9\n0:0\n"


def test_a_file_system_of_the_hosts_is_not_mapped(run_plan: PlanWorld, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    op = BindMount(source=str(tmp_path / "host"), target="/m", uid_map="0 0 1\n", gid_map="0 0 1\n")
    words = run_plan.refusal([op])

    assert "mount_setattr" in words
    assert "Operation not permitted" in words


@pytest.fixture
def others() -> Iterator[int]:
    """Return a process in user and process namespaces of its own."""
    with subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "sleep", "60"], stderr=subprocess.DEVNULL
    ) as holder:
        while not (children := descendants(holder.pid)):
            time.sleep(0.01)
        (child,) = children
        yield child
        os.kill(child, signal.SIGKILL)


def test_a_mapped_copy_where_others_are(run_plan: PlanWorld, data: Path, others: int) -> None:
    """Nobody there may look into us, and so our files in procfs are not ours."""
    (data / "file").touch()
    user, process = 0x10000000, 0x20000000
    run_plan.identity = [JoinNamespace(path=f"/proc/{others}/ns/user", flag=user)]
    run_plan.identity += [JoinNamespace(path=f"/proc/{others}/ns/pid", flag=process)]
    op = covered(uid_map="0 0 1\n", gid_map="0 0 1\n")
    result = run_plan([op], argv=["stat", "-c", "%u:%g", "/data/file"], namespaces=NAMESPACES & ~(user | process))

    assert result.stdout == "0:0\n", result.stderr


@pytest.mark.parametrize("uid_map", ["0 99999 1\n", "nonsense", "0 0 1\n0 1 1\n"])
def test_a_map_that_the_kernel_refuses(run_plan: PlanWorld, uid_map: str) -> None:
    op = NewMount(fstype="tmpfs", target="/m", uid_map=uid_map, gid_map="0 0 1\n")

    assert "uid_map" in run_plan.refusal([op])


def test_nothing_is_left_of_the_making(run_plan: PlanWorld, data: Path) -> None:
    op = covered(uid_map="0 0 1\n", gid_map="0 0 1\n")
    script = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:3], os.listdir('/proc').count('2'))"
    seen = run_plan([op], argv=["python3", "-c", script])

    assert seen.stdout == "[0, 1, 2] 0\n"
    assert stat.S_ISDIR(data.stat().st_mode)
