"""A report as a page: what it says, and that nothing in it is more than text; what a browser makes of it is in `test_report_browser`."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from conftest import Sandbox
from needs import needs, own_cgroup
from report_world import HOSTILE, Outline, data, full

from sandbox.cli.page import outcome, page
from sandbox.cli.plots import WIDTH, Plot, Series, svg
from sandbox.plan.encode import Plan, decode, encode
from sandbox.plan.ops import Samples as SamplesOp
from sandbox.plan.ops import Step
from sandbox.runtime.report import (
    Cgroup,
    Cpu,
    Exit,
    Failure,
    OutOfMemory,
    Report,
)


def test_what_it_says() -> None:
    text = " ".join(Outline(page(full())).text.split())

    for words in (
        "make make",
        "out of memory, exit status 137",
        "Out of memory: the sandbox's limit of 512 MiB was reached by make (pid 17 inside); 9 processes were killed.",
        "Memory at most500 MiB98% of 512 MiB",
        "Throttled1.5 sin 12 of 300 periods",
        "Processes at most9of 64, 3 refused",
    ):
        assert words in text


@pytest.mark.parametrize(
    "end, words",
    [
        (Exit(0, 0), ("good", "exit status 0")),
        (Exit(3, 3), ("bad", "exit status 3")),
        (Exit(124, None, 9, timed_out=True), ("bad", "its time was over, exit status 124")),
        (Exit(143, None, 15), ("bad", "ended by signal 15, exit status 143")),
        # One was killed, and the rest went on.
        (Exit(0, 0, oom=OutOfMemory("own", 1)), ("good", "exit status 0")),
    ],
)
def test_how_it_ended(end: Exit, words: tuple[str, str]) -> None:
    assert outcome(msgspec.structs.replace(full(), exit=end)) == words


def test_whatever_comes_from_the_run_is_text() -> None:
    """The same elements with the same attributes, whatever the words."""
    plain, hostile = Outline(page(full())), Outline(page(full(HOSTILE)))

    assert hostile.elements == plain.elements
    assert HOSTILE in hostile.text
    assert msgspec.convert(json.loads(hostile.data), Report) == full(HOSTILE)


def test_it_names_nothing_outside_and_executes_nothing() -> None:
    document = page(full())
    outline = Outline(document)

    assert [attributes for tag, attributes in outline.elements if tag == "script"] == [
        {"type": "application/json", "id": "report"}
    ]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in document
    for _, attributes in outline.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert {attributes.get(name) for name in ("src", "href", "xlink:href", "action")} <= {None, "data:,"}
    assert not re.search(r"url\(|@import", document)


@pytest.mark.parametrize("missing", ["cgroup", "controllers", "start"])
def test_what_is_missing_is_said_with_why(missing: str) -> None:
    report = full()
    if missing == "cgroup":
        report = msgspec.structs.replace(report, cgroup=None, samples=None)
    elif missing == "controllers":
        assert report.samples
        nothing: list[int | None] = [None] * len(report.samples.time)
        few = msgspec.structs.replace(report.samples, memory=nothing, read=nothing, written=nothing, pids=nothing)
        report = msgspec.structs.replace(report, cgroup=Cgroup(cpu=Cpu(1, 1, 0)), samples=few)
    else:
        failure = Failure("no such thing", "a cause", "a hint")
        report = msgspec.structs.replace(report, cgroup=None, samples=None, started=None, error=failure)
    outline = Outline(page(report))

    assert len([tag for tag, _ in outline.elements if tag == "figure"]) == (1 if missing == "controllers" else 0)
    assert {
        "cgroup": "Not shown: Memory, Processors in use, Input and output, Processes and threads: the sandbox had no cgroup",
        "controllers": "Not shown: Memory, Input and output, Processes and threads: not counted in its cgroup (memory, io, pids)",
        "start": "it did not run.",
    }[missing] in outline.text
    assert ("cause: a cause" in outline.text) == (missing == "start")


def test_the_last_label_of_the_time_is_in_the_picture() -> None:
    drawn = svg(Plot("cpu", "Processors", "cpu", [Series("", [(0.0, 1.0), (0.0019, 1.0)])], "{:g}".format))
    labels = re.findall(r'<text x="([0-9.]+)"[^>]*>([0-9.]+ s)</text>', drawn)
    moved = re.search(r'transform="translate\((\d+), ', drawn)
    assert moved is not None
    assert labels[-1][1] == "0.002 s"
    # Its middle is there, and a letter is 7 of the 12 wide that it is high.
    assert int(moved[1]) + float(labels[-1][0]) + len(labels[-1][1]) * 7 / 2 < WIDTH


# --- by the program ---


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


@needs("userns")
@pytest.mark.parametrize("start", ["cold", "kept"])
def test_a_run(sandbox: Sandbox, tmp_path: Path, out: Path, start: str) -> None:
    document = tmp_path / "report.json"
    options = ("run", "--report", document, "--report", out)
    if start == "kept":
        sandbox(*options, "true", check=True)
        out.unlink()
        document.unlink()
    result = sandbox(*options, "sh", "-c", "sleep 0.4; exit 3", HOSTILE)

    assert (result.returncode, result.stdout, result.stderr) == (3, "", "")
    report = data(out)
    assert report == msgspec.json.decode(document.read_bytes(), type=Report)
    assert report.command == ["sh", "-c", "sleep 0.4; exit 3", HOSTILE]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".sandbox-report-*"))


@needs("userns", "cgroup2")
def test_samples(sandbox: Sandbox, out: Path) -> None:
    sandbox(
        "run", "--report", out, "sh", "-c", "sleep 0.6; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done", check=True
    )
    report = data(out)
    samples = report.samples
    assert samples

    assert samples.time == sorted(samples.time)
    assert samples.time[0] < 0.1
    assert samples.time[-1] == pytest.approx(report.usage.wall, abs=0.1)
    assert len(samples.time) >= 6
    assert {len(column) for column in msgspec.structs.astuple(samples)} == {len(samples.time)}
    cpu = [value for value in samples.cpu if value is not None]
    assert cpu == sorted(cpu)
    assert len(cpu) == len(samples.time)
    assert cpu[-1] > cpu[0]


@needs("userns", "cgroup2")
def test_samples_of_a_long_run_are_bounded(sandbox: Sandbox, out: Path, runtime_dir: Path) -> None:
    """Of all of it, twice as far apart each time that there is no more room."""
    sandbox("run", "--report", out, "true", check=True)
    (kept,) = runtime_dir.glob("sandbox/plans/*.plan")
    plan = decode(kept.read_bytes())
    steps = [
        Step(SamplesOp(interval=5, most=16, path=step.op.path, failure=step.op.failure), step.origin, step.flags)
        if isinstance(step.op, SamplesOp)
        else step
        for step in plan.steps
    ]
    descriptor = os.memfd_create("plan")
    os.write(descriptor, encode(Plan(plan.key, plan.inputs, tuple(steps))))
    subprocess.run(
        ["sandbox-plan", str(descriptor), "0", "sleep", "1.5"],
        executable=sandbox.binary,
        env=sandbox.environment,
        cwd=sandbox.cwd,
        pass_fds=[descriptor],
        check=True,
    )
    os.close(descriptor)
    times = data(out).samples.time

    assert 5 <= len(times) <= 16
    assert times[0] < 0.3
    assert times[-1] > 1.4
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.6


@needs("userns")
def test_a_command_that_is_not_there(sandbox: Sandbox, out: Path) -> None:
    assert sandbox("run", "--report", out, "nosuchcommand").returncode == 127
    report = data(out)

    assert (report.exit.status, report.started) == (127, None)
    assert report.error
    assert report.error.message in Outline(out.read_text()).text


@needs("userns")
def test_of_a_detached_run(sandbox: Sandbox, out: Path) -> None:
    sandbox("run", "-d", "--name", "job", "--report", out, "sh", "-c", "sleep 0.5; exit 4", check=True)
    assert sandbox("wait", "job").stdout == "4\n"
    end = time.monotonic() + 30
    while not out.exists():  # which is drawn when it has ended
        assert time.monotonic() < end
        time.sleep(0.05)
    sandbox("rm", "job", check=True)

    assert data(out).exit == Exit(4, 4)


@needs("userns")
def test_of_a_detached_run_that_did_not_start(sandbox: Sandbox, out: Path, tmp_path: Path) -> None:
    options = ("--report", out, "--report", tmp_path / "report.json")
    assert sandbox("run", "-d", *options, "nosuchcommand").returncode == 127

    assert data(out).error
    assert data(out) == msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)


def test_a_profile_that_cannot_be(sandbox: Sandbox, out: Path, tmp_path: Path) -> None:
    options = ("--report", out, "--report", tmp_path / "report.json")
    assert sandbox("run", *options, "--read", "/nosuch", "true").returncode == 125

    assert data(out).error
    assert data(out) == msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)


@needs("userns")
def test_a_monitor_that_is_killed_leaves_nothing(sandbox: Sandbox, out: Path, project: Path) -> None:
    process = sandbox.popen("run", "--report", out, "sh", "-c", "touch started; sleep 60")
    while not (project / "started").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    sandbox("ps", check=True)  # which cleans up

    assert list(out.parent.iterdir()) == [path for path in out.parent.iterdir() if "report" not in path.name]


@needs("userns")
def test_a_place_that_cannot_be_is_refused_before_anything_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "page.html").symlink_to(victim)
    result = sandbox("run", "--report", tmp_path / "page.html", "touch", "ran")

    assert result.returncode == 125
    assert "cause: it is a symlink, through which no report is written" in result.stderr
    assert not victim.exists()
    assert not (sandbox.cwd / "ran").exists()


def test_a_profile_says_which_of_the_two_it_is(sandbox: Sandbox, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[report]\nfile = "x.html"\n')
    result = sandbox("run", "-p", "./p.toml", "true")

    assert result.returncode == 125
    assert "./p.toml:3: report.file: a file of that name would be taken for a page" in result.stderr
    assert 'hint: write page = "x.html"' in result.stderr


@needs("userns", "cgroup2")
def test_a_sandbox_is_seen_by_its_cgroup_while_it_runs(sandbox: Sandbox, out: Path, project: Path) -> None:
    """Only a run that is reported has one, and it is gone behind it."""
    process = sandbox.popen("run", "--name", "seen", "--report", out, "sh", "-c", "touch started; sleep 1")
    place = own_cgroup().parent / "sandbox-seen"
    while not (project / "started").exists():
        time.sleep(0.01)
    assert place.is_dir()
    process.wait(30)

    assert not place.exists()
