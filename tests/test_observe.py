"""`sandbox stats`, `top` and `events`: what one sees of what runs, against what is known of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Sandbox
from needs import needs
from rich.console import Console
from test_ps import Start, start, wait_for
from test_terminal import Terminal

from sandbox import Containers
from sandbox.cli.tables import Column, fit
from sandbox.errors import ContainerError
from sandbox.runtime.tasks import look_at
from sandbox.runtime.usage import Meter, read_all

pytestmark = needs("userns")
assert start  # a fixture

BUSY = ("sh", "-c", "echo > web.up; while :; do :; done")
MIB = 1 << 20


def stats(sandbox: Sandbox, *words: str) -> dict[str, dict[str, Any]]:
    lines = sandbox("stats", "--json", "--no-stream", "--interval", "300ms", *words, check=True).stdout.splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def load(sandbox: Sandbox, name: str = "web") -> Any:
    return Containers(Path(sandbox.environment["XDG_RUNTIME_DIR"]) / "sandbox").load(name)


def ticks(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- stats ---


def test_time_of_processors_is_that_of_the_processes(sandbox: Sandbox, start: Start) -> None:
    start("web", command=BUSY)
    start("idle", command=("sh", "-c", "echo > idle.up; exec sleep 1000"))
    (busy,) = (pid for pid in load(sandbox).processes() if ticks(pid) > 0)
    before = ticks(busy)
    shown = stats(sandbox)
    after = ticks(busy)

    assert list(shown) == ["web", "idle"]
    assert before <= shown["web"]["cpuNanoseconds"] / 1e9 <= after + 0.02
    assert shown["web"]["cpuPercent"] > 0
    assert shown["idle"]["cpuPercent"] < 5
    assert shown["idle"]["tasks"] == 2


def test_memory_is_what_the_processes_have_to_themselves(sandbox: Sandbox, start: Start) -> None:
    code = "text = b'x' * (64 << 20); open('web.up', 'w').close(); import time; time.sleep(1000)"
    start("web", command=("/usr/bin/python3", "-c", code))
    shown = stats(sandbox)["web"]

    assert 64 * MIB < shown["memory"] < 96 * MIB
    assert shown["memorySource"] in ("cgroup", "processes")


def test_what_nobody_counts_is_said_to_be_unknown(sandbox: Sandbox, start: Start) -> None:
    start("web")
    shown = stats(sandbox)["web"]

    unknown = {"memoryLimit", "memoryPercent", "memoryPressure", "tasksLimit", "ioRead", "ioWritten"}
    assert {name for name, value in shown.items() if value is None} >= unknown
    (row,) = sandbox("stats", "--no-stream", "--interval=200ms", check=True).stdout.splitlines()[1:]
    assert re.split("  +", row)[3:5] == ["-", "-"]


def test_threads_count_as_the_limit_counts_them(sandbox: Sandbox, start: Start) -> None:
    code = (
        "import threading, time\n"
        "for _ in range(5): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
        "open('web.up', 'w').close(); time.sleep(1000)"
    )
    start("web", command=("/usr/bin/python3", "-c", code))

    assert stats(sandbox)["web"]["tasks"] == 7  # process 1, and six


@needs("cgroup2")
def test_a_cgroup_counts(sandbox: Sandbox, start: Start) -> None:
    # The cgroups of all lie side by side, whatever their directories of state.
    name = f"web-{os.getpid()}"
    start(name, "--report", "report.json", command=("sh", "-c", f"echo > {name}.up; while :; do :; done"))
    container = load(sandbox, name)
    shown = stats(sandbox)[name]
    usage = container.usage()

    assert container.cgroup
    told = dict(line.split() for line in Path(container.cgroup, "cpu.stat").read_text().splitlines())
    assert shown["cpuNanoseconds"] <= usage.cpu <= int(told["usage_usec"]) * 1000
    assert shown["memoryPressure"] is not None
    assert container.stats()["cpu"]["usage"]["total"] >= usage.cpu


def test_the_time_of_those_that_have_ended_is_not_lost(sandbox: Sandbox, start: Start) -> None:
    """Each second of a build is that of another process."""
    start(
        "web",
        command=(
            "sh",
            "-c",
            "echo > web.up; while :; do sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; done",
        ),
    )
    container = load(sandbox)
    meter = container._meter(Meter)
    spent = []
    for _ in range(12):
        spent.append(meter.read().cpu)
        time.sleep(0.1)
    first = sum(task.used for pid in container.processes() if (task := look_at(pid)))

    assert spent == sorted(spent)
    assert spent[-1] > spent[0]
    # All was collected by somebody inside.
    assert abs(meter.read().cpu - first) < 0.5e9


def test_what_has_joined_and_ended_leaves_its_time(sandbox: Sandbox, start: Start) -> None:
    start("web")
    meter = load(sandbox)._meter(Meter)
    meter.read()
    process = sandbox.popen("exec", "web", *BUSY[:2], "while :; do :; done")
    wait_for(lambda: (meter.read().cpu or 0) > 0.2e9)
    before = meter.read().cpu
    process.terminate()
    process.wait(20)
    time.sleep(0.1)

    assert meter.read().cpu >= before
    assert meter.read().cpu_percent < 50


def test_several_are_told_apart(sandbox: Sandbox, start: Start) -> None:
    start("web", command=BUSY)
    start("two", command=("sh", "-c", "sleep 1000 & sleep 1000 & echo > two.up; wait"))
    records = [load(sandbox, name)._meter(Meter) for name in ("web", "two")]

    assert [usage.tasks for usage in read_all(records)] == [2, 4]


def test_they_come_and_go_while_it_looks(sandbox: Sandbox, start: Start) -> None:
    first = start("web")
    process = sandbox.popen("stats", "--json", "--interval", "150ms")
    assert process.stdout is not None
    seen: list[str] = []

    def until(name: str) -> None:
        end = time.monotonic() + 20
        assert process.stdout is not None
        while not seen or seen[-1] != name:
            assert time.monotonic() < end
            seen.append(json.loads(process.stdout.readline())["id"])

    until("web")
    start("two")
    until("two")
    first.kill()
    first.wait(20)
    tail = [json.loads(process.stdout.readline())["id"] for _ in range(12)]
    assert tail[-3:] == ["two"] * 3
    process.terminate()


def test_it_ends_with_those_that_were_named(sandbox: Sandbox, start: Start) -> None:
    named = start("web")
    start("two")
    process = sandbox.popen("stats", "--json", "--interval", "100ms", "we")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["id"] == "web"
    sandbox("kill", "web", "KILL", check=True)
    named.wait(20)
    rest, said = process.communicate(timeout=20)

    assert (process.returncode, said) == (0, "")
    assert {json.loads(line)["id"] for line in rest.splitlines()} <= {"web"}
    # Who has the name next is another one.
    assert sandbox("stats", "--no-stream", "web").stderr.startswith("sandbox: no sandbox is called web\n")


# --- top ---


def test_processes_with_both_their_numbers(sandbox: Sandbox, start: Start) -> None:
    start("web", command=("sh", "-c", "sleep 1001 & echo > web.up; while :; do :; done"))
    rows = json.loads(sandbox("top", "--json", "--interval=300ms", "web", check=True).stdout)
    outside = set(load(sandbox).processes())

    assert {row["hpid"] for row in rows} == outside
    assert {row["pid"] for row in rows} == {1, 2, 3}
    by_number = {row["pid"]: row for row in rows}
    assert rows[0] == by_number[2], "who uses most comes first"
    assert by_number[2]["ppid"] == 1
    assert by_number[3]["ppid"] == 2
    assert by_number[3]["command"] == ["sleep", "1001"]
    assert by_number[2]["cpuNanoseconds"] > by_number[3]["cpuNanoseconds"]
    assert by_number[3]["user"] == sandbox.environment["USER"]


def test_the_user_is_the_one_inside(sandbox: Sandbox, start: Start) -> None:
    start("web", "--user", "0:0")
    lines = sandbox("top", "web", "pid,user", "command", "--interval=100ms", check=True).stdout.splitlines()

    assert lines[0].split() == ["PID", "USER", "COMMAND"]
    assert {line.split()[1] for line in lines[1:]} == {"0"}


def test_columns_that_there_are_not(sandbox: Sandbox, start: Start) -> None:
    start("web")
    result = sandbox("top", "web", "colour")

    assert result.returncode == 125
    assert result.stderr.startswith("sandbox: top: colour is no column\n  hint: there are pid, ppid, hpid")


# --- events ---


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--report", "report.json"), marks=needs("cgroup2"))], ids=["bare", "cgroup"]
)
def test_events_until_the_end(sandbox: Sandbox, start: Start, options: tuple[str, ...]) -> None:
    web = f"web-{os.getpid()}"
    start(web, *options)
    process = sandbox.popen("events", "--interval", "200ms", web)
    assert process.stdout is not None

    def until(kind: str) -> dict[str, Any]:
        assert process.stdout is not None
        while (event := json.loads(process.stdout.readline()))["type"] != kind:
            assert event["type"] == "stats", event
        found: dict[str, Any] = event
        return found

    started = until("started")
    assert started["pid"] == load(sandbox, web).pid
    assert until("stats")["tasks"] == 2
    sandbox("pause", web, check=True)
    assert until("paused")["id"] == web
    sandbox("resume", web, check=True)
    until("resumed")
    sandbox("pause", web, check=True)
    until("paused")
    sandbox("kill", web, "KILL", check=True)
    rest, _ = process.communicate(timeout=20)
    left = [json.loads(line) for line in rest.splitlines()]

    assert process.returncode == 0
    assert {event["type"] for event in left} <= {"stats", "resumed", "ended"}
    assert [event["status"] for event in left if event["type"] == "ended"] == [137]
    assert all(event.get("tasks") != 0 for event in left)


def test_what_it_uses_once(sandbox: Sandbox, start: Start) -> None:
    start("web")
    (line,) = sandbox("events", "--stats", "web", check=True).stdout.splitlines()

    event = json.loads(line)
    assert (event["type"], event["id"], event["tasks"], event["cpuPercent"]) == ("stats", "web", 2, None)


def test_events_of_the_api(sandbox: Sandbox, start: Start) -> None:
    process = start("web", command=("sh", "-c", "echo > web.up; exec sleep 1000"))
    container = load(sandbox)
    events = container.events()
    assert next(events)["type"] == "started"
    process.terminate()

    assert [event["type"] for event in events] == ["ended"]
    with pytest.raises(ContainerError, match=r"not running|does not exist"):
        container.usage()


@needs("cgroup2")
def test_of_a_detached_one_its_status_is_told_and_then_that_it_has_ended(sandbox: Sandbox, project: Path) -> None:
    sandbox("run", "--detach", "--name", "web", "sh", "-c", "while ! [ -e go ]; do sleep 0.1; done; exit 7", check=True)
    try:
        process = sandbox.popen("events", "--interval", "1m", "web")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "started"
        assert stats(sandbox)["web"]["memoryPressure"] is not None
        (project / "go").touch()
        rest, _ = process.communicate(timeout=20)
        assert [(event["type"], event["status"]) for event in map(json.loads, rest.splitlines())] == [("ended", 7)]
        for words in (["stats"], ["top"], ["events"], ["pause"], ["resume"], ["update", "--pids", "3"]):
            assert sandbox(*words, "web").stderr == "sandbox: web has ended\n  hint: see what runs: sandbox ps\n"
        assert stats(sandbox) == {}
    finally:
        sandbox("rm", "--force", "web")


# --- words ---


@pytest.mark.parametrize(
    "words, said",
    [
        (("stats", "--interval", "1x"), 'sandbox: stats: --interval: 1x is no interval\n  hint: write "1s"'),
        (("top", "--interval", "0", "web"), "sandbox: top: --interval: 0 is no interval\n"),
        (("events",), "sandbox: events: exactly one sandbox has to be given\n  hint: sandbox events ID\n"),
        (("top",), "sandbox: no sandbox was given\n  hint: sandbox top ID [COLUMN…]\n"),
        (("stats", "absent"), "sandbox: no sandbox is called absent\n  hint: none is running\n"),
        (("events", "absent"), "sandbox: no sandbox is called absent\n"),
    ],
)
def test_what_is_not_understood(sandbox: Sandbox, words: tuple[str, ...], said: str) -> None:
    result = sandbox(*words)

    assert result.returncode == 125
    assert result.stderr.startswith(said)


# --- on a terminal ---


@pytest.mark.parametrize("verb, ending", [("stats", b"q"), ("top", b"q"), ("stats", b"\x03"), ("top", b"\x03")])
def test_a_live_table_ends_when_one_has_seen_enough(sandbox: Sandbox, start: Start, verb: str, ending: bytes) -> None:
    start("web")
    terminal = Terminal()
    try:
        process = terminal.start(sandbox, verb, "web", "--interval=200ms")
        terminal.expect("CPU")
        terminal.expect("0.0%")  # of the second look
        os.write(terminal.master, ending)
        assert process.wait(20) == 0
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)


@pytest.mark.parametrize("verb", ["stats", "top"])
def test_a_terminal_that_cannot_be_drawn_upon_gets_it_once(sandbox: Sandbox, start: Start, verb: str) -> None:
    start("web")
    terminal = Terminal()
    try:
        dumb = dataclasses.replace(sandbox, environment={**sandbox.environment, "TERM": "dumb"})
        process = terminal.start(dumb, verb, "web", "--interval=200ms")
        assert process.wait(20) == 0
        assert "\x1b" not in terminal.expect("0.0%")
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)


def test_a_live_table_ends_with_the_sandbox(sandbox: Sandbox, start: Start) -> None:
    start("web")
    terminal = Terminal()
    try:
        process = terminal.start(sandbox, "stats", "web", "--interval=200ms")
        terminal.expect("0.0%")
        sandbox("kill", "web", "KILL", check=True)
        assert process.wait(20) == 0
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)


COLUMNS = (Column("NAME", right=False), Column("FIRST", 2), Column("SECOND", 1), Column("WORDS", right=False))


@pytest.mark.parametrize(
    "width, heading",
    [(80, "NAME FIRST SECOND WORDS"), (44, "NAME SECOND WORDS"), (36, "NAME WORDS"), (8, "NAME")],
)
def test_a_table_leaves_out_what_has_no_room(width: int, heading: str) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(fit(COLUMNS, [("web", "1000", "2", "word " * 40)], console))
    lines = capture.get().splitlines()

    assert lines[0].split()[: len(heading.split())] == heading.split()
    assert max(map(len, lines)) <= width
    assert len(lines) == 2
