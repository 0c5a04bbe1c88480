"""The end of a sandbox that has a cgroup: nothing of it is left, whoever is in there and however it comes to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgroup_world import beside
from conftest import Sandbox
from needs import needs

pytestmark = needs("userns", "cgroup2")

# Without a limit, which not every controller could give, but with something to count.
RUN = ("run", "--name", "box", "--report", "report.json")


@pytest.fixture
def directory() -> Path:
    """Return where the sandbox `box` has its cgroup."""
    return beside() / "sandbox-box"


def start(sandbox: Sandbox, project: Path, *options: str, script: str = "exec sleep 60") -> subprocess.Popen[str]:
    process = sandbox.popen(*RUN, *options, "sh", "-c", f"echo up > ready; {script}")
    wait_until((project / "ready").exists)
    (project / "ready").unlink()
    assert (beside() / "sandbox-box").exists()
    return process


def wait_until(condition: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(") ")[2][0] not in "ZX"


@pytest.fixture
def outsider() -> Iterator[subprocess.Popen[bytes]]:
    """Have a process outside, that is in no namespace of a sandbox's."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("comer", ["start", "ps", "rm of another"])
def test_a_killed_monitors_cgroup_is_found_by_whoever_comes_next(
    sandbox: Sandbox, project: Path, directory: Path, comer: str, outsider: subprocess.Popen[bytes]
) -> None:
    process = start(sandbox, project)
    (directory / "below").mkdir()
    (directory / "below/cgroup.procs").write_text(str(outsider.pid))
    process.kill()
    process.wait(20)
    assert directory.exists()

    sandbox(*{"start": ("run", "true"), "ps": ("ps",), "rm of another": ("kill", "another")}[comer])

    assert not directory.exists() or comer == "rm of another"
    sandbox("ps")
    assert not directory.exists()
    wait_until(lambda: not lives(outsider.pid))


@pytest.mark.parametrize("options", [(), ("--no-init",)], ids=["init", "no init"])
def test_whoever_is_left_in_it_ends_with_it(
    sandbox: Sandbox, project: Path, directory: Path, outsider: subprocess.Popen[bytes], options: tuple[str, ...]
) -> None:
    process = start(sandbox, project, *options)
    (directory / "below/deeper").mkdir(parents=True)
    (directory / "below/deeper/cgroup.procs").write_text(str(outsider.pid))

    sandbox("kill", "box", "KILL", check=True)

    assert process.wait(20) == 128 + signal.SIGKILL
    wait_until(lambda: not lives(outsider.pid))
    assert not directory.exists()


@pytest.mark.parametrize("words", [("kill", "box", "KILL"), ("kill", "--all", "box", "KILL")])
def test_one_that_is_frozen_can_be_killed(
    sandbox: Sandbox, project: Path, directory: Path, words: tuple[str, ...]
) -> None:
    process = start(sandbox, project, script="sleep 60 & sleep 61 & exec sleep 62")
    (directory / "cgroup.freeze").write_text("1")
    wait_until(lambda: "frozen 1" in (directory / "cgroup.events").read_text())

    sandbox(*words, check=True)

    assert process.wait(20) == 128 + signal.SIGKILL
    assert not directory.exists()


def test_a_frozen_one_ends_with_its_monitor(sandbox: Sandbox, project: Path, directory: Path) -> None:
    process = start(sandbox, project)
    (directory / "cgroup.freeze").write_text("1")
    wait_until(lambda: "frozen 1" in (directory / "cgroup.events").read_text())
    pids = [int(line) for line in (directory / "cgroup.procs").read_text().split()]

    process.kill()
    process.wait(20)

    wait_until(lambda: not any(map(lives, pids)))
    sandbox("ps")
    assert not directory.exists()


def test_what_joins_is_in_it(sandbox: Sandbox, project: Path, directory: Path) -> None:
    process = start(sandbox, project)
    before = set((directory / "cgroup.procs").read_text().split())
    plain = sandbox.popen("exec", "box", "sh", "-c", "echo up > joined; exec sleep 61")
    adapted = sandbox.popen("exec", "--env", "A=1", "box", "sh", "-c", "echo up > joined2; exec sleep 62")
    sandbox("exec", "--detach", "box", "sh", "-c", "echo up > joined3; exec sleep 63", check=True)
    for name in ("joined", "joined2", "joined3"):
        wait_until((project / name).exists)
    joined = set((directory / "cgroup.procs").read_text().split()) - before
    sandbox("kill", "box", "KILL", check=True)

    assert len(joined) == 3
    assert (process.wait(20), plain.wait(20), adapted.wait(20)) == (137, 137, 137)
    assert not directory.exists()
    assert not any(lives(int(pid)) for pid in joined)


def test_who_joins_at_the_end_leaves_nothing(sandbox: Sandbox, project: Path, directory: Path) -> None:
    for _ in range(5):
        process = start(sandbox, project)
        stop = threading.Event()
        ended: list[int] = []

        def join(stop: threading.Event = stop, ended: list[int] = ended) -> None:
            while not stop.is_set():
                ended.append(sandbox("exec", "--no-tty", "box", "sleep", "30").returncode)

        threads = [threading.Thread(target=join) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGTERM)
        try:
            assert process.wait(20) == 128 + signal.SIGTERM
            assert not directory.exists()
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert ended
        assert 0 not in ended
        assert not directory.exists()


def test_who_took_its_name_is_not_hit_at_its_end(
    sandbox: Sandbox, project: Path, directory: Path, outsider: subprocess.Popen[bytes]
) -> None:
    """Somebody moved it all out, removed the cgroup below us, and has one of that name now."""
    process = start(sandbox, project)
    other = beside() / "elsewhere"
    other.mkdir()
    for pid in (directory / "cgroup.procs").read_text().split():
        (other / "cgroup.procs").write_text(pid)
    directory.rmdir()
    directory.mkdir()
    (directory / "cgroup.procs").write_text(str(outsider.pid))
    try:
        sandbox("kill", "--all", "box", "WINCH")
        sandbox("kill", "box", "KILL", check=True)
        assert process.wait(20) == 128 + signal.SIGKILL
        assert lives(outsider.pid)
        assert directory.exists()
    finally:
        outsider.kill()
        outsider.wait()
        for path in (directory, other):
            path.rmdir()


def test_who_may_not_be_moved_into_it_does_not_join(sandbox: Sandbox, project: Path, directory: Path) -> None:
    """As from a session to what the user's manager has made: the cgroup above both is root's."""
    process = start(sandbox, project)
    above = beside() / "cgroup.procs"
    above.chmod(0o444)
    try:
        result = sandbox("exec", "box", "touch", "outside")
    finally:
        above.chmod(0o644)
    sandbox("kill", "box", "KILL", check=True)
    process.wait(20)

    assert (result.returncode, result.stdout) == (125, "")
    assert f"Permission denied (cgroup.procs on {directory})" in result.stderr
    assert "hint: systemd-run --user --scope --quiet sandbox exec" in result.stderr
    assert not (project / "outside").exists()
