"""In the guest: limits in scopes of systemd's, from where a user comes from, and podman with its own way to manage cgroups."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from podman_world import wait_until
from test_podman_systemd import FOREVER, Systemd, podman, storage
from test_scope import Caller, caller
from user_manager_world import UserManager

__all__ = ["caller", "podman", "storage"]  # fixtures

PROFILE = """extends = "build"
[limits]
memory = "96M"
pids = 40
cpus = 0.5
"""
EATER = "import sys; held = [bytearray(1 << 20) for _ in range(int(sys.argv[1]))]; print('held', flush=True)"


@pytest.fixture
def profile(project: Path) -> str:
    (project / "p.toml").write_text(PROFILE)
    return "./p.toml"


def test_limits_are_in_force_in_the_scopes_child(caller: Caller, profile: str) -> None:
    process = caller.start("--name", "limited", "-p", profile)
    directory = caller.scope_of("limited")
    found = {
        name: (directory / "container" / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")
    }
    of_the_scope = (directory / "pids.max").read_text().strip()
    process.communicate("\n", timeout=60)

    assert found == {"memory.max": str(96 << 20), "pids.max": "40", "cpu.max": "50000 100000"}
    assert of_the_scope == "max"
    assert process.returncode == 0
    assert caller.nothing_is_left()


def test_a_limit_on_memory_is_reached(caller: Caller, profile: str) -> None:
    within = caller("run", "-p", profile, "python3", "-c", EATER, "20")
    beyond = caller("run", "-p", profile, "python3", "-c", EATER, "200")

    assert within.returncode == 0, within.stderr
    assert within.stdout == "held\n"
    assert beyond.returncode == 137, beyond.stderr
    assert caller.nothing_is_left()


def test_without_anything_of_the_session_in_the_environment(
    user_manager: UserManager, caller: Caller, profile: str
) -> None:
    """As cron starts it, for a user who lingers."""
    words = caller.command("run", "-p", profile, "true")
    bare = [word for word in words if not word.startswith("XDG_RUNTIME_DIR=")]
    bare.insert(bare.index("env") + 1, "-u")
    bare.insert(bare.index("env") + 2, "XDG_RUNTIME_DIR")
    result = subprocess.run(
        bare,
        cwd=caller.project,
        env={**os.environ, **user_manager.environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")


# --- podman ---


def test_podman_runs_a_container_in_a_scope(podman: Systemd) -> None:
    result = podman.run(
        "--memory=64m",
        "--pids-limit=30",
        script="cat /proc/self/cgroup /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max",
    )

    assert result.stdout.split() == ["0::/", str(64 << 20), "30"]


def test_podman_changes_watches_and_stops_it(podman: Systemd) -> None:
    podman.start("--memory=64m", script=FOREVER)
    directory = podman.directory()
    joined = podman("exec", "c", "cat", "/proc/self/cgroup").stdout
    stats = json.loads(podman("stats", "--no-stream", "--format=json", "c").stdout)
    podman("update", "--memory=80m", "c")
    # Where the limit holds, and where podman looks.
    changed = [(directory / name).read_text() for name in ("container/memory.max", "memory.max")]
    podman("pause", "c")
    paused = podman.inspect()["State"]["Status"]
    podman("unpause", "c")
    podman("stop", "--time=20", "c")
    podman("rm", "c")

    assert directory.name.startswith("libpod-")
    assert directory.name.endswith(".scope")
    assert "0::/" in joined.split()
    assert stats[0]["mem_usage"].split(" / ")[1] in ("67.11MB", "67.1MB"), stats
    assert [int(limit) for limit in changed] == [80 << 20] * 2
    assert paused == "paused"
    wait_until(lambda: not directory.exists(), f"the end of {directory}")


def test_podman_limits_a_pod(podman: Systemd) -> None:
    podman("pod", "create", "--name=p", "--memory=128m", "--infra=false", check=False)
    result = podman(
        "run", "--rm", "--pod=p", "--memory=64m", "busybox", "cat", "/sys/fs/cgroup/memory.max", check=False
    )
    podman("pod", "rm", "--force", "p")

    assert result.stdout.strip() == str(64 << 20), result.stderr
