"""`sandbox run --detach`: the sandbox outlives its caller and has nothing of it; its end is kept until somebody removes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from conftest import BINARY, Sandbox
from detached_world import Detached, detached, wait_until
from needs import needs

from sandbox import Container, Containers, Status
from sandbox.errors import NoSuchContainer, NotSupported, WrongStatus
from sandbox.kernel.process import look
from sandbox.runtime.report import Report

__all__ = ["detached"]

pytestmark = needs("userns")

# Others may run the same tests beside us, and cgroups and units go by the names.
ONE, GONE, RUNS, FRONT = (f"{name}{os.getpid()}" for name in ("one", "gone", "runs", "front"))

MOST_KB = 300  # of a keeper


@pytest.fixture
def containers(runtime_dir: Path) -> Containers:
    return Containers(runtime_dir / "sandbox", program=str(BINARY.with_name("sandbox-oci")))


# --- the start ---


def test_a_shell_that_takes_its_output_returns_at_once(detached: Detached) -> None:
    """No pipe of the caller's stays open, though the command runs."""
    script = f'id=$({BINARY} run -d sleep 60 2>err); cat err; echo "<$id>"'
    started = time.monotonic()
    result = subprocess.run(
        ["sh", "-c", script],
        env=detached.sandbox.environment,
        cwd=detached.sandbox.cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert time.monotonic() - started < 20
    name = result.stdout.strip()[1:-1]
    assert detached.inspect(name)["status"] == "running"


def test_the_keeper_has_nothing_of_its_caller(detached: Detached, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        process = detached.sandbox.popen("run", "-d", "--name", ONE, "sleep", "60", close_fds=False)
        assert process.communicate(timeout=30)[0] == f"{ONE}\n"
    keeper = detached.keeper(ONE)
    held = {os.readlink(f"/proc/{keeper}/fd/{name}") for name in os.listdir(f"/proc/{keeper}/fd")}
    state = str(detached.containers.parent)

    assert os.readlink(f"/proc/{keeper}/cwd") == "/"
    assert os.getsid(keeper) == keeper
    assert {os.readlink(f"/proc/{keeper}/fd/{number}") for number in range(3)} == {"/dev/null"}
    own = ("/dev/null", state, "/sys/fs/cgroup/")  # the last is the sandbox's own
    others = {path for path in held if path.startswith("/") and not path.startswith(own)}
    assert others == set()
    assert os.path.basename(os.readlink(f"/proc/{keeper}/exe")) == BINARY.name


def test_a_kept_plan_starts_no_interpreter(detached: Detached, tmp_path: Path) -> None:
    bare = Sandbox(detached.sandbox.cwd, detached.sandbox.environment, Path(shutil.copy(BINARY, tmp_path / "sandbox")))
    # Only a name that is drawn is the same call twice.
    for _ in range(2):
        assert detached.wait(detached("sh", "-c", "exit 4")) == 4
    result = bare("run", "--detach", "sh", "-c", "exit 5")

    assert (result.returncode, result.stderr) == (0, "")
    assert detached.wait(result.stdout.strip()) == 5


@pytest.mark.parametrize("init", ["--init", "--no-init"])
@pytest.mark.parametrize("words", [["nosuchcommand"], ["/etc/passwd"], ["--", ""]])
def test_what_cannot_be_started_is_told_as_in_the_foreground(detached: Detached, words: list[str], init: str) -> None:
    for _ in range(2):  # without a kept plan, and with one
        foreground = detached.sandbox("run", init, *words)
        result = detached.sandbox("run", init, "-d", *words)

        assert result.returncode == foreground.returncode != 0
        assert result.stderr == foreground.stderr != ""
        assert result.stdout == ""
        assert list(detached.containers.iterdir()) == []


def test_what_the_kernel_refuses_is_told_too(detached: Detached, project: Path) -> None:
    (project / "p.toml").write_text(
        'extends = "build"\n[limits]\nrlimits = { nofile = { soft = 9, hard = 99999999 } }\n'
    )
    foreground = detached.sandbox("run", "-p", "./p.toml", "true")
    result = detached.sandbox("run", "-d", "-p", "./p.toml", "true")

    assert foreground.returncode == result.returncode == 125
    assert "nofile" in result.stderr
    assert result.stderr == foreground.stderr
    assert list(detached.containers.iterdir()) == []


def test_notices_are_the_callers_to_hear(detached: Detached, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[limits]\nunified = { "rdma.max" = "max" }\n')
    foreground = detached.sandbox("run", "-p", "./p.toml", "true")
    result = detached.sandbox("run", "-d", "-p", "./p.toml", "--name", ONE, "true")

    assert "warning: " in foreground.stderr
    assert (result.stdout, result.stderr) == (f"{ONE}\n", foreground.stderr)


@pytest.mark.parametrize("init", ["--init", "--no-init"])
def test_a_command_that_ends_at_once_was_started(detached: Detached, init: str) -> None:
    for status in (0, 1, 3) * 3:
        assert detached.wait(detached(init, "sh", "-c", f"exit {status}")) == status


def test_closed_streams(detached: Detached) -> None:
    script = f"{BINARY} run -d --name {ONE} cat <&- >&- 2>&-; echo $?"
    result = subprocess.run(
        ["sh", "-c", script],
        env=detached.sandbox.environment,
        cwd=detached.sandbox.cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert (result.stdout, result.stderr) == ("0\n", "")
    assert detached.wait(ONE) == 0  # its input is empty


def test_an_id_that_cannot_be_told_is_in_the_error(detached: Detached) -> None:
    with open("/dev/full", "w") as full:
        process = detached.sandbox.popen("run", "-d", "--name", ONE, "sleep", "60", stdout=full)
        _, stderr = process.communicate(timeout=30)

    assert process.returncode == 125
    assert stderr == f"sandbox: {ONE} runs, but standard output cannot be written: No space left on device\n"
    assert detached.inspect(ONE)["status"] == "running"


def test_its_directory_inside_is_the_callers(detached: Detached, project: Path) -> None:
    (project / "tool").write_text("#!/bin/sh\npwd; cat note\n")
    (project / "tool").chmod(0o755)
    (project / "note").write_text("here\n")
    name = detached("./tool")
    detached.settle(name)

    assert detached.log(name) == (f"{project}\nhere\n", "")


# --- the end ---


def test_the_result_is_a_report(detached: Detached) -> None:
    name = detached("sh", "-c", "sleep 0.3; exit 3")
    assert detached.wait(name) == 3
    report = msgspec.json.decode((detached.containers / name / "result.json").read_bytes(), type=Report, strict=True)

    assert (report.id, report.command) == (name, ["sh", "-c", "sleep 0.3; exit 3"])
    assert (report.exit.status, report.exit.code, report.exit.signal) == (3, 3, None)
    assert 0.2 < report.usage.wall < 20
    assert report.error is None
    assert any(setting.name == "security.seccomp" and setting.asked == "default" for setting in report.settings)
    assert sorted(path.name for path in (detached.containers / name).iterdir()) == ["log", "result.json", "state.json"]


def test_its_first_process_killed_is_no_success(detached: Detached) -> None:
    name = detached("sleep", "60")
    os.kill(detached.inspect(name)["pid"], signal.SIGKILL)
    assert detached.wait(name) == 125
    result = detached.inspect(name)["result"]

    assert result["error"]["message"] == "the sandbox's first process ended without a report: Killed"
    assert (result["exit"]["code"], result["exit"]["signal"]) == (None, None)


def test_time_limit_and_report(detached: Detached, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    name = detached("--timeout", "300ms", "--report", out, "sleep", "60")

    assert detached.wait(name) == 124
    assert json.loads(out.read_text())["exit"]["timed_out"] is True
    assert json.loads(out.read_text())["exit"] == detached.inspect(name)["result"]["exit"]


def test_a_report_whose_place_cannot_be_is_refused(detached: Detached) -> None:
    result = detached.sandbox("run", "-d", "--report", "/nosuch/r.json", "true")

    assert result.returncode == 125
    assert "/nosuch/r.json" in result.stderr
    assert not detached.containers.exists() or list(detached.containers.iterdir()) == []


def test_what_has_ended_is_listed_on_request(detached: Detached) -> None:
    detached("sh", "-c", "exit 3", name=GONE)
    detached.settle(GONE)
    detached("sleep", "60", name=RUNS)
    running = detached.sandbox("ps", check=True).stdout
    everyone = detached.sandbox("ps", "--all", check=True).stdout
    rows = json.loads(detached.sandbox("ps", "--all", "--json", check=True).stdout)

    assert GONE not in running
    assert RUNS in running
    assert "stopped (3)" in everyone
    (row,) = (row for row in rows if row["id"] == GONE)
    assert (row["status"], row["exit"]["code"], row["pid"]) == ("stopped", 3, 0)
    assert row["ended"] > row["created"]


def test_a_name_that_is_kept_is_taken(detached: Detached) -> None:
    detached("true", name=ONE)
    detached.settle(ONE)
    for options in ([], ["-d"]):
        result = detached.sandbox("run", *options, "--name", ONE, "true")

        assert result.returncode == 125
        assert f"\n  cause: a sandbox named {ONE} has ended and is kept\n  hint: sandbox rm {ONE}, or " in result.stderr
    assert detached.inspect(ONE)["result"]["exit"]["code"] == 0
    detached("--replace", "sh", "-c", "exit 3", name=ONE)
    assert detached.wait(ONE) == 3
    assert detached.sandbox("rm", ONE, check=True).stdout == f"{ONE}\n"
    detached("true", name=ONE)


def test_who_runs_is_not_replaced(detached: Detached) -> None:
    detached("sleep", "60", name=ONE)
    result = detached.sandbox("run", "--replace", "--name", ONE, "true")

    assert result.returncode == 125
    # To end it would not be enough: its name would be kept.
    end = f"choose another name, or end it: sandbox rm --force {ONE}\n"
    assert f"hint: a sandbox named {ONE} is running; {end}" in result.stderr
    assert detached.inspect(ONE)["status"] == "running"


def test_rm_at_the_start_keeps_nothing(detached: Detached, project: Path) -> None:
    name = detached("--rm", "sh", "-c", "until [ -e go ]; do sleep 0.05; done; exit 7")
    waiting = detached.sandbox.popen("wait", name)
    wait_until(lambda: "pidfd" in " ".join(open_files(waiting.pid)))
    (project / "go").touch()

    assert waiting.communicate(timeout=30)[0] == "7\n"
    wait_until(lambda: not (detached.containers / name).exists())


def open_files(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue  # closed right now
    return found


def test_wait_for_several(detached: Detached) -> None:
    names = [detached("sh", "-c", f"sleep 0.{5 - status}; exit {status}") for status in (1, 2, 3)]
    result = detached.sandbox("wait", *names, "nosuch")

    assert result.returncode == 125
    assert result.stdout == "1\n2\n3\n"
    assert "no sandbox is called nosuch" in result.stderr
    assert detached.sandbox("wait", *names, check=True).stdout == "1\n2\n3\n"  # once more, of what is kept


def test_rm(detached: Detached) -> None:
    detached("sleep", "60", name=RUNS)
    detached("true", name=GONE)
    detached.settle(GONE)
    refused = detached.sandbox("rm", RUNS)
    everyone = detached.sandbox("rm", "--all", check=True)
    forced = detached.sandbox("rm", "--force", RUNS, check=True)

    assert refused.returncode == 125
    assert refused.stderr == f"sandbox: {RUNS} is running\n  hint: end it, too: sandbox rm --force {RUNS}\n"
    assert (everyone.stdout, forced.stdout) == (f"{GONE}\n", f"{RUNS}\n")
    assert list(detached.containers.iterdir()) == []
    assert detached.sandbox("rm", "nosuch").returncode == 125
    assert detached.sandbox("rm").returncode == 125
    assert detached.sandbox("rm", "--all", "x").returncode == 125


def test_rm_leaves_to_others_what_is_theirs(detached: Detached, project: Path) -> None:
    foreground = detached.sandbox.popen("run", "--name", FRONT, "sh", "-c", "echo > up; sleep 60")
    wait_until((project / "up").exists)
    assert detached.sandbox("rm", "--all", "--force", check=True).stdout == ""
    assert foreground.poll() is None
    assert detached.sandbox("rm", "--force", FRONT, check=True).stdout == f"{FRONT}\n"

    assert foreground.wait(20) == 137


def test_twenty_at_once(detached: Detached) -> None:
    starting = [detached.sandbox.popen("run", "-d", "sh", "-c", "echo up; sleep 60") for _ in range(20)]
    names = {process.communicate(timeout=60)[0].strip() for process in starting}
    listed = set(detached.sandbox("ps", "--quiet", check=True).stdout.split())
    removed = set(detached.sandbox("rm", "--all", "--force", check=True).stdout.split())

    assert len(names) == 20
    assert names == listed == removed
    assert list(detached.containers.iterdir()) == []


# --- a keeper that is killed ---


@pytest.mark.parametrize("when", ["runs", "rotates"])
def test_a_keeper_that_is_killed_leaves_nothing(detached: Detached, when: str) -> None:
    words = ["sleep", "60"] if when == "runs" else ["sh", "-c", "while :; do echo 0123456789; done"]
    name = detached("--log-size", "64K", *words)
    if when == "rotates":
        wait_until((detached.containers / name / "log.1").exists)
    first = detached.inspect(name)["pid"]
    os.kill(detached.keeper(name), signal.SIGKILL)
    wait_until(lambda: look(first) is None or look(first)[0] == "Z")  # who adopts it is not quick
    result = detached.sandbox("ps", "--all", check=True)

    assert name not in result.stdout
    assert list(detached.containers.iterdir()) == []


def test_the_name_of_one_whose_keeper_was_killed_is_free(detached: Detached) -> None:
    detached("sleep", "60", name=ONE)
    os.kill(detached.keeper(ONE), signal.SIGKILL)

    assert detached.wait(detached("sh", "-c", "exit 3", name=ONE)) == 3


# --- those who look at it ---


def test_exec_kill_and_inspect(detached: Detached) -> None:
    detached("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done", name=ONE)
    assert detached.sandbox("exec", ONE, "sh", "-c", "echo in; exit 5").stdout == "in\n"
    known = detached.inspect(ONE)
    assert detached.sandbox("kill", ONE, check=True).stderr == ""

    assert (known["detached"], known["result"]) == (True, None)
    assert known["log"] == str(detached.containers / f"{ONE}/log")
    assert detached.wait(ONE) == 9
    assert f"{ONE}: has ended" in detached.sandbox("kill", ONE).stderr
    assert f"{ONE} has ended" in detached.sandbox("exec", ONE, "true").stderr


def test_the_api(detached: Detached, containers: Containers, runtime_dir: Path) -> None:
    detached("sh", "-c", "echo out; echo err >&2; sleep 0.5; exit 3", name=ONE)
    one = containers.load(ONE)
    assert one.status() == Status.RUNNING
    with pytest.raises(WrongStatus):
        one.destroy()

    assert one.wait(20) == 3
    detached.settle(ONE)
    assert one.status() == Status.STOPPED
    assert one.result()["exit"]["status"] == 3
    assert {(entry.stream, entry.text, entry.whole) for entry in one.logs()} == {
        ("stdout", b"out", True),
        ("stderr", b"err", True),
    }
    again = Container.load(ONE, root=runtime_dir / "sandbox")
    assert again.wait() == 3
    again.destroy()
    assert ONE not in containers
    with pytest.raises(NoSuchContainer):
        again.status()


def test_who_is_not_detached_has_no_log(detached: Detached, containers: Containers, project: Path) -> None:
    process = detached.sandbox.popen("run", "--name", FRONT, "sh", "-c", "echo > up; sleep 60")
    wait_until((project / "up").exists)
    with pytest.raises(NotSupported):
        containers.load(FRONT).logs()
    assert containers.load(FRONT).result() == {}
    for verb in ("logs", "attach"):
        result = detached.sandbox(verb, FRONT)
        assert result.returncode == 125
        assert "--detach" in result.stderr
    process.terminate()
    process.wait(20)


def test_an_engine_sees_one_that_has_ended_and_removes_it(detached: Detached) -> None:
    detached("true", name=ONE)
    detached.settle(ONE)
    engine = Sandbox(detached.sandbox.cwd, detached.sandbox.environment, BINARY.with_name("sandbox-oci"))

    assert json.loads(engine("state", ONE, check=True).stdout)["status"] == "stopped"
    assert engine("delete", ONE, check=True).stderr == ""
    assert list(detached.containers.iterdir()) == []


def test_who_starts_next_leaves_the_ended_alone(detached: Detached) -> None:
    detached("true", name=ONE)
    detached.settle(ONE)
    for _ in range(5):
        detached.sandbox("run", "true", check=True)

    assert detached.inspect(ONE)["result"]["exit"]["code"] == 0


def test_a_keeper_is_small(detached: Detached) -> None:
    """Also when it has passed on a good deal."""
    name = detached("sh", "-c", "seq 100000; echo done >&2; sleep 60")
    wait_until(lambda: "done" in detached.log(name, "--stderr")[1])
    rollup = Path(f"/proc/{detached.keeper(name)}/smaps_rollup").read_text()
    (size,) = (int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))

    assert size <= MOST_KB


def test_a_tool_that_is_not_detached_passes_over_what_is_for_one(sandbox: Sandbox) -> None:
    """As people write who know podman."""
    assert sandbox("run", "--rm", "--interactive", "cat", input="x").stdout == "x"
