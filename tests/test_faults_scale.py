"""Many sandboxes, one after the other and at once, leave nothing behind: `./dev soak` with 10,000 and 500."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox, descendants
from needs import needs, own_cgroup

pytestmark = needs("userns")

SOAK = os.environ.get("SANDBOX_SOAK", "") not in ("", "0")
IN_TURN, AT_ONCE = (10000, 500) if SOAK else (300, 60)


def keys() -> int:
    """Return how many keys count as ours, /proc/key-users."""
    for line in Path("/proc/key-users").read_text().splitlines():
        if match := re.match(rf"\s*{os.geteuid()}:\s+\d+ \d+/\d+ (\d+)/", line):
            return int(match[1])
    return 0


def cgroups() -> set[str]:
    own = own_cgroup()
    return {str(path) for path in own.parent.rglob("*") if path.is_dir()} if own else set()


def holdings(runtime_dir: Path) -> dict[str, object]:
    """Return what could be left behind."""
    return {
        "processes": len(descendants(os.getpid())),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": cgroups(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "state": sorted(str(path.relative_to(runtime_dir)) for path in runtime_dir.rglob("*")),
        "ipc": Path("/proc/sysvipc/shm").read_text() + Path("/proc/sysvipc/sem").read_text(),
    }


def settle(before: dict[str, object], runtime_dir: Path) -> dict[str, object]:
    """Return what is held when processes that have ended are gone."""
    end = time.monotonic() + 10
    while (now := holdings(runtime_dir)) != before and time.monotonic() < end:
        time.sleep(0.05)
    return now


@pytest.mark.parametrize("start", ["kept", "cold"])
def test_in_turn(sandbox: Sandbox, runtime_dir: Path, start: str) -> None:
    number = IN_TURN if start == "kept" else max(IN_TURN // 50, 10)
    command = [BINARY, "run", *(["--verbose"] if start == "cold" else []), "--", "true"]
    options = {
        "cwd": sandbox.cwd,
        "env": sandbox.environment,
        "stdin": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]
    before, keys_before = holdings(runtime_dir), keys()
    for _ in range(number):
        assert subprocess.call(command, **options) == 0  # type: ignore[arg-type]

    assert settle(before, runtime_dir) == before
    # The kernel collects keys in its own time.
    assert keys() <= keys_before + 20


def test_at_once(sandbox: Sandbox, runtime_dir: Path) -> None:
    sandbox("run", "--", "cat", check=True)
    before, keys_before = holdings(runtime_dir), keys()
    reader, writer = os.pipe()
    running = [
        subprocess.Popen(
            [BINARY, "run", "--", "cat"],
            cwd=sandbox.cwd,
            env=sandbox.environment,
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(AT_ONCE)
    ]
    os.close(reader)
    try:
        end = time.monotonic() + 120
        while len(registered(runtime_dir)) < AT_ONCE and time.monotonic() < end:
            time.sleep(0.05)
        ids = registered(runtime_dir)
    finally:
        os.close(writer)
        results = [(process.communicate(timeout=60)[1], process.returncode) for process in running]

    assert len(ids) == len(set(ids)) == AT_ONCE
    assert set(results) == {(b"", 0)}
    assert settle(before, runtime_dir) == before
    assert keys() <= keys_before + 20


def registered(runtime_dir: Path) -> list[str]:
    """Return the ids of the sandboxes whose first process was written down."""
    return [path.parent.name for path in (runtime_dir / "sandbox/containers").glob("*/state.json")]


def test_at_once_from_nothing(sandbox: Sandbox, runtime_dir: Path) -> None:
    """All find no plan, make one, and keep it under the same name."""
    number = AT_ONCE // 6
    running = [sandbox.popen("run", "--", "sh", "-c", f"exit {n % 100}") for n in range(number)]
    results = [(process.communicate(timeout=300)[1], process.returncode) for process in running]

    assert results == [("", n % 100) for n in range(number)]
    plans = os.listdir(runtime_dir / "sandbox/plans")
    assert len([name for name in plans if name.endswith(".plan")]) == 1
    assert not [name for name in plans if name.endswith(".tmp")]
