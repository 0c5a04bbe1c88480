"""A kept plan is executed only if it is ours, whole, for this call, and made from what is still so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs

from sandbox.plan.encode import decode

pytestmark = needs("userns")


class Plans:
    """The kept plans of a test's runtime directory."""

    def __init__(self, sandbox: Sandbox, runtime_dir: Path) -> None:
        self.sandbox = sandbox
        self.directory = runtime_dir / "sandbox/plans"

    def only(self) -> Path:
        (path,) = self.directory.glob("*.plan")
        return path

    def identity(self) -> tuple[int, int]:
        """Return what changes when the plan is written anew."""
        status = self.only().stat()
        return status.st_ino, status.st_mtime_ns

    def run(self, *args: str, **options: object) -> str:
        result = self.sandbox("run", *args, "echo", "ran", **options)  # type: ignore[arg-type]
        assert result.returncode == 0, result.stderr
        assert result.stdout == "ran\n"
        return result.stderr


@pytest.fixture
def plans(sandbox: Sandbox, runtime_dir: Path) -> Plans:
    return Plans(sandbox, runtime_dir)


def test_a_second_run_starts_no_interpreter(plans: Plans, tmp_path: Path) -> None:
    plans.run()
    trace = tmp_path / "trace"
    process = plans.sandbox.popen("run", "true")
    process.wait(20)
    before = plans.identity()
    # A launcher without a Python beside it can run a kept plan, and nothing else.
    alone = tmp_path / "sandbox"
    shutil.copy(plans.sandbox.binary, alone)
    plans.sandbox.binary = alone
    plans.run()
    other = plans.sandbox("run", "--hostname", "other", "true")

    assert other.returncode == 125
    assert "cannot execute" in other.stderr
    assert plans.identity() == before
    assert not trace.exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def another_plan(path: Path) -> None:
    """Put a valid plan for another call in this one's place."""
    data = bytearray(path.read_bytes())
    key = decode(bytes(data)).key
    at = bytes(data).index(key)
    data[at] ^= 1
    from zlib import crc32

    data[12:16] = crc32(bytes(data[16:])).to_bytes(4, "little")
    path.write_bytes(data)


SPOILS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "a bit flipped": flip,
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(8)),
    "for another call": another_plan,
    "group-writable": lambda path: path.chmod(0o620),
    "writable by others": lambda path: path.chmod(0o602),
    "a directory": lambda path: (path.unlink(), path.mkdir(), (path / "x").touch()),
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "a symlink": lambda path: path.rename(path.with_suffix(".x")) and path.symlink_to(path.with_suffix(".x")),
    "too large": lambda path: os.truncate(path, 1 << 21),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_a_spoilt_plan_is_never_executed(plans: Plans, spoil: Callable[[Path], object], tmp_path: Path) -> None:
    plans.run()
    spoil(plans.only())
    alone = tmp_path / "sandbox"
    shutil.copy(plans.sandbox.binary, alone)
    binary, plans.sandbox.binary = plans.sandbox.binary, alone
    result = plans.sandbox("run", "echo", "ran")

    assert result.returncode == 125, "it was executed without Python having looked"
    plans.sandbox.binary = binary
    plans.run()  # and Python makes it anew


@pytest.mark.parametrize("place", ["", "plans"])
def test_plans_in_a_directory_that_others_may_write_are_passed_over(plans: Plans, place: str) -> None:
    plans.run()
    (plans.directory.parent / place).chmod(0o777)
    result = plans.sandbox("run", "true")
    (plans.directory.parent / place).chmod(0o700)

    assert result.returncode == 125
    assert "does not belong" in result.stderr or "belongs to you alone" in result.stderr


@pytest.mark.parametrize(
    "change",
    ["profile", "shadow", "variable", "unset", "directory", "option", "symlink", "appears"],
)
def test_a_change_of_what_it_was_made_from_makes_it_anew(plans: Plans, project: Path, home: Path, change: str) -> None:
    profile = project / "p.toml"
    (home / "a").mkdir()
    (home / "b").mkdir()
    (home / "link").symlink_to("a")
    profile.write_text(
        'extends = "build"\n[filesystem]\nread = ["~/link", "?~/later", "?$WHERE/a"]\n[environment.set]\nX = "$SEEN"\n'
    )
    arguments = ["-p", "./p.toml"]
    environment: dict[str, str | None] = {"SEEN": "1", "WHERE": str(home)}
    plans.run(*arguments, env=environment)
    before = plans.identity()
    plans.run(*arguments, env=environment)
    assert plans.identity() == before, "nothing had changed"

    cwd = None
    if change == "profile":
        profile.write_text(profile.read_text() + "# changed\n")
    elif change == "shadow":
        (home / ".config/sandbox/profiles").mkdir(parents=True)
        (home / ".config/sandbox/profiles/base.toml").write_text('extends = "base"\n')
    elif change == "variable":
        environment["SEEN"] = "2"
    elif change == "unset":
        environment["WHERE"] = None
    elif change == "directory":
        cwd = project / "sub"
        cwd.mkdir()
        arguments = ["-p", "../p.toml"]
    elif change == "option":
        arguments += ["--hostname", "x"]
    elif change == "symlink":
        (home / "link").unlink()
        (home / "link").symlink_to("b")
    elif change == "appears":
        (home / "later").mkdir()
    plans.run(*arguments, env=environment, cwd=cwd)

    paths = list(plans.directory.glob("*.plan"))
    assert len(paths) == 2 or plans.identity() != before


def test_a_read_only_runtime_directory_is_said_or_worked_around(plans: Plans) -> None:
    plans.run()
    plans.directory.chmod(0o500)
    try:
        plans.run("--hostname", "other")  # cannot be kept, and runs
        assert len(list(plans.directory.glob("*.plan"))) == 1
    finally:
        plans.directory.chmod(0o700)


def test_what_a_killed_writer_left_is_removed(plans: Plans) -> None:
    plans.run()
    stale = plans.directory / "0123456789abcdef.plan.4194000.tmp"
    stale.write_bytes(b"half")
    plans.run("--hostname", "other")

    assert not stale.exists()


def test_old_plans_go(plans: Plans) -> None:
    plans.run()
    for number in range(300):
        path = plans.directory / f"{number:016x}.plan"
        path.write_bytes(b"old")
        os.utime(path, (number, number))
    plans.run("--hostname", "other")

    assert len(list(plans.directory.glob("*.plan"))) <= 256


def test_without_a_runtime_directory_a_private_one_is_made(sandbox: Sandbox) -> None:
    result = sandbox("run", "echo", "ran", env={"XDG_RUNTIME_DIR": None})

    assert result.stdout == "ran\n"


def test_a_runtime_directory_of_somebody_else_is_not_used(sandbox: Sandbox) -> None:
    result = sandbox("run", "echo", "ran", env={"XDG_RUNTIME_DIR": "/etc"})

    assert result.stdout == "ran\n"


def test_a_relative_runtime_directory_is_ignored(sandbox: Sandbox) -> None:
    """XDG Base Directory Specification: paths in these variables are absolute, or invalid and ignored."""
    result = sandbox("run", "echo", "ran", env={"XDG_RUNTIME_DIR": "relative"})

    assert result.stdout == "ran\n", result.stderr
