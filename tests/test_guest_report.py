"""In the guest, where every controller is: a report's figures are what a program of known appetite used, and an end for want of memory
says so, and who it was."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from conftest import Sandbox
from needs import own_cgroup

from sandbox.runtime.report import Cgroup, OutOfMemory, Report

MIB = 1 << 20
LIMIT = 64 * MIB
# All that comes is kept until a line ends, which none does.
HOG = "head -c 300M /dev/zero | tail -n 1"
REACHED = r"sandbox: out of memory: the limit of 64 MiB \(\./p\.toml:\d+: limits\.memory\) was reached"


@pytest.fixture
def limited(sandbox: Sandbox, project: Path) -> Sandbox:
    sandbox.timeout = 300
    (project / "p.toml").write_text(f'extends = "build"\n[limits]\nmemory = "{LIMIT}"\n')
    return sandbox


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def read(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report, strict=True)


def counted(path: Path) -> Cgroup:
    found = read(path).cgroup
    assert found is not None
    return found


def cgroup_of(name: str) -> Path:
    """Wait for the sandbox's cgroup, and for the command in it, and return it."""
    place = own_cgroup().parent / f"sandbox-{name}"
    end = time.monotonic() + 120
    while "sh\n" not in _names(place):
        assert time.monotonic() < end
        time.sleep(0.1)
    return place


def _names(cgroup: Path) -> list[str]:
    try:
        return [Path(f"/proc/{pid}/comm").read_text() for pid in (cgroup / "cgroup.procs").read_text().split()]
    except OSError:  # it is not there yet, or one of them not any more
        return []


def start(sandbox: Sandbox, script: str, *options: str | Path) -> tuple[subprocess.Popen[str], Path]:
    """Start `script` in a sandbox with a limit, and hold it before its first command."""
    process = sandbox.popen(
        "run", "-p", "./p.toml", "--name", "job", *options, "sh", "-c", f"read go; {script}", stdin=subprocess.PIPE
    )
    return process, cgroup_of("job")


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = process.communicate("go\n", timeout=300)
    return process.returncode, stderr


# --- figures ---


def test_the_figures_of_a_program_of_known_appetite(sandbox: Sandbox, project: Path, out: Path) -> None:
    sandbox.timeout = 300
    (project / "p.toml").write_text('extends = "build"\n[limits]\nmemory = "512M"\npids = 40\ncpus = 0.7\n')
    script = (
        "head -c 40M /dev/zero | tail -n 1 | wc -c;"
        "dd if=/dev/zero of=file bs=1M count=10 conv=fsync 2>/dev/null;"
        "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait;"
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"
    )
    sandbox("run", "-p", "./p.toml", "--report", out, "sh", "-c", script, check=True)
    found, usage = counted(out), read(out).usage

    memory, cpu, io, pids = found.memory, found.cpu, found.io, found.pids
    assert memory.peak is not None
    assert 40 * MIB <= memory.peak < 200 * MIB
    assert (memory.limit, memory.high, memory.events.oom_kill) == (512 * MIB, None, 0)
    assert pids.peak is not None
    assert 11 <= pids.peak <= 20
    assert (pids.limit, pids.events.max) == (40, 0)
    assert io.written is not None
    assert 10 * MIB <= io.written < 50 * MIB
    assert io.writes
    assert cpu.usage is not None
    assert cpu.usage == pytest.approx(usage.user + usage.system, rel=0.3, abs=0.5)
    assert cpu.periods
    assert cpu.throttled_periods
    assert cpu.throttled
    assert found.pressure.cpu.some is not None
    assert found.pressure.io.full is not None


def test_a_limit_of_processes_that_was_reached_is_counted(sandbox: Sandbox, project: Path, out: Path) -> None:
    sandbox.timeout = 300
    (project / "p.toml").write_text('extends = "build"\n[limits]\npids = 8\n')
    sandbox("run", "-p", "./p.toml", "--report", out, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait")
    pids = counted(out).pids

    assert (pids.limit, pids.peak) == (8, 8)
    assert pids.events.max


# --- out of memory ---


def test_who_reached_the_limit_is_named_and_all_ends(limited: Sandbox, out: Path) -> None:
    process, cgroup = start(limited, f"sleep 100 & {HOG}; echo went on >&2", "--report", out)
    status, stderr = finish(process)
    report = read(out)

    assert re.fullmatch(REACHED + r" by tail \(pid \d+ inside\)\n", stderr), stderr
    assert (status, report.exit.status, report.exit.signal) == (137, 137, 9)
    assert isinstance(report.exit.oom, OutOfMemory)
    assert (report.exit.oom.limit, report.exit.oom.name) == ("own", "tail")
    assert report.exit.oom.pid is not None
    assert 3 <= report.exit.oom.pid < 10
    assert report.exit.oom.killed >= 2  # who ended with process 1 before its turn came is not counted
    assert counted(out).memory.events.oom_kill == report.exit.oom.killed
    assert not cgroup.exists()


def test_one_alone_is_killed_and_the_run_goes_on(limited: Sandbox, out: Path) -> None:
    process, _ = start(limited, f"{HOG}; echo went on >&2; exit 3", "--no-oom-group", "--report", out)
    status, stderr = finish(process)
    oom = read(out).exit.oom

    assert status == 3
    assert re.fullmatch(r"(Killed\n)?went on\n" + REACHED + r" by tail \(pid \d+ inside\)\n", stderr), stderr
    assert oom is not None
    assert (oom.limit, oom.name, oom.killed) == ("own", "tail", 1)


def test_among_equals_nobody_is_named(limited: Sandbox) -> None:
    """Each of them may be the one; three grow at once."""
    process, _ = start(limited, f"({HOG}) & ({HOG}) & ({HOG}) & wait")
    status, stderr = finish(process)

    assert status == 137
    assert re.fullmatch(REACHED + r"( by tail \(pid \d+ inside\))?\n", stderr), stderr


def test_a_name_is_no_command_to_the_terminal(limited: Sandbox, project: Path, out: Path) -> None:
    name = b"\x1b[31m\xff\xc2\x9b\n\\x"
    (project / "hog").symlink_to("/usr/bin/tail")
    os.symlink(b"/usr/bin/tail", os.fsencode(project) + b"/" + name)
    process, _ = start(limited, "head -c 300M /dev/zero | ./*31m* -n 1", "--report", out)
    status, stderr = finish(process)

    assert status == 137
    assert re.fullmatch(REACHED + r" by \?\[31m\?\?\?\\n\\\\x \(pid \d+ inside\)\n", stderr), stderr
    oom = read(out).exit.oom
    assert oom is not None
    assert oom.name == "\x1b[31m\ufffd\x9b\\n\\\\x"


@pytest.mark.parametrize("group", ["--no-oom-group", "--oom-group"])
def test_a_command_that_came_in_later(limited: Sandbox, group: str) -> None:
    process, _ = start(limited, "true", group)
    joined = limited("exec", "job", "sh", "-c", f"exec 2>/dev/null; {HOG}; kill -9 $$")
    status, stderr = finish(process)

    assert joined.returncode == 137
    line = REACHED + r"( by tail \(pid \d+ inside\))?\n"
    assert re.fullmatch(line, joined.stderr), joined.stderr
    assert re.fullmatch(line, stderr), stderr
    assert status == (137 if group == "--oom-group" else 0)


def test_a_limit_that_was_set_inside(limited: Sandbox, out: Path) -> None:
    process, cgroup = start(limited, f"{HOG}; exit 3", "--no-oom-group", "--report", out)
    leaf = cgroup / "leaf"
    leaf.mkdir()
    for pid in (cgroup / "cgroup.procs").read_text().split():
        (leaf / "cgroup.procs").write_text(pid)
    (cgroup / "cgroup.subtree_control").write_text("+memory")
    (leaf / "memory.max").write_text(str(LIMIT // 2))
    status, stderr = finish(process)
    oom = read(out).exit.oom

    assert status == 3
    assert "sandbox: out of memory: a limit that was set inside was reached\n" in stderr
    assert oom is not None
    assert (oom.limit, oom.name, oom.pid) == ("inside", None, None)


@pytest.fixture
def outer() -> Iterator[Path]:
    """Return a cgroup with less memory than a sandbox below it may have; in `in` of it one can be."""
    place = own_cgroup().parent / "outer"
    (place / "in").mkdir(parents=True)
    (place / "cgroup.subtree_control").write_text("+cpu +memory +pids +io")
    (place / "memory.max").write_text(str(LIMIT // 2))
    yield place
    (place / "in").rmdir()
    place.rmdir()


def test_a_limit_above_ours(limited: Sandbox, out: Path, outer: Path) -> None:
    command = f'echo $$ > "{outer}/in/cgroup.procs"; exec "$@"'
    words = ["run", "-p", "./p.toml", "--report", str(out), "sh", "-c", f"{HOG}; exit 3"]
    result = subprocess.run(
        ["sh", "-c", command, "sh", str(limited.binary), *words],
        env=limited.environment,
        cwd=limited.cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    oom = read(out).exit.oom

    assert (
        "sandbox: out of memory: a limit above the sandbox's own was reached, or the machine's memory is used up"
        in (result.stderr)
    )
    assert oom is not None
    assert (oom.limit, oom.name) in {("outside", "tail"), ("outside", None)}


def test_one_who_stays_below_it_hears_nothing(limited: Sandbox, out: Path) -> None:
    result = limited("run", "-p", "./p.toml", "--report", out, "sh", "-c", "head -c 20M /dev/zero | tail -n 1 | wc -c")

    assert (result.returncode, result.stderr) == (0, "")
    assert read(out).exit.oom is None


def test_a_page_of_all_that(limited: Sandbox, out: Path) -> None:
    page = out.with_suffix(".html")
    process, _ = start(limited, f"sleep 1; {HOG}", "--report", page, "--report", out)
    status, _ = finish(process)
    text, samples = page.read_text(), read(out).samples

    assert status == 137
    assert "Out of memory: the sandbox&#x27;s limit of 64 MiB was reached by tail" in text
    assert text.count("<figure") == 4
    assert "Not shown" not in text
    assert samples
    memory = [value for value in samples.memory if value is not None]
    assert len(memory) == len(samples.time)
    assert LIMIT // 2 < max(memory) <= LIMIT


def test_a_detached_one_has_it_in_its_result(limited: Sandbox) -> None:
    limited("run", "-d", "--name", "job", "-p", "./p.toml", "sh", "-c", HOG, check=True)
    waited = limited("wait", "job")
    shown = msgspec.json.decode(limited("inspect", "job", check=True).stdout)
    limited("rm", "job", check=True)

    assert waited.stdout.split()[-1] == "137" or waited.returncode == 137
    assert '"oom":{"limit":"own"' in msgspec.json.encode(shown).decode()
