"""The log of a detached sandbox: byte for byte, of limited size, and never in the command's way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import BINARY
from detached_world import Detached, detached, wait_until
from needs import needs

from sandbox.cli.logs import last
from sandbox.runtime.logs import Entry

__all__ = ["detached"]

pytestmark = needs("userns")

ONE = f"one{os.getpid()}"
RECORD = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)", re.DOTALL)


def raw(detached: Detached, *words: str) -> tuple[bytes, bytes]:
    """Return both streams of `sandbox logs` as bytes."""
    result = subprocess.run(
        [BINARY, "logs", *words],
        env=detached.sandbox.environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return result.stdout, result.stderr


def test_both_streams_apart_and_their_times_in_order(detached: Detached) -> None:
    name = detached("sh", "-c", "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; sleep 0.05; done")
    before = datetime.now(UTC)
    assert detached.wait(name) == 0
    out, err = detached.log(name)
    records = (detached.containers / name / "log").read_bytes().splitlines()
    times = [record.split(b" ")[0] for record in records]

    assert out == "".join(f"out {i}\n" for i in range(1, 6))
    assert err == "".join(f"err {i}\n" for i in range(1, 6))
    assert all(RECORD.fullmatch(record) for record in records)
    assert times == sorted(times)
    assert abs((datetime.fromisoformat(times[0].decode()) - before).total_seconds()) < 20


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"no newline", id="no newline"),
        pytest.param(b"\n\n\nx\n\n", id="empty lines"),
        pytest.param(bytes(range(256)) * 3, id="binary"),
        pytest.param(b"x" * 100_000 + b"\n" + b"y" * 50_000, id="long lines"),
        pytest.param(b"\r\x1b[31m stdout F \n 2026-01-01T00:00:00.000000000Z stderr F forged\n", id="forged"),
        pytest.param(b"".join(b"%d\n" % number for number in range(20_000)), id="many lines"),
    ],
)
def test_what_was_written_comes_back_byte_for_byte(detached: Detached, project: Path, content: bytes) -> None:
    (project / "content").write_bytes(content)
    name = detached("--log-size", "8M", "sh", "-c", "cat content; cat content >&2")
    assert detached.wait(name) == 0

    assert raw(detached, name) == (content, content)


def test_a_line_that_is_begun_is_seen_before_it_ends(detached: Detached) -> None:
    name = detached("-i", "sh", "-c", "printf 'password: '; cat")
    wait_until(lambda: detached.log(name)[0] == "password: ")


def test_the_size_is_kept_and_the_newest_stays(detached: Detached) -> None:
    name = detached("--log-size", "64K", "seq", "-f", "line %.0f", "1", "30000")
    assert detached.wait(name) == 0
    directory = detached.containers / name
    lines = detached.log(name)[0].splitlines()

    assert (directory / "log").stat().st_size + (directory / "log.1").stat().st_size <= 64 << 10
    assert lines[-1] == "line 30000"
    first = int(lines[0].removeprefix("line "))
    assert lines == [f"line {number}" for number in range(first, 30001)]
    assert len("\n".join(lines)) > 8000


def test_the_default_lets_hundreds_into_a_runtime_directory(detached: Detached) -> None:
    name = detached("sh", "-c", "yes | head -c 3000000")
    assert detached.wait(name) == 0
    size = sum(path.stat().st_size for path in (detached.containers / name).iterdir())

    assert 1 << 19 < size < (1 << 20) + 40_000


@pytest.mark.parametrize("size, why", [("1K", "is too small for a log"), ("x", "is not a size")])
def test_a_size_that_cannot_be(detached: Detached, size: str, why: str) -> None:
    result = detached.sandbox("run", "-d", "--log-size", size, "true")

    assert result.returncode == 125
    assert result.stderr.startswith(f"sandbox: --log-size {size}: ")
    assert why in result.stderr


def test_a_profile_says_the_size_too(detached: Detached, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[process]\nlog_size = "64K"\n')
    name = detached("-p", "./p.toml", "seq", "30000")
    assert detached.wait(name) == 0

    assert sum((detached.containers / name / file).stat().st_size for file in ("log", "log.1")) <= 64 << 10


# --- following ---


def test_follow_ends_with_the_sandbox(detached: Detached) -> None:
    name = detached("sh", "-c", "echo one; sleep 1; echo two; echo three >&2")
    process = detached.sandbox.popen("logs", "--follow", name)
    out, err = process.communicate(timeout=30)

    assert (out, err, process.returncode) == ("one\ntwo\n", "three\n", 0)
    assert detached.wait(name) == 0
    assert detached.log(name, "-f") == ("one\ntwo\n", "three\n")


@pytest.mark.parametrize("remove", [[], ["--rm"]])
def test_follow_goes_across_rotations(detached: Detached, project: Path, remove: list[str]) -> None:
    """As quick as somebody can follow: what was renamed away twice between two looks is gone."""
    script = (
        "echo ready; until [ -e go ]; do sleep 0.05; done;"
        ' for i in $(seq 30); do seq -f "$i %0100.0f" 1 50; sleep 0.2; done; sleep 0.5'
    )
    name = detached("--log-size", "64K", *remove, "sh", "-c", script)
    process = detached.sandbox.popen("logs", "-f", name)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    (project / "go").touch()
    out, err = process.communicate(timeout=60)

    assert err == ""
    assert out.splitlines() == [f"{i} {number:0100}" for i in range(1, 31) for number in range(1, 51)]


def test_follow_ends_when_the_keeper_is_killed(detached: Detached) -> None:
    name = detached("sh", "-c", "echo up; sleep 60")
    process = detached.sandbox.popen("logs", "-f", name)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    os.kill(detached.keeper(name), 9)

    assert process.wait(20) == 0


def test_who_follows_and_reads_no_more_ends(detached: Detached) -> None:
    name = detached("sh", "-c", "while :; do echo x; sleep 0.01; done")
    process = subprocess.run(
        ["sh", "-c", f"{BINARY} logs -f {name} | head -n 3"],
        env=detached.sandbox.environment,
        capture_output=True,
        timeout=30,
        check=True,
    )

    assert process.stdout == b"x\nx\nx\n"


# --- choosing ---


def test_tail(detached: Detached) -> None:
    name = detached("sh", "-c", "seq 100; printf end")
    assert detached.wait(name) == 0

    assert detached.log(name, "--tail", "3")[0] == "99\n100\nend"
    assert detached.log(name, "--tail", "0")[0] == ""
    assert len(detached.log(name, "-n", "1000")[0].splitlines()) == 101
    assert detached.sandbox("logs", "--tail", "-1", name).returncode == 125


def test_tail_counts_lines_of_both_streams() -> None:
    def entry(stream: str, text: bytes, *, whole: bool = True) -> Entry:
        return Entry("", stream, text, whole)

    entries = [
        entry("stdout", b"1"),
        entry("stdout", b"2a", whole=False),
        entry("stderr", b"3"),
        entry("stdout", b"2b"),
        entry("stderr", b"4", whole=False),
    ]

    assert last(entries, 1) == entries[4:]
    assert last(entries, 2) == entries[3:]
    assert last(entries, 3) == entries[1:]
    assert last(entries, 9) == entries


def test_since_and_until(detached: Detached) -> None:
    name = detached("sh", "-c", "echo early; sleep 2; echo late")
    middle = datetime.now(UTC) + timedelta(seconds=1)
    assert detached.wait(name) == 0
    local = middle.astimezone().strftime("%Y-%m-%dT%H:%M:%S")

    assert detached.log(name, "--since", middle.isoformat())[0] == "late\n"
    assert detached.log(name, "--until", middle.isoformat())[0] == "early\n"
    assert detached.log(name, "--since", local)[0] == "late\n"
    assert detached.log(name, "--since", "1h")[0] == "early\nlate\n"
    time.sleep(0.1)
    assert detached.log(name, "--since", "10ms")[0] == ""
    refused = detached.sandbox("logs", "--since", "soon", name)
    assert refused.stderr.startswith('sandbox: --since: "soon" is neither a time nor a length of time\n')


def test_streams_times_and_json(detached: Detached) -> None:
    name = detached("sh", "-c", "echo out; echo err >&2; printf 'a\\377'")
    assert detached.wait(name) == 0
    documents = [json.loads(line) for line in detached.log(name, "--json")[0].splitlines()]
    stamped, nothing = raw(detached, "--timestamps", "--stdout", name)
    first, second = (line.decode(errors="replace").partition(" ") for line in stamped.split(b"\n"))

    assert detached.log(name, "--stderr") == ("", "err\n")
    assert nothing == b""
    assert (first[2], second[2]) == ("out", "a\ufffd")
    assert datetime.fromisoformat(first[0]) <= datetime.now(UTC)
    assert {(entry["stream"], entry["text"], entry["whole"]) for entry in documents} == {
        ("stdout", "out", True),
        ("stdout", "a\ufffd", False),
        ("stderr", "err", True),
    }


# --- a disk that is full ---


def test_a_full_disk_stops_no_command_and_the_loss_is_told(detached: Detached, tmp_path: Path) -> None:
    """The log is on a small file system of its own, which is filled, and has room again."""
    full = tmp_path / "full"
    full.mkdir(mode=0o700)
    state = tmp_path / "turn"
    state.mkdir()
    # The command is asked by files in a directory that it reads, and answers so.
    command = (
        "echo begin; until [ -e turn/fill ]; do sleep 0.05; done;"
        " seq 100000; echo > turn/filled; until [ -e turn/free ]; do sleep 0.05; done; sleep 0.2; echo end; exit 3"
    )
    script = f"""
        mount -t tmpfs -o size=600k,mode=700 none {full}
        export XDG_RUNTIME_DIR={full}
        cd {tmp_path}
        {BINARY} run -d --name {ONE} --log-size 8M sh -c '{command}'
        dd if=/dev/zero of={full}/filler bs=1k 2>/dev/null
        touch turn/fill
        for i in $(seq 400); do [ -e turn/filled ] && break; sleep 0.05; done
        rm {full}/filler
        touch turn/free
        echo "status $({BINARY} wait {ONE})"
        {BINARY} logs {ONE} | tail -n 1
        {BINARY} logs {ONE} 2>/dev/null | wc -c
        ls {full}/sandbox/containers/{ONE}
        {BINARY} logs {ONE} 2>&1 >/dev/null
        {BINARY} rm {ONE}
    """
    result = subprocess.run(
        ["unshare", "-Ur", "-m", "sh", "-c", script],
        env=detached.sandbox.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = result.stdout.splitlines()

    written = len("begin\nend\n") + sum(len(f"{number}\n") for number in range(1, 100_001))
    told = [re.fullmatch(r"sandbox: (\d+) bytes of the output found no room in the log", line) for line in lines[7:-1]]

    assert lines[:2] == [ONE, "status 3"], result.stderr + result.stdout
    assert lines[2].endswith("end")  # of a line before it the end may be lost
    assert lines[4:7] == ["log", "result.json", "state.json"]
    assert 1 <= len(told) <= 20  # where the last pages fill up, a short piece may still find room
    assert int(lines[3]) + sum(int(match[1]) for match in told if match) == written


def test_a_disk_that_stays_full_keeps_the_result(detached: Detached, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir(mode=0o700)
    script = f"""
        mount -t tmpfs -o size=600k,mode=700 none {full}
        export XDG_RUNTIME_DIR={full}
        cd {tmp_path}
        {BINARY} run -d --name {ONE} --log-size 8M sh -c 'until [ -e go ]; do sleep 0.05; done; seq 100000; exit 3'
        dd if=/dev/zero of={full}/filler bs=1k 2>/dev/null
        touch go
        echo "status $({BINARY} wait {ONE})"
        {BINARY} logs {ONE} 2>&1 >/dev/null
        {BINARY} rm {ONE}
    """
    result = subprocess.run(
        ["unshare", "-Ur", "-m", "sh", "-c", script],
        env=detached.sandbox.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = result.stdout.splitlines()

    assert lines[:2] == [ONE, "status 3"], result.stderr + result.stdout
    assert re.fullmatch(r"sandbox: \d+ bytes of the output found no room in the log", lines[2])
    assert lines[3:] == [ONE]


def test_a_limit_on_the_size_of_files_is_no_signal_for_the_command(detached: Detached) -> None:
    """The keeper's own write is too long; the command writes into a pipe."""
    script = f"ulimit -f 64; exec {BINARY} run -d --name {ONE} --log-size 8M sh -c 'seq 100000; exit 3'"
    subprocess.run(
        ["sh", "-c", script],
        env=detached.sandbox.environment,
        cwd=detached.sandbox.cwd,
        check=True,
        capture_output=True,
        timeout=30,
    )

    assert detached.wait(ONE) == 3
    assert "found no room in the log" in detached.log(ONE)[1]


def test_a_command_that_writes_without_end_is_kept_small_and_ends(detached: Detached) -> None:
    name = detached("--log-size", "64K", "yes")
    wait_until((detached.containers / name / "log.1").exists)
    time.sleep(0.5)
    rollup = Path(f"/proc/{detached.keeper(name)}/smaps_rollup").read_text()
    (size,) = (int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert detached.sandbox("kill", name, check=True).stderr == ""

    assert size < 400
    assert detached.wait(name) == 143
