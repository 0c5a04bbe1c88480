"""`sandbox doctor` and `sandbox run` inside other sandboxes and containers; what they name as the cure is one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken_world import read
from conftest import BINARY, Sandbox
from needs import needs
from podman_world import Podman, engine

pytestmark = needs("userns")

MAIN_JOB = "sandbox run"


@needs("bwrap")
def test_inside_bubblewrap(sandbox: Sandbox) -> None:
    binds = ["--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc"]
    result = subprocess.run(
        ["bwrap", *binds, BINARY, "doctor", "--json"],
        env=sandbox.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    status, found = read(result)

    assert status == 0
    assert found["surroundings"]["found"].startswith("a sandbox of bubblewrap; no_new_privs is set")
    assert found["newuidmap"]["why"].endswith(" belongs to an id that is not mapped in the user namespace around us")
    assert found[MAIN_JOB]["state"] == "ok"


def inside(sandbox: Sandbox, home: Path, nested: str, script: str) -> subprocess.CompletedProcess[str]:
    (home / "nest.toml").write_text(
        f'extends = "build"\n[security]\nnested = {nested}\n[filesystem]\nread = ["{BINARY.parent.parent}"]\n'
    )
    script = f"mkdir -p /tmp/p /tmp/r; chmod 700 /tmp/r; cd /tmp/p; export XDG_RUNTIME_DIR=/tmp/r; {script}"
    return sandbox("run", "-p", str(home / "nest.toml"), "sh", "-c", script)


def test_inside_a_sandbox_that_allows_it(sandbox: Sandbox, home: Path) -> None:
    status, found = read(inside(sandbox, home, "true", f"exec {BINARY} doctor --json"))

    assert status == 0, [finding for finding in found.values() if finding["state"] == "fail"]
    assert found["surroundings"]["found"].startswith("a sandbox of this program;")
    assert found[MAIN_JOB]["state"] == "ok"


def test_inside_a_sandbox_that_does_not(sandbox: Sandbox, home: Path) -> None:
    status, found = read(inside(sandbox, home, "false", f"exec {BINARY} doctor --json"))
    result = inside(sandbox, home, "false", f"exec {BINARY} run true")

    assert status == 1
    assert found["user namespace"]["why"] == "user.max_user_namespaces is 0"
    assert found["user namespace"]["cure"] == "outside, in the profile: [security] nested = true"
    assert result.returncode == 125
    assert (
        "\n  cause: user.max_user_namespaces is 0\n  hint: outside, in the profile: [security] nested = true\n"
        in result.stderr
    )


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with engine() as podman:
        yield podman


def in_podman(podman: Podman, *options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a container of busybox's image, in which Python and the program are the host's."""
    places = ("/usr", "/lib", "/lib64", "/etc/alternatives", str(BINARY.parent.parent))
    binds = [word for place in places if os.path.exists(place) for word in ("-v", f"{place}:{place}:ro")]
    script = f"mkdir -m 700 /tmp/r; cd /tmp; export XDG_RUNTIME_DIR=/tmp/r; {script}"
    return podman.run(*binds, "-e", "PATH=/usr/bin:/bin", *options, script=script, check=False)


NO_FILTER = "--security-opt=seccomp=unconfined"


@needs("podman", "netns", "new_proc")
def test_inside_podman_its_filter_is_named_and_the_cure_is_one(podman: Podman) -> None:
    status, found = read(in_podman(podman, script=f"exec {BINARY} doctor --json"))
    result = in_podman(podman, script=f"exec {BINARY} run -p base true")

    assert status == 1
    assert found["surroundings"]["found"] == "a podman container; a seccomp filter is in force"
    assert found["system calls"]["state"] == "fail"
    call = found["system calls"]["found"].removeprefix("missing: ").split(", ")[0]
    assert found[MAIN_JOB]["cure"] == "outside: podman run --security-opt seccomp=unconfined"
    assert result.returncode == 125
    assert (
        f"\n  cause: a seccomp filter around us takes the system call {call} away\n"
        "  hint: outside: podman run --security-opt seccomp=unconfined\n"
    ) in result.stderr
    assert in_podman(podman, NO_FILTER, script=f"exec {BINARY} run -p base echo ran").stdout == "ran\n"


@needs("podman", "netns", "new_proc")
def test_inside_podman_its_masks_are_named_and_the_cure_is_one(podman: Podman) -> None:
    status, found = read(in_podman(podman, NO_FILTER, script=f"exec {BINARY} doctor --json"))
    unmasked, then = read(
        in_podman(podman, NO_FILTER, "--security-opt=unmask=ALL", script=f"exec {BINARY} doctor --json")
    )

    assert status == unmasked == 0
    for name in ("new proc", "new sysfs"):
        assert found[name]["state"] == "warn"
        assert " covered: " in found[name]["why"]
        assert found[name]["cure"] == "outside: podman run --security-opt unmask=ALL"
        assert name not in then
    assert found["delegated cgroup"]["state"] == "warn"
    assert then["delegated cgroup"]["state"] == "ok"


@needs("podman", "netns", "new_proc")
def test_inside_podman_root_needs_the_right_to_map_itself(podman: Podman) -> None:
    status, found = read(in_podman(podman, NO_FILTER, "--cap-drop=all", script=f"exec {BINARY} doctor --json"))
    result = in_podman(podman, NO_FILTER, "--cap-drop=all", script=f"exec {BINARY} run -p base true")

    assert status == 1
    assert "CAP_SETFCAP" in found["user namespace"]["why"]
    assert found["user namespace"]["cure"] == "outside: podman run --cap-add=SETFCAP"
    assert result.stderr.endswith("  hint: outside: podman run --cap-add=SETFCAP\n")
    cured = in_podman(
        podman, NO_FILTER, "--cap-drop=all", "--cap-add=SETFCAP", script=f"exec {BINARY} run -p base echo ran"
    )
    assert cured.stdout == "ran\n"
