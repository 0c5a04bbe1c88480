"""What may happen to a sandbox's cgroup, its scope, and the disk that holds its log, and what is left of it then: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from user_manager_world import UserManager

NAME = f"web-{os.getpid()}"  # others may be at work at the same manager
MANY = 30 if "SANDBOX_GUEST" in os.environ else 200  # emulated, everything takes ten times as long


class World:
    """Sandboxes in scopes of a user manager."""

    def __init__(self, manager: UserManager, sandbox: Sandbox) -> None:
        self.manager = manager
        self.sandbox = sandbox

    def detach(self, *words: str, name: str = NAME) -> Path:
        """Start one, and return the directory of its scope."""
        self.sandbox("run", "--detach", "--name", name, *words, check=True)
        return self.manager.directory(f"sandbox-{name}.scope")

    def foreground(self, *words: str) -> subprocess.Popen[str]:
        """Start one in the foreground, by a caller in a unit of the manager's."""
        scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "--"]
        environment = [f"{name}={value}" for name, value in self.sandbox.environment.items()]
        return subprocess.Popen(
            [*scope, "env", "-u", "DBUS_SESSION_BUS_ADDRESS", *environment, str(self.sandbox.binary), "run", *words],
            cwd=self.sandbox.cwd,
            env={**os.environ, **self.manager.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self, name: str = NAME) -> str:
        """Return what `ps` says of one."""
        found = json.loads(self.sandbox("ps", "--all", "--json", check=True).stdout)
        return next((row["status"] for row in found if row["id"] == name), "gone")

    def assert_clean(self) -> None:
        """Nothing is left: no unit, loaded or failed, no cgroup; of the rest `_leftovers` sees to it."""
        assert self.manager.wait_for_none(f"sandbox-{NAME}*") == []
        assert [unit for unit in self.manager.failed() if NAME in unit] == []
        assert [path for path in self.manager.cgroup.rglob(f"sandbox-{NAME}*") if path.is_dir()] == []
        assert self.sandbox("ps", "--all", "--quiet", check=True).stdout == ""


@pytest.fixture
def world(user_manager: UserManager, sandbox: Sandbox) -> Iterator[World]:
    world = World(user_manager, sandbox)
    yield world
    sandbox("rm", "--all", "--force")
    user_manager.systemctl("reset-failed", check=False)


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "that did not come"
        time.sleep(0.02)


ENDS_WELL = ("sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")
pytestmark = needs("userns", "user_manager")


# --- the scope, from outside ---


def test_a_scope_that_is_killed_is_gone_with_all_that_was_written_of_it(world: World) -> None:
    world.detach(*ENDS_WELL)
    world.manager.systemctl("kill", "--signal=KILL", f"sandbox-{NAME}.scope", check=False)  # it may go meanwhile
    until(lambda: world.status() == "gone")

    world.assert_clean()


def test_a_scope_that_is_stopped_ends_its_sandbox_in_order(world: World) -> None:
    world.detach(*ENDS_WELL)
    until(lambda: world.sandbox("logs", NAME).stdout == "up\n")
    world.manager.systemctl("stop", f"sandbox-{NAME}.scope")

    assert world.sandbox("wait", NAME).stdout == "3\n"
    assert world.sandbox("logs", NAME).stdout == "up\n"
    world.sandbox("rm", NAME, check=True)
    world.assert_clean()


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_a_sandbox_in_the_foreground_ends_with_its_scope(world: World, action: str) -> None:
    process = world.foreground("--name", NAME, "--report", "report.json", *ENDS_WELL)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    if action == "kill":
        world.manager.systemctl("kill", "--signal=KILL", f"sandbox-{NAME}.scope", check=False)  # it may go meanwhile
    else:
        world.manager.systemctl("stop", f"sandbox-{NAME}.scope")
    _, errors = process.communicate(timeout=20)

    if action == "kill":  # its process 1 was killed too: an end without a report
        assert process.returncode == 125
        assert "Killed" in errors
    else:
        assert process.returncode == 3
    world.assert_clean()


# --- the cgroup ---


def test_a_cgroup_that_was_emptied_and_removed_is_not_missed(world: World) -> None:
    scope = world.detach(*ENDS_WELL)
    until(lambda: world.sandbox("logs", NAME).stdout == "up\n")
    container = scope / "container"
    while pids := (container / "cgroup.procs").read_text().split():
        for pid in pids:
            try:
                (scope / "keeper/cgroup.procs").write_text(pid)
            except ProcessLookupError:
                continue
    container.rmdir()

    assert world.status() == "running"
    # Whoever joined would be in no cgroup, and so under no limit.
    result = world.sandbox("exec", NAME, "echo", "here")
    assert (result.returncode, result.stdout) == (125, "")
    assert str(container) in result.stderr
    world.sandbox("kill", NAME, check=True)
    assert world.sandbox("wait", NAME).stdout == "3\n"
    world.sandbox("rm", NAME, check=True)
    world.assert_clean()


def test_a_cgroup_that_was_killed_and_removed_ends_its_sandbox(world: World) -> None:
    scope = world.detach(*ENDS_WELL)
    (scope / "container/cgroup.kill").write_text("1")

    def removed() -> bool:
        try:
            (scope / "container").rmdir()
        except FileNotFoundError:
            return True
        except OSError:  # it dies yet
            return False
        return True

    until(removed)
    until(lambda: world.status() == "stopped")
    assert world.sandbox("wait", NAME).stdout in ("125\n", "137\n")
    world.sandbox("rm", NAME, check=True)
    world.assert_clean()


@pytest.mark.parametrize("frozen", ["container", ""])
@pytest.mark.parametrize("words", [["kill", NAME, "KILL"], ["rm", "--force", NAME]])
def test_what_is_frozen_can_be_ended(world: World, frozen: str, words: list[str]) -> None:
    scope = world.detach("sleep", "1000")
    (scope / frozen / "cgroup.freeze").write_text("1")
    until(lambda: world.status() == "paused")
    started = time.monotonic()
    world.sandbox(*words, check=True)
    if words[0] == "kill":
        assert world.sandbox("wait", NAME).stdout == "137\n"
        world.sandbox("rm", NAME, check=True)

    assert time.monotonic() - started < 8
    world.assert_clean()


# --- the manager ---


@needs("cgroup_pids")
def test_limits_stay_when_the_manager_is_started_anew(world: World) -> None:
    scope = world.detach("--pids", "50", *ENDS_WELL)
    limit = scope / "container/pids.max"
    assert limit.read_text() == "50\n"
    for action in ("daemon-reload", "daemon-reexec"):
        world.manager.systemctl(action)
        until(lambda: world.manager.units(f"sandbox-{NAME}.scope") == [f"sandbox-{NAME}.scope"])
        assert limit.read_text() == "50\n"
        assert world.status() == "running"
        # Another one can be started, and ended.
        world.detach("true", name=f"{NAME}-other")
        until(lambda: world.status(f"{NAME}-other") == "stopped")
        world.sandbox("rm", f"{NAME}-other", check=True)
    world.sandbox("rm", "--force", NAME, check=True)

    world.assert_clean()


def test_a_manager_that_is_gone_takes_no_sandbox_with_it_unasked(world: World) -> None:
    process = world.manager.process
    if process is None:
        return  # a machine's own is not ours to kill; elsewhere this is tried
    world.detach(*ENDS_WELL)
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    assert world.status() == "running"
    result = world.sandbox("run", "--detach", "--name", f"{NAME}-next", "sleep", "1000")
    assert result.returncode == 0, result.stderr
    for name in (NAME, f"{NAME}-next"):
        world.sandbox("rm", "--force", name, check=True)
    assert world.sandbox("ps", "--all", "--quiet").stdout == ""


# --- many ---


def test_many_that_are_detached_and_removed_leave_nothing(world: World) -> None:
    with ThreadPoolExecutor(2) as pool:
        started = list(
            pool.map(lambda n: world.sandbox("run", "--detach", "--name", f"{NAME}-{n}", "sleep", "1000"), range(MANY))
        )
    assert [result.stderr for result in started if result.returncode] == []
    assert len(world.sandbox("ps", "--quiet").stdout.split()) == MANY
    assert len(world.manager.units(f"sandbox-{NAME}-*.scope")) == MANY
    result = world.sandbox("rm", "--all", "--force", timeout=120)

    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == MANY
    world.assert_clean()


# --- the disk that holds the log ---


def test_a_full_disk_ends_the_log_and_not_the_command(sandbox: Sandbox, project: Path) -> None:
    script = """
mount -t tmpfs -o size=2M,mode=700 none "$XDG_RUNTIME_DIR"
"$0" run --detach --name web --log-size 1M sh -c 'echo first; while [ ! -e go ]; do sleep 0.05; done
    i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i + 1)); done; echo done >written; exit 5'
until "$0" logs web | grep -q first; do sleep 0.05; done
dd if=/dev/zero of="$XDG_RUNTIME_DIR/full" bs=64k 2>/dev/null
touch go
echo "wait $("$0" wait web)"
cat written
"$0" ps --all --json
"$0" rm web
ls -A "$XDG_RUNTIME_DIR/sandbox/containers"
"""
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(sandbox.binary)],
        cwd=project,
        env=sandbox.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    lines = result.stdout.splitlines()
    assert lines[1:3] == ["wait 5", "done"], (result.stdout, result.stderr)
    assert '"stopped"' in result.stdout
    assert lines[-1] == "web"  # and no directory behind it
