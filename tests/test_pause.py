"""`sandbox pause` and `resume`, and what else can be done to a sandbox that stands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from test_ps import Start, start, wait_for

from sandbox import Containers
from sandbox.errors import WrongStatus
from sandbox.kernel.process import state

pytestmark = needs("userns")
assert start  # a fixture

# A counter, one that is a child of another, and one that was started by a shell that waits for it.
COUNT = "i=0; while :; do i=$((i+1)); echo $i > %s; sleep 0.01; done"
TREE = f"({COUNT % 'one'}) & sh -c '{COUNT % 'two'}' & echo > web.up; wait"


def status(sandbox: Sandbox, name: str = "web") -> str:
    rows = json.loads(sandbox("ps", "--json", check=True).stdout)
    return next((str(row["status"]) for row in rows if row["id"] == name), "")


def content(project: Path) -> list[str]:
    return [(project / name).read_text() for name in ("one", "two")]


def counts(project: Path, seconds: float = 0.2) -> bool:
    """Do both count on?"""
    before = content(project)
    time.sleep(seconds)
    return all(old != new for old, new in zip(before, content(project), strict=True))


def stands(project: Path) -> bool:
    before = content(project)
    time.sleep(0.2)
    return before == content(project)


CGROUP = pytest.param(("--report", "report.json"), marks=needs("cgroup2"), id="cgroup")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="init"),
        pytest.param(("--no-init",), id="no init"),
        pytest.param(("--timeout", "1h"), id="timeout"),
        CGROUP,
    ],
)
def test_everything_inside_stands_and_goes_on(
    sandbox: Sandbox, project: Path, start: Start, options: tuple[str, ...]
) -> None:
    process = start("web", *options, command=("sh", "-c", TREE))
    wait_for(lambda: (project / "one").exists() and (project / "two").exists() and counts(project))

    assert sandbox("pause", "web").stderr == ""
    assert stands(project)
    assert status(sandbox) == "paused"
    assert json.loads(sandbox("inspect", "web", check=True).stdout)["status"] == "paused"
    assert sandbox("pause", "web").stderr == "sandbox: web: is paused already\n"

    assert sandbox("resume", "we").stderr == ""
    wait_for(lambda: counts(project))
    assert status(sandbox) == "running"
    assert sandbox("resume", "web").stderr == "sandbox: web: is not paused\n"
    assert process.poll() is None


def test_where_a_command_is_run_meanwhile(sandbox: Sandbox, start: Start) -> None:
    start("web")
    sandbox("pause", "web", check=True)
    result = sandbox("exec", "web", "true")

    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr == "sandbox: web is paused\n  hint: let it go on: sandbox resume web\n"
    sandbox("resume", "web", check=True)
    assert sandbox("exec", "web", "echo", "in").stdout == "in\n"


def test_what_was_started_by_exec_stands_too(sandbox: Sandbox, project: Path, start: Start) -> None:
    start("web")
    sandbox.popen("exec", "web", "sh", "-c", f"({COUNT % 'one'}) & {COUNT % 'two'}")
    wait_for(lambda: (project / "one").exists() and (project / "two").exists() and counts(project))
    sandbox("pause", "web", check=True)

    assert stands(project)


@pytest.mark.parametrize("options", [pytest.param((), id="init"), pytest.param(("--no-init",), id="no init"), CGROUP])
def test_kill_ends_one_that_is_paused(sandbox: Sandbox, start: Start, options: tuple[str, ...]) -> None:
    process = start("web", *options)
    sandbox("pause", "web", check=True)

    assert sandbox("kill", "web", "KILL").stderr == ""
    assert process.wait(20) == 137
    assert status(sandbox) == ""


def test_another_signal_waits_until_it_goes_on(sandbox: Sandbox, start: Start) -> None:
    process = start("web")
    sandbox("pause", "web", check=True)

    said = sandbox("kill", "web").stderr
    assert said == "sandbox: note: web is paused, and hears of it when it goes on: sandbox resume web\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    sandbox("resume", "web", check=True)
    assert process.wait(20) == 143


def test_it_is_destroyed_though_it_stands(sandbox: Sandbox, start: Start, runtime_dir: Path) -> None:
    process = start("web")
    container = Containers(runtime_dir / "sandbox").load("web")
    container.pause()
    with pytest.raises(WrongStatus):
        container.pause()
    assert container.status() == "paused"
    container.destroy(force=True)

    assert process.wait(20) == 137
    assert status(sandbox) == ""


def test_a_time_limit_ends_one_that_is_paused(sandbox: Sandbox, start: Start) -> None:
    process = start("web", "--timeout", "1500ms", "--timeout-grace", "200ms")
    sandbox("pause", "web", check=True)

    assert process.wait(20) == 124


def test_the_end_of_the_monitor_is_the_end_of_what_stands(sandbox: Sandbox, start: Start) -> None:
    process = start("web")
    first = Containers(Path(sandbox.environment["XDG_RUNTIME_DIR"]) / "sandbox").load("web").pid
    sandbox("pause", "web", check=True)
    process.kill()
    process.wait(20)

    wait_for(lambda: state(first) in ("", "Z"))
    assert status(sandbox) == ""


# --- job control ---


@pytest.fixture
def stopped(sandbox: Sandbox, project: Path, start: Start) -> subprocess.Popen[str]:
    """Return a sandbox that was told to stop as a shell's job is."""
    process = start("web", command=("sh", "-c", f"echo > web.up; {COUNT % 'one'}"))
    process.send_signal(signal.SIGTSTP)
    wait_for(lambda: state(process.pid) == "T")
    return process


def test_one_that_a_shell_has_stopped_is_paused(
    sandbox: Sandbox, project: Path, stopped: subprocess.Popen[str]
) -> None:
    assert status(sandbox) == "paused"
    assert sandbox("pause", "web").stderr == "sandbox: web: is paused already\n"
    # It is a job, and one may look inside.
    assert sandbox("exec", "web", "echo", "in").stdout == "in\n"

    sandbox("resume", "web", check=True)
    wait_for(lambda: state(stopped.pid) != "T" and status(sandbox) == "running")
    before = (project / "one").read_text()
    wait_for(lambda: (project / "one").read_text() not in ("", before))


@needs("strace")
def test_who_stops_it_has_seen_its_command_run(sandbox: Sandbox, project: Path, tmp_path: Path) -> None:
    """A monitor that was slow finds the word that the command runs, and the signal that came after it, at once."""
    sandbox("run", "--name", "web", "true", check=True)  # from here on no interpreter is needed
    slow = tmp_path / "slow"
    slow.write_text(
        "#!/bin/sh\n"
        f"exec strace -o {tmp_path}/trace -e trace=poll -e inject=poll:delay_enter=2000000:when=1 "
        f'{sandbox.binary} "$@"\n'
    )
    slow.chmod(0o755)
    process = replace(sandbox, binary=slow).popen(
        *("run", "--name", "web", "sh", "-c", "echo > web.up; exec sleep 1000"), process_group=0
    )
    wait_for((project / "web.up").exists)
    monitor = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    os.kill(monitor, signal.SIGTSTP)
    wait_for(lambda: state(monitor) in ("T", "t"))

    assert sandbox("exec", "web", "echo", "in").stdout == "in\n"
    os.kill(monitor, signal.SIGCONT)
    sandbox("kill", "web", "KILL", check=True)
    assert process.wait(20) == 137


def test_kill_ends_one_that_a_shell_has_stopped(sandbox: Sandbox, stopped: subprocess.Popen[str]) -> None:
    sandbox("kill", "web", "KILL", check=True)

    assert stopped.wait(20) == 137


# --- words ---


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_is_not_there(sandbox: Sandbox, verb: str) -> None:
    assert sandbox(verb).stderr == f"sandbox: no sandbox was given\n  hint: sandbox {verb} ID…\n"
    result = sandbox(verb, "absent")
    assert result.returncode == 125
    assert result.stderr == "sandbox: no sandbox is called absent\n  hint: none is running\n"
    assert os.listdir(Path(sandbox.environment["XDG_RUNTIME_DIR"]) / "sandbox/containers") == []


def test_what_fails_for_one_does_not_keep_the_others_from_it(sandbox: Sandbox, start: Start) -> None:
    start("web")
    result = sandbox("pause", "absent", "web")

    assert result.returncode == 125
    assert "no sandbox is called absent" in result.stderr
    assert status(sandbox) == "paused"
