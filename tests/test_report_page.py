"""A report as a page: what it says and shows, that nothing in it is more than text, and that it needs nothing but itself.

A browser without a network loads it; what it draws is looked at by its pixels.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import struct
import subprocess
import time
import zlib
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from conftest import Sandbox
from needs import needs, own_cgroup

from sandbox.cli.page import outcome, page
from sandbox.plan.encode import Plan, decode, encode
from sandbox.plan.ops import Samples as SamplesOp
from sandbox.plan.ops import Step
from sandbox.runtime.report import (
    Cgroup,
    Cpu,
    Exit,
    Failure,
    Io,
    Memory,
    OutOfMemory,
    Pids,
    PidsEvents,
    Report,
    Samples,
    Setting,
    Usage,
)

MIB = 1 << 20
# Whoever writes a command line, a profile or a process's name.
HOSTILE = "</script></style><b>bold</b>\"'><img src=x onerror=alert(1)>&amp;<!--\u2028"
PAPER, FIRST = (
    {"light": (255, 255, 255), "dark": (0x14, 0x17, 0x1A)},
    {
        "light": (0x1F, 0x6F, 0xC4),
        "dark": (0x6C, 0xB2, 0xFF),
    },
)


def full(text: str = "make") -> Report:
    """Return the report of a run of which everything is known."""
    count = 300
    times = [number / 10 for number in range(count)]
    return Report(
        schema=1,
        id="job",
        command=[text, text],
        profiles=[text],
        cwd=f"/{text}",
        settings=[
            Setting("limits.memory", str(512 * MIB), text, enforced=True),
            Setting("limits.cpus", text, text, enforced=False, why=text),
        ],
        started="2026-01-01T00:00:00.000000Z",
        ended="2026-01-01T00:00:30.000000Z",
        exit=Exit(137, None, 9, timed_out=False, oom=OutOfMemory("own", 9, text, 17)),
        usage=Usage(30, 20, 2, MIB),
        cgroup=Cgroup(
            Memory(500 * MIB, 512 * MIB),
            Cpu(22, 20, 2, 300, 12, 1.5),
            Io(10 * MIB, 20 * MIB, 30, 40),
            Pids(9, 64, PidsEvents(3)),
        ),
        samples=Samples(
            times,
            [number * 500 * MIB // count for number in range(count)],
            [time * (1 + (number // 50) % 2) for number, time in enumerate(times)],
            [number * MIB // 30 for number in range(count)],
            [number * MIB // 15 for number in range(count)],
            [1 + number % 9 for number in range(count)],
        ),
    )


class Outline(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data = ""
        self._open = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 (as in HTMLParser)
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.data += data
        elif self._open != "style":
            self.text += data


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


# --- by the program ---


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def data(path: Path) -> Report:
    return msgspec.json.decode(Outline(path.read_text()).data, type=Report, strict=True)


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


# --- in a browser ---


def browse(path: Path, *options: str, dark: bool = False) -> subprocess.CompletedProcess[str]:
    """Load a page in a browser that has no network."""
    return subprocess.run(
        [
            *("unshare", "--user", "--map-current-user", "--net", "--"),
            *(
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--enable-logging=stderr",
            ),
            *(f"--user-data-dir={path.parent}/browser", f"--log-net-log={path.parent}/net.json"),
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            *options,
            f"file://{path}",
        ],
        env={"HOME": str(path.parent), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def requests(path: Path) -> set[str]:
    """Return what was asked for by a page, and not by the browser for itself."""
    parameters = [event.get("params", {}) for event in json.loads(path.read_text())["events"]]
    return {entry["url"] for entry in parameters if entry.get("initiator", "not an origin") != "not an origin"}


def pixels(path: Path) -> tuple[tuple[int, ...], Counter[tuple[int, ...]]]:
    """Return the first pixel of a PNG and how many there are of each; RFC 2083."""
    content = path.read_bytes()
    width, _, depth, kind = struct.unpack(">IIBB", content[16:26])
    size = {2: 3, 6: 4}[kind]
    assert depth == 8
    packed, at = b"", 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            packed += content[at + 8 : at + 8 + length]
        at += length + 12
    rows, stride = zlib.decompress(packed), width * size
    above = bytearray(stride)
    found: Counter[tuple[int, ...]] = Counter()
    first: tuple[int, ...] = ()
    for start in range(0, len(rows), stride + 1):
        row = bytearray(rows[start + 1 : start + 1 + stride])
        _unfilter(rows[start], row, above, size)
        found.update(zip(*(row[channel::size] for channel in range(3)), strict=True))
        first = first or tuple(row[:3])
        above = row
    return first, found


def _unfilter(kind: int, row: bytearray, above: bytearray, size: int) -> None:
    for index in range(len(row) if kind else 0):
        left = row[index - size] if index >= size else 0
        corner = above[index - size] if index >= size else 0
        up = above[index]
        if kind == 4:
            guess = left + up - corner
            predicted = min((left, up, corner), key=lambda value: abs(guess - value))
        else:
            predicted = {1: left, 2: up, 3: (left + up) // 2}[kind]
        row[index] = (row[index] + predicted) & 0xFF


@needs("chromium", "userns")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 500])
def test_in_a_browser_without_a_network(tmp_path: Path, scheme: str, width: int) -> None:
    path, picture = tmp_path / "report.html", tmp_path / "page.png"
    path.write_text(page(full(HOSTILE)))
    result = browse(path, f"--window-size={width},1400", f"--screenshot={picture}", dark=scheme == "dark")

    assert picture.exists(), result.stderr
    assert "CONSOLE" not in result.stderr, result.stderr
    first, found = pixels(picture)
    assert first == PAPER[scheme]
    assert found[FIRST[scheme]] > 500  # the lines of the plots
    assert not requests(tmp_path / "net.json")


@needs("chromium", "userns")
def test_what_a_page_asks_for_is_seen(tmp_path: Path) -> None:
    """Or the test above would say nothing."""
    path = tmp_path / "page.html"
    path.write_text('<!DOCTYPE html><img src="http://example.invalid/x.png">')
    browse(path, "--dump-dom")

    assert requests(tmp_path / "net.json") == {"http://example.invalid/x.png"}


@needs("chromium", "userns")
def test_a_browser_finds_the_plots_and_no_markup_of_a_strangers(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(full(HOSTILE)))
    outline = Outline(browse(path, "--dump-dom").stdout)
    tags = Counter(tag for tag, _ in outline.elements)

    assert tags["figure"] == tags["svg"] == 4
    assert tags["path"] > 20
    assert not tags["img"]
    assert not tags["b"]


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
