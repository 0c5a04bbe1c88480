"""`sandbox ps`, `kill` and `inspect`: what runs, as people and programs see it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundle_world import make_bundle
from conftest import BINARY, Sandbox
from made_container import making
from needs import CHECKOUT, SLOWNESS, needs
from test_terminal import Terminal

from sandbox import Containers
from sandbox.cli.kill import find_signal
from sandbox.cli.verb_line import parse_verb
from sandbox.errors import UsageError
from sandbox.quantities import seconds_of

pytestmark = needs("userns")

ENGINE = BINARY.with_name("sandbox-oci")


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds * SLOWNESS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def start(sandbox: Sandbox, project: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts a sandbox by name, and ends all of them afterwards."""
    processes, started = [], set()

    def start(name: str, *options: str, command: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        started.add(name)
        process = sandbox.popen(
            *("run", "--name", name, *options, *(command or ("sh", "-c", f"echo > {name}.up; exec sleep 1000"))),
            process_group=0,  # as a shell's job: nobody is stopped in a group that has no parent in its session
        )
        processes.append(process)
        wait_for(lambda: (project / f"{name}.up").exists() or process.poll() is not None)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait(20)
    # Which removes what they have left, once their first processes have ended, too.
    wait_for(lambda: not started & set(sandbox("ps", "--quiet", check=True).stdout.split()))


Start = Callable[..., subprocess.Popen[str]]


# --- ps ---


def test_nothing_runs(sandbox: Sandbox) -> None:
    assert sandbox("ps", check=True).stdout == "ID  PROFILE  COMMAND  STATUS  SINCE  PID\n"
    assert sandbox("ps", "--quiet", check=True).stdout == ""
    assert json.loads(sandbox("ps", "--json", check=True).stdout) == []


def test_what_runs_in_the_order_in_which_it_was_started(sandbox: Sandbox, start: Start) -> None:
    start("zulu")
    start(
        "alpha",
        "-p",
        "shell",
        "-p",
        "build",
        command=("sh", "-c", "echo > alpha.up; exec sleep 1000", "it's", "a\x1b[31m"),
    )
    lines = [re.split(r"  +", line) for line in sandbox("ps", check=True).stdout.splitlines()]

    assert lines[0] == ["ID", "PROFILE", "COMMAND", "STATUS", "SINCE", "PID"]
    assert [line[0] for line in lines[1:]] == ["zulu", "alpha"]
    assert lines[2][1] == "shell,build"
    assert lines[2][2] == r"sh -c 'echo > alpha.up; exec sleep 1000' 'it'\''s' 'a\x1b[31m'"
    assert lines[2][3] == "running"
    assert re.fullmatch(r"\d+s", lines[2][4])
    assert Path(f"/proc/{lines[2][5]}/comm").read_text() == "sandbox-init\n" or int(lines[2][5]) > 1
    assert sandbox("ps", "-q", check=True).stdout == "zulu\nalpha\n"


def test_for_programs(sandbox: Sandbox, start: Start) -> None:
    start("one")
    (row,) = json.loads(sandbox("ps", "--json", check=True).stdout)

    assert row["id"] == "one"
    assert row["kind"] == "sandbox"
    assert row["profiles"] == ["build"]
    assert row["command"] == ["sh", "-c", "echo > one.up; exec sleep 1000"]
    assert row["status"] == "running"
    assert Path(f"/proc/{row['pid']}").exists()
    assert abs(seconds_of(row["created"]) - time.time()) < 60


def test_on_a_terminal_it_is_a_table_as_wide_as_that(sandbox: Sandbox, start: Start) -> None:
    start("one")
    terminal = Terminal()
    try:
        process = terminal.start(sandbox, "ps")
        seen = terminal.expect("running")
        process.wait(20)
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)

    assert "ID" in seen
    assert "one" in seen


def test_containers_of_the_engine_are_listed_too(sandbox: Sandbox, runtime_dir: Path) -> None:
    with making(runtime_dir / "sandbox") as maker:
        maker.record("lives", pid=maker.process(namespaces=False), args=["sleep", "1"], bundle="/b")
        maker.record("ended", pid=4194304, start=1, args=["true"])
        some, everyone = (
            json.loads(sandbox("ps", "--json", *options, check=True).stdout) for options in ((), ("--all",))
        )
        for container in Containers(runtime_dir / "sandbox"):
            container.destroy(force=True)

    assert [(row["id"], row["kind"], row["status"], row["bundle"]) for row in some] == [
        ("lives", "container", "running", "/b")
    ]
    assert {row["id"]: (row["status"], row["pid"] > 0) for row in everyone} == {
        "lives": ("running", True),
        "ended": ("stopped", False),
    }


def test_a_damaged_record_is_told_with_the_cure_and_hides_no_other(
    sandbox: Sandbox, start: Start, runtime_dir: Path
) -> None:
    start("one")
    with making(runtime_dir / "sandbox") as maker:
        paths = [maker.record(name, pid=os.getpid()) for name in ("bad", "worse")]
        first = (paths[0] / "state.json").read_text().partition("\n")[0]
        (paths[0] / "state.json").write_text(f"{first}\n{{")
        (paths[1] / "state.json").write_text("")
        result = sandbox("ps", check=True)
        for path in paths:
            (path / "state.json").unlink()
            path.rmdir()

    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["one"]
    for path in paths:
        assert f"{path}/state.json: is damaged\n  hint: rm -r {path}\n" in result.stderr


def test_a_reader_that_stops_is_no_failure(sandbox: Sandbox, start: Start) -> None:
    start("one")
    process = sandbox.popen("ps", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(20) in (0, -signal.SIGPIPE)


def test_while_fifty_start_and_stop(sandbox: Sandbox) -> None:
    """Each list is whole: no message, no traceback, and all that runs all the time."""
    stop = threading.Event()
    steady = sandbox.popen("run", "--name", "steady", "sh", "-c", "echo; exec sleep 1000", stdout=subprocess.PIPE)
    assert steady.stdout is not None
    steady.stdout.readline()

    def churn(number: int) -> None:
        while not stop.is_set():
            sandbox("run", "--name", f"churn{number}", "true", check=True)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    try:
        results = [sandbox("ps", *options) for _ in range(4) for options in ((), ("--json",), ("--quiet", "--all"))]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sandbox("kill", "steady", check=True)
        steady.wait(20)

    for result in results:
        assert result.returncode == 0
        assert result.stderr == ""
        assert "steady" in result.stdout


# --- kill ---


@pytest.mark.parametrize(
    "words, status",
    [((), 143), (("TERM",), 143), (("SIGINT",), 130), (("9",), 137), (("kill",), 137), (("--signal", "QUIT"), 131)],
)
def test_a_signal_by_name_and_number(sandbox: Sandbox, start: Start, words: tuple[str, ...], status: int) -> None:
    process = start("one")
    operands = ("one", *words) if not words or words[0][0] != "-" else (*words, "one")
    sandbox("kill", *operands, check=True)

    assert process.wait(20) == status


def test_several_and_what_fails_for_one_is_done_for_the_others(sandbox: Sandbox, start: Start) -> None:
    processes = [start("one"), start("two")]
    result = sandbox("kill", "one", "absent", "two", "USR1")

    assert [process.wait(20) for process in processes] == [128 + signal.SIGUSR1] * 2
    assert result.returncode == 125
    assert "no sandbox is called absent" in result.stderr


@pytest.mark.parametrize(
    "word, hint",
    [
        ("SIGKIL", "did you mean KILL?"),
        ("usr", "did you mean USR2?"),
        ("NOSIG", "write a name or a number: TERM, KILL, 15 …"),
        ("0", "write a name or a number: TERM, KILL, 15 …"),
        ("99", "write a name or a number: TERM, KILL, 15 …"),
    ],
)
def test_a_misspelt_signal_is_no_term(sandbox: Sandbox, start: Start, word: str, hint: str) -> None:
    process = start("one")
    result = sandbox("kill", "one", word)

    assert result.returncode == 125
    assert result.stderr == f'sandbox: kill: "{word}" is no signal, and no sandbox is called so\n  hint: {hint}\n'
    assert sandbox("ps", "-q").stdout == "one\n"
    assert process.poll() is None


def test_a_sandbox_may_be_called_as_no_signal_is(sandbox: Sandbox, start: Start) -> None:
    processes = [start("one"), start("USR3")]
    sandbox("kill", "one", "USR3", check=True)

    assert [process.wait(20) for process in processes] == [143, 143]


@pytest.mark.parametrize("option", ["-9", "-KILL"])
def test_a_signal_as_an_option_is_told_where_it_stands(sandbox: Sandbox, option: str) -> None:
    result = sandbox("kill", option, "one")

    assert result.returncode == 125
    assert "sandbox kill ID KILL" in result.stderr


def test_several_without_a_signal(sandbox: Sandbox, start: Start) -> None:
    processes = [start("one"), start("two")]
    sandbox("kill", *sandbox("ps", "-q").stdout.split(), check=True)

    assert [process.wait(20) for process in processes] == [143, 143]


def test_every_process_or_the_command_alone(sandbox: Sandbox, start: Start, project: Path) -> None:
    script = (
        "trap 'echo own >> got' USR1; sh -c \"trap 'echo other >> got' USR1; echo > {0}.up; while :; do sleep 0.05; done\" & "
        "while :; do sleep 0.05; done"
    )
    start("one", command=("sh", "-c", script.format("one")))
    sandbox("kill", "one", "USR1", check=True)
    wait_for((project / "got").exists)
    time.sleep(0.2)
    alone = (project / "got").read_text()
    sandbox("kill", "--all", "one", "USR1", check=True)
    wait_for(lambda: "other" in (project / "got").read_text())

    assert alone == "own\n"
    assert sorted((project / "got").read_text().split()) == ["other", "own", "own"]


@pytest.mark.parametrize(
    "words, message",
    [
        (("kill",), "no sandbox was given"),
        (("kill", "--signal", "FROB", "one"), '--signal: "FROB" is no signal'),
        (("kill", "--signal", "0", "one"), '--signal: "0" is no signal'),
        (("kill", "one"), "no sandbox is called one\n  hint: none is running"),
        (("kill", "--frob", "one"), "--frob is not understood"),
        (("ps", "one"), "one is not understood"),
        (("ps", "--jsn"), "did you mean --json?"),
        (("inspect",), "no sandbox was given"),
        (("inspect", "one"), "no sandbox is called one"),
    ],
)
def test_what_cannot_be(sandbox: Sandbox, words: tuple[str, ...], message: str) -> None:
    result = sandbox(*words)

    assert result.returncode == 125
    assert message in result.stderr


def test_words_of_signals() -> None:
    assert [find_signal(word) for word in ("TERM", "sigterm", "15", "64")] == [15, 15, 15, 64]
    assert [find_signal(word) for word in ("", "0", "65", "-9", "+9", "TERMX", "SIG", "1_0", "٣")] == [0] * 9


# --- inspect ---


def test_all_that_is_known(sandbox: Sandbox, start: Start, project: Path) -> None:
    process = start("one")
    found = json.loads(sandbox("inspect", "on", check=True).stdout)

    assert found["id"] == "one"
    assert found["monitor"] == process.pid
    assert found["cwd"] == str(project)
    assert found["profiles"] == ["build"]
    assert found["uptime"] >= 0
    assert found["hostname"] == "sandbox"
    assert found["uidMappings"] == [{"containerID": os.getuid(), "hostID": os.getuid(), "size": 1}]
    assert found["seccomp"] is True
    assert {entry["pidInside"]: entry["command"] for entry in found["processes"]}[2] == ["sleep", "1000"]
    assert all(entry["uid"] == os.getuid() for entry in found["processes"])
    for kind in ("user", "mnt", "pid", "net"):
        assert found["namespaces"][kind].startswith(f"{kind}:[")
        assert found["namespaces"][kind] != os.readlink(f"/proc/self/ns/{kind}")
    assert {"destination": str(project), "source": str(project)} in found["binds"]


def test_of_several_an_array(sandbox: Sandbox, start: Start) -> None:
    start("one")
    start("two")

    assert [row["id"] for row in json.loads(sandbox("inspect", "two", "one", check=True).stdout)] == ["two", "one"]


@needs("busybox", "new_proc")
def test_a_container_of_the_engine(sandbox: Sandbox, runtime_dir: Path, tmp_path: Path) -> None:
    with Containers(runtime_dir / "sandbox", program=str(ENGINE)).run("oci", make_bundle(tmp_path / "bundle")):
        found = json.loads(sandbox("inspect", "oci", check=True).stdout)

    assert found["kind"] == "container"
    assert found["bundle"] == str(tmp_path / "bundle")
    assert found["status"] == "running"
    assert found["command"]
    assert found["monitor"] is None


# --- parts ---


def test_command_lines() -> None:
    assert parse_verb("exec", ["--cwd=/x", "--env", "A", "--env=B=c", "id", "--", "--cwd", "y"]) == (
        {"cwd": "/x", "env": ["A", "B=c"]},
        ["id", "--cwd", "y"],
    )
    assert parse_verb("exec", ["id", "ls", "--help"]) == ({}, ["id", "ls", "--help"])
    assert parse_verb("kill", ["a", "--all", "b", "-s9"]) == ({"all": True, "signal": "9"}, ["a", "b"])
    assert parse_verb("kill", ["--", "-a"]) == ({}, ["-a"])
    assert parse_verb("ps", ["-h"]) is None
    with pytest.raises(UsageError):
        parse_verb("ps", ["--json=x"])


@pytest.mark.parametrize("verb", ["exec", "ps", "kill", "inspect"])
def test_help_has_an_example(sandbox: Sandbox, verb: str) -> None:
    text = sandbox(verb, "--help", check=True).stdout

    assert f"sandbox {verb}" in text
    assert "Example" in text or "EXAMPLE" in text


def test_the_list_imports_nothing_heavy() -> None:
    heavy = {"typer", "rich", "msgspec", "json", "subprocess", "shutil", "inspect"}
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "import sandbox.cli.start, sandbox.cli.verb_line, sandbox.cli.ps\n"
        f"print(*({heavy!r} & set(sys.modules)))"
    )
    result = subprocess.run(
        [str(BINARY.with_name("python3")), "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == []
