"""In the guest: limits that hold, by their effects, in a cgroup beside that of the tests, in the unit that was delegated to them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cgroup_world import beside
from conftest import Sandbox

MIB = 2**20
SLOW = 300  # seconds: the guest is emulated

GROW = f"data = []\nwhile True: data.append(bytearray({4 * MIB}))"
FORK = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except BlockingIOError:
    print(made, open("/sys/fs/cgroup/pids.events").read().split()[:2])
"""
BURN = """
import time
began, spent = time.monotonic(), time.process_time()
while time.monotonic() - began < 4:
    pass
print(time.process_time() - spent, time.monotonic() - began)
print([line for line in open("/sys/fs/cgroup/cpu.stat") if line.startswith("nr_throttled")][0])
"""


def run(sandbox: Sandbox, *words: str) -> tuple[int, str, str]:
    result = sandbox("run", *words, timeout=SLOW)
    return result.returncode, result.stdout, result.stderr


def read(sandbox: Sandbox, name: str, *options: str) -> str:
    status, stdout, stderr = run(sandbox, *options, "cat", f"/sys/fs/cgroup/{name}")
    assert (status, stderr) == (0, "")
    return stdout.strip()


def test_who_takes_more_memory_than_the_limit_ends_with_all_others(sandbox: Sandbox, project: Path) -> None:
    script = f"sleep 100 & python3 -c '{GROW}'; touch survived"
    status, _, _ = run(sandbox, "--memory", "64M", "--swap", "0", "sh", "-c", script)

    assert status == 137
    assert not (project / "survived").exists()


def test_or_it_ends_alone(sandbox: Sandbox) -> None:
    script = f"python3 -c '{GROW}'; echo $?"
    status, stdout, _ = run(sandbox, "--memory", "64M", "--swap", "0", "--no-oom-group", "sh", "-c", script)

    assert (status, stdout) == (0, "137\n")


def test_below_the_limit_nothing_happens(sandbox: Sandbox) -> None:
    script = f"data = bytearray({16 * MIB}); print(open('/sys/fs/cgroup/memory.max').read(), end='')"

    assert run(sandbox, "--memory", "64M", "python3", "-c", script) == (0, f"{64 * MIB}\n", "")


def test_who_forks_beyond_the_limit_is_refused(sandbox: Sandbox) -> None:
    status, stdout, stderr = run(sandbox, "--pids", "20", "python3", "-c", FORK)
    made = int(stdout.split()[0])

    assert (status, stderr) == (0, "")
    # Our own process 1 and python are two of the twenty.
    assert made == 18
    assert stdout.split(maxsplit=1)[1] == "['max', '1']\n"


def test_who_has_used_up_the_time_of_its_processors_waits(sandbox: Sandbox) -> None:
    status, stdout, stderr = run(sandbox, "--cpus", "0.2", "python3", "-c", BURN)
    spent, passed = map(float, stdout.split()[:2])

    assert (status, stderr) == (0, "")
    assert spent / passed < 0.3
    assert int(stdout.split()[-1]) > 5


def test_only_the_processors_of_the_set_are_used(sandbox: Sandbox) -> None:
    script = "import os; print(os.sched_getaffinity(0))"

    assert run(sandbox, "python3", "-c", script)[1] == "{0, 1}\n"
    assert run(sandbox, "--cpuset", "1", "python3", "-c", script) == (0, "{1}\n", "")


def test_what_is_written_to_a_disk_takes_its_time(sandbox: Sandbox, project: Path) -> None:
    began = time.monotonic()
    script = "dd if=/dev/zero of=data bs=64k count=64 oflag=direct 2>/dev/null; cat /sys/fs/cgroup/io.max"
    status, stdout, stderr = run(sandbox, "--io", ".:write=1M", "sh", "-c", script)

    assert (status, stderr) == (0, "")
    assert "wbps=1048576" in stdout
    assert (project / "data").stat().st_size == 4 * MIB
    assert time.monotonic() - began > 2.5


@pytest.mark.parametrize(
    "option, value, file, written",
    [
        ("--memory-high", "48M", "memory.high", str(48 * MIB)),
        ("--memory-low", "8M", "memory.low", str(8 * MIB)),
        ("--memory-min", "4M", "memory.min", str(4 * MIB)),
        ("--swap", "0", "memory.swap.max", "0"),
        ("--cpu-weight", "20", "cpu.weight", "20"),
        ("--cpuset-mems", "0", "cpuset.mems", "0"),
    ],
)
def test_the_other_limits_are_written_as_they_are(
    sandbox: Sandbox, option: str, value: str, file: str, written: str
) -> None:
    assert read(sandbox, file, option, value) == written


def test_it_is_beside_the_tests_and_counts_what_is_inside(sandbox: Sandbox, project: Path) -> None:
    process = sandbox.popen(
        "run", "--name", "box", "--memory", "64M", "--report", "r.json", "sh", "-c", "echo >up; sleep 2"
    )
    while not (project / "up").exists():
        assert process.poll() is None
        time.sleep(0.05)
    directory = beside() / "sandbox-box"
    limit, current = (int((directory / name).read_text()) for name in ("memory.max", "memory.current"))
    controllers = (directory / "cgroup.controllers").read_text().split()
    assert process.wait(SLOW) == 0
    rows = {row["name"]: row for row in json.loads((project / "r.json").read_text())["settings"]}

    assert limit == 64 * MIB
    assert 0 < current < limit
    assert {"cpu", "io", "memory", "pids"} <= set(controllers)
    assert rows["limits.memory"]["enforced"] is True
    assert rows["limits.oom_group"]["enforced"] is True
    assert not directory.exists()


def test_what_a_shipped_profile_asks_for_is_had(sandbox: Sandbox) -> None:
    script = "cat /sys/fs/cgroup/pids.max; test $(cat /sys/fs/cgroup/memory.max) != max"

    assert run(sandbox, "-p", "ci", "--strict", "sh", "-c", script) == (0, "8192\n", "")
