"""Killed at any moment, a run leaves nothing that the next one does not clean."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Sandbox, descendants
from needs import SLOWNESS, needs
from test_run import wait_for

pytestmark = needs("userns")


def alive(pid: int) -> bool:
    """Is there a process that is no zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, seconds: float = 10) -> bool:
    """Wait until nothing is left of a process and of what it started."""
    end = time.monotonic() + seconds * SLOWNESS
    while time.monotonic() < end:
        # A zombie is gone: it waits for whoever has become its parent.
        if not [child for child in {pid, *descendants(pid)} if alive(child)]:
            return True
        time.sleep(0.01)
    return False


def sandboxed(pid: int) -> set[int]:
    """Return the first processes of sandboxes below `pid`."""
    found = set()
    for child in descendants(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"sandbox-init":
            found.add(child)
    return found


def run_and_kill_within(sandbox: Sandbox, delay: float, arguments: list[str]) -> None:
    process = sandbox.popen(
        "run", *arguments, "sh", "-c", "sleep 30 & exec sleep 30", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(delay)
    process.kill()
    process.wait(10)


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_the_launcher_killed_at_any_moment(sandbox: Sandbox, runtime_dir: Path, start: str) -> None:
    assert sandbox("run", "true").returncode == 0
    order = random.Random(4)
    for number in range(40 if start == "warm" else 15):
        arguments = ["--hostname", f"h{number}"] if start == "cold" else []
        run_and_kill_within(sandbox, order.uniform(0, 0.012 if start == "warm" else 0.15), arguments)
    end = time.monotonic() + 10
    while sandboxed(os.getpid()) and time.monotonic() < end:
        time.sleep(0.01)

    assert not sandboxed(os.getpid())
    assert sandbox("run", "true").returncode == 0
    assert not list((runtime_dir / "sandbox/containers").iterdir())
    assert sandbox("run", "--hostname", "last", "true").returncode == 0
    assert not list((runtime_dir / "sandbox/plans").glob("*.tmp"))


def test_the_monitor_killed_ends_everything_inside(sandbox: Sandbox, project: Path) -> None:
    process = sandbox.popen("run", "sh", "-c", "setsid sleep 60 & sleep 60 & echo up > ready; wait")
    wait_for(project / "ready")
    (first,) = sandboxed(process.pid)
    process.kill()
    process.wait(10)

    assert gone(first)
    assert sandbox("run", "true").returncode == 0  # and takes away the left-over directory


def test_without_init_the_monitor_killed_ends_the_command(sandbox: Sandbox, project: Path) -> None:
    (project / "bare.toml").write_text('extends = "build"\n[process]\ninit = false\n')
    process = sandbox.popen("run", "-p", "./bare.toml", "sh", "-c", "sleep 60 & echo up > ready; wait")
    wait_for(project / "ready")
    inside = descendants(process.pid)
    process.kill()
    process.wait(10)

    assert inside
    assert all(gone(pid) for pid in inside)
    assert sandbox("run", "true").returncode == 0


def test_the_first_process_killed_is_an_error_and_not_success(
    sandbox: Sandbox, project: Path, runtime_dir: Path
) -> None:
    process = sandbox.popen("run", "sh", "-c", "echo up > ready; sleep 60")
    wait_for(project / "ready")
    (first,) = sandboxed(process.pid)
    os.kill(first, signal.SIGKILL)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 125
    assert "first process ended without a report: Killed" in stderr
    assert not list((runtime_dir / "sandbox/containers").iterdir())


def test_a_left_over_of_the_same_name_is_taken_over(sandbox: Sandbox, project: Path, runtime_dir: Path) -> None:
    process = sandbox.popen("run", "--name", "mine", "sh", "-c", "echo up > ready; sleep 60")
    wait_for(project / "ready")
    process.kill()
    process.wait(10)
    assert (runtime_dir / "sandbox/containers/mine/state.json").exists()

    assert sandbox("run", "--name", "mine", "true").returncode == 0


def test_many_at_once(sandbox: Sandbox, runtime_dir: Path) -> None:
    running = [sandbox.popen("run", "sh", "-c", f"echo {n}; exit {n}") for n in range(40)]
    results = [(process.communicate(timeout=60)[0], process.returncode) for process in running]

    assert results == [(f"{n}\n", n) for n in range(40)]
    assert not list((runtime_dir / "sandbox/containers").iterdir())


@needs("not_root")
def test_a_state_directory_that_cannot_be_written_is_an_error_that_names_it(
    sandbox: Sandbox, runtime_dir: Path
) -> None:
    assert sandbox("run", "true").returncode == 0
    containers = runtime_dir / "sandbox/containers"
    containers.chmod(0o500)
    try:
        result = sandbox("run", "true")
    finally:
        containers.chmod(0o700)

    assert result.returncode == 125
    assert f"cannot keep {containers}" in result.stderr
    assert "Permission denied" in result.stderr


@pytest.mark.parametrize(
    "limit, most, words, hint",
    [
        ("RLIMIT_FSIZE", 1024, ("run", "true"), "ulimit -f"),
        ("RLIMIT_NOFILE", 24, ("run", "--detach", "true"), "ulimit -n"),
    ],
)
def test_what_the_caller_may_not_have_is_an_error_that_names_it(
    sandbox: Sandbox, runtime_dir: Path, limit: str, most: int, words: tuple[str, ...], hint: str
) -> None:
    """Files hardly larger than nothing; fewer descriptors than are waited for."""

    def lower() -> None:
        number = getattr(resource, limit)
        resource.setrlimit(number, (most, resource.getrlimit(number)[1]))

    process = sandbox.popen(*words, preexec_fn=lower)
    stdout, stderr = process.communicate(timeout=30)

    assert (process.returncode, stdout) == (125, "")
    assert hint in stderr
    assert "Traceback" not in stderr
    assert not list((runtime_dir / "sandbox/containers").glob("*"))
