"""Limits that are reached, and a service with limits, where there are controllers and a user manager: in the guest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from user_manager_world import UserManager

pytestmark = needs("userns", "user_manager", "cgroup_memory", "cgroup_pids")

EATER = "data = []\nwhile True: data.append(bytearray(1 << 20)); data[-1][::4096] = b'x' * 256"
# A parent that looks how its child ended, and goes on if it may.
PARENT = f"""
import subprocess, sys
child = subprocess.run([sys.executable, "-c", {EATER!r}])
print("child", child.returncode, flush=True)
sys.exit(7)
"""
BOMB = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("up", flush=True)
end = time.monotonic() + 12
refused = 0
while time.monotonic() < end:
    try:
        if os.fork() == 0:
            continue
    except OSError:
        refused += 1
        time.sleep(0.001)
os._exit(0 if refused else 9)
"""


NAME = f"oom-{os.getpid()}"


def left(sandbox: Sandbox, manager: UserManager) -> dict[str, object]:
    """Return what is left of this test's sandboxes, once the manager, which others use too, has had its time."""
    return {
        "units": manager.wait_for_none(f"sandbox-{NAME}*"),
        "failed": [unit for unit in manager.failed() if NAME in unit],
        "cgroups": [path.name for path in manager.cgroup.rglob(f"sandbox-{NAME}*") if path.is_dir()],
        "sandboxes": sandbox("ps", "--all", "--quiet", check=True).stdout.split(),
    }


NOTHING = {"units": [], "failed": [], "cgroups": [], "sandboxes": []}


@pytest.fixture
def service(user_manager: UserManager) -> Iterator[Path]:
    """Return where a unit is put; it is removed afterwards."""
    directory = Path(user_manager.environment["XDG_RUNTIME_DIR"]) / ("systemd/user" if user_manager.own else "units")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "sandbox-test-limits.service"
    yield path
    user_manager.systemctl("stop", path.name, check=False)
    path.unlink(missing_ok=True)
    user_manager.systemctl("daemon-reload")
    user_manager.systemctl("reset-failed", path.name, check=False)


# --- memory ---


@pytest.mark.parametrize("detached", [False, True])
def test_with_oom_group_the_whole_sandbox_ends(sandbox: Sandbox, user_manager: UserManager, *, detached: bool) -> None:
    words = ["--name", NAME, "--memory", "48M", "--swap", "0", "python3", "-c", PARENT]
    if detached:
        sandbox("run", "--detach", *words, check=True)
        assert sandbox("wait", NAME, timeout=120).stdout == "137\n"
        said = sandbox("logs", NAME, check=True).stdout
        sandbox("rm", NAME, check=True)
    else:
        result = sandbox("run", *words, timeout=120)
        assert result.returncode == 137, result.stderr
        assert "out of memory" in result.stderr
        said = result.stdout

    assert "child" not in said
    assert left(sandbox, user_manager) == NOTHING


def test_without_oom_group_the_rest_goes_on(sandbox: Sandbox, user_manager: UserManager, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[limits]\nmemory = "48M"\nswap = "0"\noom_group = false\n')
    result = sandbox("run", "--name", NAME, "-p", "./p.toml", "python3", "-c", PARENT, timeout=120)

    assert (result.returncode, result.stdout) == (7, "child -9\n"), result.stderr
    assert left(sandbox, user_manager) == NOTHING


# --- processes ---


def test_a_fork_bomb_leaves_the_host_usable_and_ends(sandbox: Sandbox, user_manager: UserManager) -> None:
    def latency() -> float:
        started = time.monotonic()
        subprocess.run([sys.executable, "-S", "-c", ""], check=True)
        return time.monotonic() - started

    quiet = sorted(latency() for _ in range(5))[2]
    sandbox("run", "--detach", "--name", NAME, "--pids", "40", "--cpus", "0.5", "python3", "-c", BOMB, check=True)
    end = time.monotonic() + 60
    while "up" not in sandbox("logs", NAME).stdout:
        assert time.monotonic() < end
        time.sleep(0.1)
    cgroup = user_manager.directory(f"sandbox-{NAME}.scope") / "container"
    full = time.monotonic() + 30
    while int((cgroup / "pids.current").read_text()) < 40:
        assert time.monotonic() < full
        time.sleep(0.05)
    loud = sorted(latency() for _ in range(5))[2]

    assert int((cgroup / "pids.current").read_text()) <= 40
    assert loud < 5 * quiet + 1, (quiet, loud)
    sandbox("rm", "--force", NAME, check=True)
    assert not cgroup.exists()
    assert left(sandbox, user_manager) == NOTHING


# --- a service ---


def test_the_limits_of_a_service_are_in_force_within_its_own_cgroup(
    sandbox: Sandbox, user_manager: UserManager, service: Path
) -> None:
    script = "echo up; while :; do sleep 0.2; done"
    words = ["--name", NAME, "--memory", "64M", "--pids", "30", "build", "--", "sh", "-c", script]
    text = sandbox(
        "generate", "systemd", "--unit", "test-limits", *[w for w in words if w not in ("--name", NAME)], check=True
    ).stdout
    service.write_text(text)
    analysis = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", str(service)],
        env={**os.environ, **user_manager.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (analysis.returncode, analysis.stderr) == (0, "")
    user_manager.systemctl("daemon-reload")
    for _ in range(2):
        user_manager.systemctl("start", service.name)
        found = json.loads(sandbox("ps", "--json", env=user_manager.environment, check=True).stdout)
        assert len(found) == 1
        unit = user_manager.directory(service.name)
        record = json.loads(sandbox("inspect", found[0]["id"], env=user_manager.environment, check=True).stdout)
        cgroup = Path(record["cgroup"])
        if "DelegateSubgroup" in text:  # else it is in a scope
            assert cgroup.is_relative_to(unit)
        assert (cgroup / "memory.max").read_text() == f"{64 << 20}\n"
        assert (cgroup / "pids.max").read_text() == "30\n"
        assert "active (running)" in user_manager.systemctl("status", service.name)
        user_manager.systemctl("stop", service.name)
        assert not unit.exists()
        assert not cgroup.exists()
    assert user_manager.systemctl("show", "-P", "Result", service.name) == "success\n"


def test_a_service_that_the_manager_freezes_can_be_stopped(
    sandbox: Sandbox, user_manager: UserManager, service: Path
) -> None:
    text = sandbox(
        "generate", "systemd", "--unit", "test-limits", "--pids", "30", "build", "--", "sleep", "1000", check=True
    ).stdout
    service.write_text(text)
    user_manager.systemctl("daemon-reload")
    user_manager.systemctl("start", service.name)
    unit = user_manager.directory(service.name)
    user_manager.systemctl("freeze", service.name)
    user_manager.systemctl("thaw", service.name)
    (unit / "cgroup.freeze").write_text("1")
    user_manager.systemctl("kill", "--signal=KILL", service.name)
    end = time.monotonic() + 60
    while unit.exists() and (unit / "cgroup.procs").exists() and "populated 1" in (unit / "cgroup.events").read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
