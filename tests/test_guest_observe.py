"""In the guest: what `stats`, `top`, `events` and `update` say, against what programs are known to use; and runc's `events`."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Sandbox
from test_observe import load, stats
from test_ps import Start, start, wait_for

assert start  # a fixture
MIB = 1 << 20
SLOW = 300

HOLD = f"data = bytearray(b'x') * {48 * MIB}; open('%s.up', 'w').close(); import time; time.sleep(1000)"
BURN = "open('%s.up', 'w').close()\nwhile True: pass"
WRITE = f"""
import os, time
file = os.open('data', os.O_WRONLY | os.O_CREAT)
os.write(file, os.urandom({16 * MIB}))
os.fsync(file)
open('%s.up', 'w').close()
time.sleep(1000)
"""


@pytest.fixture
def python(sandbox: Sandbox, start: Start) -> Callable[..., str]:
    """Return what starts a program in a sandbox with limits, and waits for it to say that it is there."""
    sandbox.timeout = SLOW
    names = iter(range(100))

    def python(code: str, *options: str) -> str:
        name = f"web-{os.getpid()}-{next(names)}"
        start(name, *options, command=("python3", "-c", code % name if "%s" in code else code))
        wait_for(lambda: (sandbox.cwd / f"{name}.up").exists(), SLOW)
        return name

    return python


Python = Callable[..., str]


def limits(sandbox: Sandbox, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(sandbox("inspect", name, check=True).stdout)["limitsInForce"]
    return found


def test_memory_against_its_limit(sandbox: Sandbox, python: Python) -> None:
    name = python(HOLD, "--memory", "128M")
    shown = stats(sandbox, name)[name]

    assert shown["memorySource"] == "cgroup"
    assert 48 * MIB < shown["memory"] < 100 * MIB
    assert shown["memoryLimit"] == 128 * MIB
    assert shown["memoryPercent"] == pytest.approx(100 * shown["memory"] / (128 * MIB), abs=0.01)


def test_processors_against_their_limit(sandbox: Sandbox, python: Python) -> None:
    name = python(BURN, "--cpus", "0.2")
    rows = sandbox("stats", "--json", "--no-stream", "--interval", "4s", name, check=True).stdout
    shown = json.loads(rows)

    assert 5 < shown["cpuPercent"] < 25
    assert shown["throttledPercent"] > 50
    assert shown["cpuPeriods"] >= shown["cpuPeriodsThrottled"] > 0


def test_tasks_against_their_limit(sandbox: Sandbox, python: Python) -> None:
    code = (
        "import threading, time\n"
        "for _ in range(5): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
        "open('%s.up', 'w').close(); time.sleep(1000)"
    )
    name = python(code, "--pids", "50")
    shown = stats(sandbox, name)[name]

    assert (shown["tasks"], shown["tasksLimit"]) == (7, 50)


def test_what_is_written_to_the_disk(sandbox: Sandbox, python: Python) -> None:
    name = python(WRITE, "--io-weight", "50")
    shown = stats(sandbox, name)[name]

    assert 16 * MIB <= shown["ioWritten"] < 64 * MIB


def test_limits_are_changed_while_it_runs(sandbox: Sandbox, python: Python) -> None:
    name = python(HOLD, "--memory", "128M")
    assert limits(sandbox, name)["memory.max"] == str(128 * MIB)

    sandbox("update", name, "--memory", "256M", "--swap", "0", "--pids", "40", "--cpus", "0.5", check=True)
    found = limits(sandbox, name)
    assert found["memory.max"] == str(256 * MIB)
    assert found["memory.swap.max"] == "0"
    assert found["pids.max"] == "40"
    assert found["cpu.max"] == "50000 100000"
    assert stats(sandbox, name)[name]["memoryLimit"] == 256 * MIB

    sandbox("update", name, "--memory", "max", "--cpus", "max", check=True)
    found = limits(sandbox, name)
    assert "memory.max" not in found
    assert "cpu.max" not in found
    assert found["pids.max"] == "40"


def test_a_limit_below_what_is_used_ends_it_and_both_are_said(sandbox: Sandbox, python: Python) -> None:
    name = python(HOLD, "--memory", "128M", "--swap", "0")
    events = sandbox.popen("events", "--interval", "1m", name)
    assert events.stdout is not None
    assert json.loads(events.stdout.readline())["type"] == "started"
    said = sandbox("update", name, "--memory", "8M").stderr
    assert "more than 8 MiB: the kernel takes back what it can" in said
    rest, _ = events.communicate(timeout=SLOW)
    left = [json.loads(line) for line in rest.splitlines()]

    # That it was out of memory is told where the cgroup is not gone before it was read.
    assert {event["type"] for event in left} <= {"oom", "pressure", "ended"}
    assert left[-1]["type"] == "ended"
    assert left[-1]["status"] == 137


def test_pressure_is_an_event(sandbox: Sandbox, python: Python) -> None:
    code = f"data = bytearray(b'x') * {24 * MIB}\nopen('%s.up', 'w').close()\nwhile True: open('/usr/bin/python3', 'rb').read()"
    name = python(code, "--memory", "128M")
    events = sandbox.popen("events", "--interval", "1m", name)
    assert events.stdout is not None
    assert json.loads(events.stdout.readline())["type"] == "started"
    sandbox("update", name, "--memory-high", "12M", check=True)
    event = json.loads(events.stdout.readline())

    assert event["type"] == "pressure"
    assert event["level"] in ("low", "medium", "critical")
    events.terminate()


# --- as runc has it ---


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle that runc, as this user, runs with limits by the user's manager."""
    root = tmp_path / "rootfs"
    (root / "bin").mkdir(parents=True)
    for name in ("busybox", "sh", "sleep", "dd"):
        (root / "bin" / name).write_bytes(Path("/bin/busybox").read_bytes())
        (root / "bin" / name).chmod(0o755)
    subprocess.run(["runc", "spec", "--rootless"], cwd=tmp_path, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"] |= {"args": ["sleep", "1000"], "terminal": False}
    config["linux"]["resources"] = {
        "memory": {"limit": 64 * MIB},
        "pids": {"limit": 30},
        "cpu": {"quota": 50000, "period": 100000},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def shape(value: Any) -> Any:
    """Return the members of a document, without their values."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__.replace("float", "int")


@pytest.fixture
def both(sandbox: Sandbox, bundle: Path) -> dict[str, Any]:
    """Return what runc and we say of a container of the same bundle."""
    found = {}
    own = str(sandbox.binary.with_name("sandbox-oci"))
    environment = os.environ | {"XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
    for program in ("runc", own):
        name = f"observed-{os.getpid()}-{Path(program).name}"
        call = [program, "--root", str(bundle / f"state-{Path(program).name}"), "--systemd-cgroup"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "env": environment}
        subprocess.run([*call, "run", "--detach", "--bundle", str(bundle), name], check=True, timeout=SLOW, **quiet)  # type: ignore[call-overload]
        try:
            time.sleep(1)
            found[Path(program).name] = json.loads(
                subprocess.run(
                    [*call, "events", "--stats", name], check=True, capture_output=True, timeout=SLOW, env=environment
                ).stdout
            )
        finally:
            subprocess.run([*call, "delete", "--force", name], check=True, timeout=SLOW, **quiet)  # type: ignore[call-overload]
    return found


def test_events_have_the_members_of_runcs(both: dict[str, Any]) -> None:
    theirs, ours = both["runc"]["data"], both["sandbox-oci"]["data"]
    for data in (theirs, ours):
        # What the kernel counts is as it is, what is 0 left out; pressure is told by runc 1.2 and newer.
        del data["memory"]["raw"]
        data["memory"].pop("cache", None)
        for part in ("cpu", "memory", "blkio"):
            data[part].pop("psi", None)
        for part in ("ioServiceBytesRecursive", "ioServicedRecursive"):
            data["blkio"].pop(part, None)
        for part in ("periods", "throttledPeriods", "throttledTime"):
            data["cpu"]["throttling"].pop(part, None)
    difference = {
        part: (shape(theirs.get(part)), shape(ours.get(part)))
        for part in {*theirs, *ours}
        if shape(theirs.get(part)) != shape(ours.get(part))
    }

    assert not difference
    assert theirs["memory"]["usage"]["limit"] == ours["memory"]["usage"]["limit"] == 64 * MIB
    assert theirs["pids"]["limit"] == ours["pids"]["limit"] == 30


def test_a_container_is_seen_by_stats_too(sandbox: Sandbox, bundle: Path) -> None:
    """As `ps` shows it: what is in the same place is one kind of thing."""
    own, name = str(sandbox.binary.with_name("sandbox-oci")), f"seen-{os.getpid()}"
    environment = os.environ | {"XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
    call = [own, "--root", f"{sandbox.environment['XDG_RUNTIME_DIR']}/sandbox", "--systemd-cgroup"]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "env": environment}
    subprocess.run([*call, "run", "--detach", "--bundle", str(bundle), name], check=True, timeout=SLOW, **quiet)
    try:
        shown = stats(sandbox, name)[name]
        assert (shown["memoryLimit"], shown["tasks"], shown["tasksLimit"]) == (64 * MIB, 1, 30)
        sandbox("update", name, "--pids", "9", check=True)
        assert load(sandbox, name).usage().tasks_limit == 9
    finally:
        subprocess.run([*call, "delete", "--force", name], check=True, timeout=SLOW, **quiet)
