"""In the guest (tests/guest): a user of systemd's, with a manager and every controller delegated, runs sandboxes.

Here the surroundings are the machine's own: XDG_RUNTIME_DIR and the bus are those that the user's manager made.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BINARY
from needs import own_cgroup
from podman_world import Podman, cgroup_parent, engine

CONTROLLERS = {"cpu", "cpuset", "io", "memory", "pids"}
# Twenty times slower than a processor is one that a program plays.
PATIENCE = 300


def call(
    *command: str | os.PathLike[str], cwd: Path | None = None, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"HOME": str(home)} if home else {})}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


# --- what the guest is ---


def test_the_users_manager_runs_and_the_tests_are_a_unit_of_it() -> None:
    shown = call(
        "systemctl", "--user", "show", "--property=ActiveState,Delegate,ControlGroup", "guest-tests.service"
    ).stdout

    settings = dict(line.split("=", 1) for line in shown.splitlines())
    assert settings["ActiveState"] == "active"
    assert settings["Delegate"] == "yes"
    # Of pytest's several processes each has one of its own there.
    assert own_cgroup().is_relative_to(f"/sys/fs/cgroup{settings['ControlGroup']}")
    assert own_cgroup().name == "tests"


def test_the_user_lingers() -> None:
    assert call("loginctl", "show-user", "--property=Linger", str(os.getuid())).stdout == "Linger=yes\n"


def test_every_controller_is_delegated_and_limits() -> None:
    own = own_cgroup()
    assert own is not None
    assert set((own.parent / "cgroup.controllers").read_text().split()) >= CONTROLLERS
    limited = own.parent / "limited"
    limited.mkdir()
    try:
        (limited / "pids.max").write_text("1")
        # The shell is the one; the process that it would make, one too many.
        result = call("sh", "-c", f"echo $$ >{limited}/cgroup.procs; /bin/true; :")
    finally:
        limited.rmdir()

    assert re.search("fork", result.stderr), result


# --- the program in it ---


@pytest.mark.parametrize(
    "unit", [["--scope"], ["--pipe", "--wait", "--same-dir", "--setenv=HOME"]], ids=["scope", "service"]
)
def test_a_sandbox_runs_in_a_unit_of_the_users(project: Path, home: Path, unit: list[str]) -> None:
    (project / "note").write_text("hello\n")

    result = call(
        *("systemd-run", "--user", "--quiet", "--collect", *unit, "--property=Delegate=yes"),
        *(BINARY, "run", "--", "sh", "-c", "cat note; id -u; echo made >new"),
        cwd=project,
        home=home,
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"hello\n{os.getuid()}\n")
    assert (project / "new").read_text() == "made\n"


def test_the_status_of_a_sandbox_is_that_of_its_scope(project: Path, home: Path) -> None:
    scope = ("systemd-run", "--user", "--quiet", "--collect", "--scope", "--property=Delegate=yes")

    assert call(*scope, BINARY, "run", "--", "sh", "-c", "exit 7", cwd=project, home=home).returncode == 7


def test_doctor_says_what_is_true_here() -> None:
    result = call(BINARY, "doctor", "--json")

    assert result.returncode == 0, result
    findings = {entry["name"]: entry for entry in json.loads(result.stdout)["findings"]}
    assert [entry for entry in findings.values() if entry["state"] == "fail"] == []
    for name in (
        "user manager",
        "delegated cgroup",
        "controllers",
        "newuidmap",
        "newgidmap",
        "/dev/net/tun",
        "sandbox run",
    ):
        assert findings[name]["state"] == "ok", findings[name]
    assert findings["surroundings"]["found"] == "the host itself"
    assert findings["user manager"]["found"] == f"reached at /run/user/{os.getuid()}/bus"
    assert set(re.findall(r"\w+", findings["controllers"]["found"])) >= CONTROLLERS
    version = call("criu", "--version").stdout.split()[1]
    assert version in findings["criu"]["found"]


# --- podman ---


@pytest.fixture(scope="module")
def storage() -> Iterator[Podman]:
    with engine() as podman:
        yield podman


@pytest.fixture(params=["crun", "sandbox-oci"])
def podman(request: pytest.FixtureRequest, storage: Podman) -> Iterator[Podman]:
    storage.runtime = request.param
    yield storage
    storage.close()


def test_podman_runs_busybox_in_a_cgroup_with_limits(podman: Podman) -> None:
    limits = ("--memory=64m", "--pids-limit=20", "--cpus=0.5", "--cpuset-cpus=0")

    result = podman.run(
        f"--cgroup-parent={cgroup_parent()}",
        *limits,
        script="cd /sys/fs/cgroup && cat memory.max pids.max cpu.max cpuset.cpus.effective",
        timeout=PATIENCE,
    )

    assert result.stdout == "67108864\n20\n50000 100000\n0\n"


def test_one_process_too_many_is_refused(podman: Podman) -> None:
    result = podman.run(
        f"--cgroup-parent={cgroup_parent()}",
        "--pids-limit=5",
        script="for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; wait",
        check=False,
        timeout=PATIENCE,
    )

    assert "fork" in result.stderr, result
