"""A sandbox in a scope of the user's systemd: it is there while it runs, and nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from user_manager_world import UserManager, running

pytestmark = needs("userns", "user_manager")

WAIT = ("sh", "-c", "cat /proc/self/cgroup > $0; read line", "inside")


class Caller:
    """Somebody in a unit that systemd manages, always the same one: beside that no cgroup can be made."""

    def __init__(self, manager: UserManager, sandbox: Sandbox, project: Path) -> None:
        self.manager = manager
        self.sandbox = sandbox
        self.project = project
        self.started: list[subprocess.Popen[str]] = []

    def command(self, *words: str, before: tuple[str, ...] = ()) -> list[str]:
        unit = f"caller-{os.getpid()}-{len(self.started)}"  # of one command after another the same
        scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect", f"--unit={unit}", "--"]
        settings = [f"{name}={value}" for name, value in self.sandbox.environment.items()]
        return [*scope, "env", "-u", "DBUS_SESSION_BUS_ADDRESS", *settings, *before, str(self.sandbox.binary), *words]

    def __call__(self, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, before=before),
            cwd=self.project,
            env={**os.environ, **self.manager.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *words: str, inside: str = "inside") -> subprocess.Popen[str]:
        """Start one with a report, which is why it has a cgroup; return when its command runs."""
        process = subprocess.Popen(
            self.command("run", "--report", f"{inside}.json", *words, *WAIT[:-1], inside),
            cwd=self.project,
            env={**os.environ, **self.manager.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        end = time.monotonic() + 30
        while not (self.project / inside).exists() or not (self.project / inside).read_text():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.01)
        return process

    def scope_of(self, name: str) -> Path:
        """Return the directory of a scope that is there."""
        return self.manager.directory(f"sandbox-{name}.scope")

    def nothing_is_left(self) -> bool:
        return not self.manager.wait_for_none() and not self.manager.failed()


@pytest.fixture
def caller(user_manager: UserManager, sandbox: Sandbox, project: Path) -> Iterator[Caller]:
    caller = Caller(user_manager, sandbox, project)
    yield caller
    for process in caller.started:
        process.kill()
        process.communicate()


def state(runtime_dir: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((runtime_dir / f"sandbox/containers/{name}/state.json").read_text())
    return found


def finish(process: subprocess.Popen[str]) -> None:
    _, stderr = process.communicate("\n", timeout=30)
    assert process.returncode == 0, stderr


def test_it_is_there_while_the_sandbox_runs_and_gone_afterwards(
    caller: Caller, project: Path, runtime_dir: Path
) -> None:
    process = caller.start("--name", "box")
    directory = caller.scope_of("box")
    record = state(runtime_dir, "box")
    shown = dict(
        line.split("=", 1)
        for line in caller.manager.systemctl(
            "show", "-p", "Slice,Delegate,Description,CollectMode,TasksMax,ActiveState", "sandbox-box.scope"
        ).splitlines()
    )

    assert directory.is_relative_to(caller.manager.cgroup)
    assert record["cgroup"] == f"{directory}/container"
    assert record["scope"] == "sandbox-box.scope"
    assert (directory / "container/cgroup.procs").read_text().split()
    assert not (directory / "cgroup.procs").read_text()
    assert not (directory / "keeper").exists()  # a monitor that stays with its caller stays in its caller's unit
    assert shown == {
        "Slice": "app.slice",
        "Delegate": "yes",
        "Description": "sandbox box",
        "CollectMode": "inactive-or-failed",
        "TasksMax": "infinity",
        "ActiveState": "active",
    }
    # Inside, its own cgroup is the root of all.
    assert "0::/" in (project / "inside").read_text().splitlines()
    finish(process)
    assert caller.nothing_is_left()
    assert not directory.exists()


def test_of_a_name_that_is_drawn_too(caller: Caller, runtime_dir: Path) -> None:
    processes = [caller.start(inside="one"), caller.start(inside="two")]
    units = caller.manager.units()
    names = {path.name for path in (runtime_dir / "sandbox/containers").iterdir()}

    assert {re.fullmatch(r"sandbox-(s[0-9a-f]{8})\.scope", unit)[1] for unit in units} == names  # type: ignore[index]
    assert len(names) == 2
    for process in processes:
        finish(process)
    assert caller.nothing_is_left()


@needs("strace")
def test_a_kept_plan_starts_no_interpreter(caller: Caller, project: Path) -> None:
    # By one unit: where the caller is, is what the plan was made from.
    traced = ("strace", "-f", "-qq", "-e", "trace=execve,connect", "-o", str(project / "trace"))
    for expected in (True, False):
        result = caller("run", "--report", "r.json", "--", "cat", "/proc/self/cgroup", before=traced)
        trace = (project / "trace").read_text()
        assert result.returncode == 0, result.stderr
        assert "0::/\n" in result.stdout
        assert ("python" in trace) is expected, trace
        assert trace.count('/bus"') >= 1
    assert caller.nothing_is_left()


def test_nothing_is_left_of_one_whose_monitor_was_killed(caller: Caller, sandbox: Sandbox, runtime_dir: Path) -> None:
    process = caller.start("--name", "box")
    directory = caller.scope_of("box")
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    assert caller.nothing_is_left()
    assert not directory.exists()
    assert sandbox("run", "true").returncode == 0  # which looks after what others have left
    assert not list((runtime_dir / "sandbox/containers").iterdir())


def test_a_scope_that_is_killed_from_outside_is_the_end_of_the_sandbox(caller: Caller) -> None:
    process = caller.start("--name", "box")
    caller.manager.systemctl("kill", "--signal=KILL", "sandbox-box.scope")
    process.communicate(timeout=30)

    assert process.returncode in (125, 137)
    assert caller.nothing_is_left()


def keeper_of(directory: Path) -> int:
    (keeper,) = (directory / "keeper/cgroup.procs").read_text().split()
    return int(keeper)


def test_one_that_is_detached_is_in_its_scope_with_its_keeper(
    caller: Caller, sandbox: Sandbox, runtime_dir: Path
) -> None:
    """Also where a cgroup beside the caller's could be had: that goes with the caller's unit."""
    started = sandbox("run", "--detach", "--", "sleep", "60")
    name = started.stdout.strip()
    directory = caller.scope_of(name)
    keeper = keeper_of(directory)

    assert started.returncode == 0, started.stderr
    assert caller.manager.units() == [f"sandbox-{name}.scope"]
    assert "sandbox" in Path(f"/proc/{keeper}/cmdline").read_text()
    assert len((directory / "container/cgroup.procs").read_text().split()) >= 2
    assert sandbox("rm", "--force", name).returncode == 0
    assert caller.nothing_is_left()
    assert not directory.exists()


def test_the_end_of_a_detached_one_is_that_of_its_scope(caller: Caller, sandbox: Sandbox) -> None:
    name = sandbox("run", "--detach", "sh", "-c", "exit 3").stdout.strip()

    assert sandbox("wait", name).stdout.strip() == "3"
    assert caller.nothing_is_left()
    assert sandbox("rm", name).returncode == 0


def test_nothing_is_left_of_one_whose_keeper_was_killed(caller: Caller, sandbox: Sandbox, runtime_dir: Path) -> None:
    name = sandbox("run", "--detach", "sleep", "60").stdout.strip()
    directory = caller.scope_of(name)
    os.kill(keeper_of(directory), signal.SIGKILL)

    assert caller.nothing_is_left()
    assert not directory.exists()
    assert sandbox("run", "true").returncode == 0
    assert not list((runtime_dir / "sandbox/containers").iterdir())


def test_a_name_that_another_unit_has(caller: Caller) -> None:
    other = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "--unit=sandbox-box", "sleep", "60"]
    with subprocess.Popen(other, env={**os.environ, **caller.manager.environment}) as blocking:
        end = time.monotonic() + 20
        while caller.manager.units() != ["sandbox-box.scope"] and time.monotonic() < end:
            time.sleep(0.02)
        result = caller("run", "--report", "r.json", "--name", "box", "true")
        blocking.kill()

    assert result.returncode == 125
    assert re.search(
        r"cannot have systemd make the scope sandbox-box\.scope: org\.freedesktop\.systemd1\.UnitExists: ",
        result.stderr,
    )
    assert (
        "hint: choose another name, or end what has that one: systemctl --user stop sandbox-box.scope" in result.stderr
    )
    assert caller.nothing_is_left()


def test_every_character_of_a_name(caller: Caller) -> None:
    process = caller.start("--name", "a.b_c-d+e")

    assert caller.manager.units() == ["sandbox-a.b_c-d:e.scope"]
    finish(process)
    assert caller.nothing_is_left()


@needs("cgroup2")
def test_the_manager_ends_meanwhile(runtime_dir: Path, sandbox: Sandbox, project: Path) -> None:
    """What runs goes on: it needs systemd no more."""
    with running(runtime_dir, own=True) as manager:
        caller = Caller(manager, sandbox, project)
        process = caller.start("--name", "box")
        assert manager.process is not None
        manager.process.kill()
        manager.process.wait()
        finish(process)
        # Its socket is there still, and nobody behind it: the plan is not what it was made from.
        result = caller_without_manager(sandbox, manager)

    assert result.returncode == 0, result.stderr


def caller_without_manager(sandbox: Sandbox, manager: UserManager) -> subprocess.CompletedProcess[str]:
    script = 'mkdir "$0/app.slice/left.scope" && echo $$ >"$0/app.slice/left.scope/cgroup.procs" && exec "$@"'
    return subprocess.run(
        ["sh", "-c", script, str(manager.cgroup), str(sandbox.binary), "run", "--report", "r.json", "true"],
        cwd=sandbox.cwd,
        env=sandbox.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_bus_it_is_said_why_and_what_to_do(
    sandbox: Sandbox, project: Path, runtime_dir: Path, user_manager: UserManager
) -> None:
    """As in a cron job, or behind su."""
    (project / "p.toml").write_text("extends = 'build'\n[limits]\nmemory = '64M'\n")
    caller = Caller(user_manager, sandbox, project)
    hidden = runtime_dir / "elsewhere"
    hidden.mkdir(mode=0o700)
    sandbox.environment["XDG_RUNTIME_DIR"] = str(hidden)
    result = caller("run", "-p", "./p.toml", "true")
    strict = caller("run", "--strict", "-p", "./p.toml", "true")

    if user_manager.own:  # found all the same, below /run/user
        assert result.returncode == strict.returncode == 0, result.stderr + strict.stderr
        return
    assert result.returncode == 0, result.stderr
    assert "limits.memory: is not in force" in result.stderr
    assert f"cause: there is no {hidden}/bus and no /run/user/" in result.stderr
    assert "enable-linger" in result.stderr
    assert strict.returncode == 125
    assert "enable-linger" in strict.stderr
    assert caller.nothing_is_left()
