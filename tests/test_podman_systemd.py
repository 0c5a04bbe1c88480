"""podman whose cgroups systemd makes, by our runtime and by crun: one scope for each container, and none of them left.

Limits by it are in tests/test_guest_scope.py: systemd hands no controller down on the tests' own machine.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import needs
from podman_world import IMAGE, Podman, engine, wait_until
from user_manager_world import UserManager, running

pytestmark = needs("podman", "user_manager", "cgroup2")

FOREVER = "trap 'exit 0' TERM; while :; do usleep 200000; done"


class Systemd(Podman):
    """podman that asks a user manager."""

    manager: UserManager

    def command(self, *args: str | os.PathLike[str]) -> list[str]:
        # podman's own default, which wants a controller.
        if args[0] == "run" and not any(str(word).startswith("--pids-limit") for word in args):
            args = ("run", "--pids-limit=-1", *args[1:])
        program, *words = super().command(*args)
        return [program, "--cgroup-manager=systemd", *words]

    def directory(self, name: str = "c") -> Path:
        """Return the cgroup of a container's scope, by what the process says."""
        pid = self.inspect(name)["State"]["Pid"]
        line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
        path = Path("/sys/fs/cgroup") / line[3:].lstrip("/")
        return path.parent if path.name == "container" else path


@pytest.fixture(scope="module")
def storage() -> Iterator[Systemd]:
    """Return it with a manager, whose bus is in its runtime directory: conmon hands nothing else to a runtime."""
    with engine() as podman:
        runtime = Path(podman.environment["XDG_RUNTIME_DIR"])
        with running(runtime) as manager:
            if manager.own:
                os.link(f"/run/user/{os.getuid()}/bus", runtime / "bus")
            address = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}
            found = Systemd(podman.place, podman.environment | address)
            found.manager = manager
            yield found


@pytest.fixture(params=["crun", "sandbox-oci"])
def podman(request: pytest.FixtureRequest, storage: Systemd) -> Iterator[Systemd]:
    storage.runtime = request.param
    yield storage
    storage.close()
    assert storage.manager.wait_for_none("libpod-*.scope") == []


def test_a_container_has_a_scope_while_it_runs(podman: Systemd) -> None:
    podman.start(script=FOREVER)
    directory = podman.directory()
    unit = f"libpod-{podman.inspect()['Id']}.scope"
    joined = podman("exec", "c", "cat", "/proc/self/cgroup").stdout
    members = (directory / "container/cgroup.procs").read_text().split()
    podman("stop", "--time=20", "c")

    assert directory.name == unit
    assert directory.is_relative_to(podman.manager.cgroup / "user.slice")
    assert "0::/" in joined.split()
    assert str(os.getpid()) not in members
    assert members
    wait_until(lambda: not directory.exists(), f"the end of {directory}")


def test_it_is_paused_and_goes_on(podman: Systemd) -> None:
    podman.start(script=FOREVER)
    podman("pause", "c")
    paused = podman.status()
    podman("unpause", "c")

    assert paused == "paused"
    assert podman.status() == "running"


def test_its_status_and_output_are_the_commands(podman: Systemd) -> None:
    result = podman.run(script="cat /proc/self/cgroup; exit 7", check=False)

    assert result.returncode == 7
    assert "0::/" in result.stdout.split()


def test_in_a_pod_each_has_a_scope(podman: Systemd) -> None:
    podman("pod", "create", "--name=p", "--infra=false")
    podman("run", "--detach", "--pod=p", "--name=c", IMAGE, "sh", "-c", FOREVER)
    directory = podman.directory()
    podman("pod", "rm", "--force", "--time=0", "p")

    # Newer ones make a slice of the pod's own in it.
    assert directory.is_relative_to(podman.manager.cgroup / "user.slice")
    assert directory.name.startswith("libpod-")
    wait_until(lambda: not directory.exists(), f"the end of {directory}")


def test_who_kills_the_scope_ends_the_container(podman: Systemd) -> None:
    podman.start(script=FOREVER)
    unit = podman.directory().name
    podman.manager.systemctl("kill", "--signal=KILL", unit)
    wait_until(lambda: podman.status() == "exited", "the end of the container")

    assert podman.inspect()["State"]["ExitCode"] == 137
    failed = subprocess.run(
        ["systemctl", "--user", "--failed", "--no-legend", "--plain"],
        env={**os.environ, **podman.manager.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert unit not in failed.stdout
