"""The command line of sandbox-oci: spellings, help, messages, formats and exit statuses, beside runc's."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import BINARY, Sandbox
from hypothesis import given
from hypothesis import strategies as st
from made_container import Maker, catches, making
from needs import needs

from sandbox.engine import command_line
from sandbox.engine.command_line import HelpWanted, WrongUsage, parse, parse_duration, parse_number, plain, quote
from sandbox.engine.log import Log
from sandbox.engine.options import GLOBAL, HOT, VERBS
from sandbox.engine.refusal import refusal
from sandbox.engine.verbs.listing import table
from sandbox.engine.verbs.ps import select
from sandbox.errors import (
    CommandFailed,
    ContainerBusy,
    ContainerError,
    ContainerExists,
    HookFailed,
    HostError,
    InvalidId,
)
from sandbox.plan.ops import Cgroup, Container, FindCommand, Isolate, Step
from sandbox.runtime.launch import to_error

ENGINE = BINARY.with_name("sandbox-oci")
RUNC = "/usr/sbin/runc"


@pytest.fixture
def engine(runtime_dir: Path, tmp_path: Path) -> Iterator[Sandbox]:
    """Return sandbox-oci with a state root of its own, and as little around it as podman gives."""
    program = Sandbox(cwd=tmp_path, environment={"XDG_RUNTIME_DIR": str(runtime_dir)}, binary=ENGINE)
    yield program
    program.close()


@pytest.fixture
def maker(runtime_dir: Path, engine: Sandbox) -> Iterator[Maker]:
    root = runtime_dir / "sandbox"
    with making(root) as made:
        yield made
    for name in os.listdir(root / "containers"):
        engine("delete", "--force", name)


def message(result: subprocess.CompletedProcess[str]) -> str:
    """Return the message of the one line on stderr."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    found = re.fullmatch(r'time="[^"]*" level=error msg=("(?:[^"\\]|\\.)*"|\S+)( hint="(?:[^"\\]|\\.)*")?', lines[0])
    assert found, lines[0]
    text = found[1]
    return str(json.loads(text)) if text.startswith('"') else text


# --- spellings ---


@pytest.mark.parametrize(
    "words, spelled",
    [
        ("run c", "run c"),
        ("run -b x -d c", "run --bundle x --detach c"),
        ("run -bundle=x --detach=true c", "run --bundle x --detach c"),
        ("-root /r --debug=false run --detach=0 c", "--root /r run c"),
        ("run c -b x", "run --bundle x c"),
        ("kill c TERM --all", "kill --all c TERM"),
        ("kill -- c -9", "kill c -9"),
        ("kill c -9", "kill c -9"),
        ("exec -e A=1 -e B=2 c sh -c x", "exec --env A=1 --env B=2 c sh -c x"),
        ("exec c ls --all -e", "exec c ls --all -e"),
        ("exec --user -1 c true", "exec --user -1 c true"),
        ("exec -g 1 -g 0x10 c true", "exec --additional-gids 1 --additional-gids 16 c true"),
        ("run --pid-file a --pid-file b c", "run --pid-file b c"),
        ("run --preserve-fds 010 c", "run --preserve-fds 8 c"),
        ("update --memory-swap -1 c", "update --memory-swap -1 c"),
        ("exec - x", "exec - x"),
    ],
)
def test_a_spelling_has_one_plain_one(words: str, spelled: str) -> None:
    assert plain(parse(words.split())) == spelled.split()
    assert plain(parse(spelled.split())) == spelled.split()


WRONG = [
    "create",
    "create a b",
    "run --bundle",
    "run -b x --bundle y id",
    "run --preserve-fds abc id",
    "run --preserve-fds 99999999999999999999 id",
    "delete --force=maybe x",
    "events --interval 5 x",
    "events --interval abc x",
    "exec",
    "exec ---x y",
    "exec -=x y",
    "exec -te x",
    "exec -e A=1 --env B=2 x y",
    "exec -g abc x",
    "kill",
    "kill a b c",
    "list extra",
    "list -fjson",
    "ps",
    "pause",
    "resume a b",
    "spec extra",
    "start",
    "state",
    "state --bogus=1 x",
    "state a b",
    "state x --bogus",
    "update",
    "update --pids-limit x c",
    "--nonsense list",
    "--debug=x list",
    "--log-format",
    "nonsense",
    "help nonsense",
]


@needs("runc")
@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_said_as_runc_says_it(engine: Sandbox, words: str, tmp_path: Path) -> None:
    ours = engine(*words.split())
    theirs = subprocess.run(
        [RUNC, "--root", str(tmp_path / "r"), *words.split()], capture_output=True, text=True, check=False
    )

    def said(result: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
        text = re.sub(r"^time=\S+ ", "", result.stderr)
        # In runc's message of an unknown verb there is the end of the line, too.
        text = text.replace(r"\n", "")
        text = text.replace(f"{ENGINE}:", "PROGRAM:").replace(f"{RUNC}:", "PROGRAM:")
        return result.returncode, result.stdout.partition("\n")[0], text

    assert said(ours) == said(theirs)


@pytest.mark.parametrize("words", ["--help", "--version", "list", "features", "run --help", "kill --frob"])
def test_output_that_cannot_be_written_is_an_error(engine: Sandbox, words: str) -> None:
    with open("/dev/full", "w") as full:
        process = engine.popen(*words.split(), stdout=full)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 1
    assert len(said.splitlines()) == 1
    assert "standard output cannot be written: No space left on device" in said


@needs("runc")
@pytest.mark.parametrize("words", ["", "--help", "-h", "help", "h", *(f"{verb} --help" for verb in VERBS)])
def test_help_has_runcs_shape(engine: Sandbox, words: str) -> None:
    """The headings, and the options that runc has."""
    ours = engine(*words.split(), check=True)
    theirs = subprocess.run([RUNC, *words.split()], capture_output=True, text=True, check=True).stdout

    def headings(text: str) -> list[str]:
        return [line for line in text.splitlines() if re.fullmatch(r"[A-Z ]+:", line) and line != "EXAMPLE:"]

    def options(text: str) -> set[str]:
        return set(re.findall(r"^   (--[a-z0-9-]+)", text, re.MULTILINE))

    assert options(theirs) <= options(ours.stdout)
    missing = set(headings(theirs)) - set(headings(ours.stdout))
    assert not missing
    assert ours.stderr == ""


def test_every_verb_of_nsinits_table_is_one() -> None:
    assert set(HOT) <= set(VERBS)
    for verb in VERBS.values():
        names = [name for option in verb.options for name in (option.long, option.short) if name]
        assert len(names) == len(set(names)), verb.name
        assert not {"h", "help"} & set(names)
    fields = {}
    for options in (GLOBAL, *(verb.options for verb in VERBS.values())):
        for option in options:
            fields.setdefault(option.field, option.takes_value)
            if option.long != "rootless":
                assert fields[option.field] == option.takes_value, option.long


@pytest.mark.parametrize(
    "text, number",
    [
        ("0", 0), ("10", 10), ("-1", -1), ("+5", 5), ("0x1f", 31), ("0o17", 15), ("017", 15), ("0b11", 3), ("1_000", 1000),
        ("", None), ("abc", None), (" 1", None), ("1 ", None), ("08", None), ("--1", None), ("1.5", None), ("٣", None),
        ("-", None), ("0x", None), ("1__0", None),
    ],
)  # fmt: skip
def test_numbers_are_gos(text: str, number: int | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("5s", 5), ("1m30s", 90), ("1.5h", 5400), ("100ms", 0.1), ("-5s", -5), ("0", 0), ("1us", 1e-6), ("1µs", 1e-6),
        ("5", None), ("s", None), ("", None), ("1x", None), ("1.2.3s", None), ("5 s", None), (".s", None),
    ],
)  # fmt: skip
def test_durations_are_gos(text: str, seconds: float | None) -> None:
    found = parse_duration(text)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_are_understood_or_refused(words: list[str]) -> None:
    with contextlib.suppress(WrongUsage, HelpWanted):
        line = parse(["exec", *words])
        again = parse(plain(line))
        assert (again.values, again.operands) == (line.values, line.operands) or "--" in words or "-" in "".join(words)


@given(st.text())
def test_quoted_text_is_one_printable_line_that_go_would_read(text: str) -> None:
    quoted = quote(text)
    assert quoted.isprintable()
    assert quoted[0] == quoted[-1] == '"'


@pytest.mark.parametrize(
    "text, quoted",
    [
        ("a", '"a"'), ('"', r'"\""'), ("\\", r'"\\"'), ("\n\t\x07", r'"\n\t\a"'), ("\x1b[31m", r'"\x1b[31m"'), ("ä", '"ä"'),
        ("\u202e", r'"\u202e"'), ("\U000e0001", r'"\U000e0001"'), ("\udcff", r'"\xff"'),
    ],
)  # fmt: skip
def test_quotes_are_gos(text: str, quoted: str) -> None:
    assert quote(text) == quoted


# --- version, help ---


def test_version_has_runcs_form(engine: Sandbox) -> None:
    for option in ("--version", "-v"):
        lines = engine(option, check=True).stdout.splitlines()
        assert re.fullmatch(r"sandbox-oci version \d+\.\d+\.\d+\S*", lines[0])
        assert re.fullmatch(r"spec: 1\.\d+\.\d+", lines[1])
        assert re.fullmatch(r"libseccomp: 2\.\d+\.\d+", lines[2])


def test_help_makes_no_state_root(engine: Sandbox, runtime_dir: Path) -> None:
    engine("run", "--help", check=True)
    assert not (runtime_dir / "sandbox").exists()


# --- what is not there ---


@pytest.mark.parametrize(
    "words",
    ["start x", "state x", "kill x", "kill --all x", "delete x", "ps x", "pause x", "resume x", "update x", "events x",
     "checkpoint x"],
)  # fmt: skip
def test_a_container_that_is_not_there_does_not_exist(engine: Sandbox, words: str) -> None:
    result = engine(*words.split())
    assert (result.returncode, result.stdout, message(result)) == (1, "", "container does not exist")


def test_to_delete_it_by_force_is_all_right(engine: Sandbox) -> None:
    result = engine("delete", "--force", "x")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "a@b", "a:b"])
@pytest.mark.parametrize("verb", ["create", "run", "state", "kill", "delete", "start"])
def test_an_id_that_cannot_be_one(engine: Sandbox, verb: str, name: str) -> None:
    result = engine(verb, name)
    prefix = f"sandbox-oci {verb} failed: " if verb in ("create", "run") else ""
    said = "container id cannot be empty" if not name else "invalid container ID format"
    assert (result.returncode, message(result)) == (1, prefix + said)


def test_lists_of_nothing(engine: Sandbox) -> None:
    heading = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    assert engine("list", check=True).stdout == heading
    assert engine("list", "-q", check=True).stdout == ""
    assert engine("list", "--format", "json", check=True).stdout == "null\n"
    result = engine("list", "--format", "yaml")
    assert (result.returncode, message(result)) == (1, "invalid format option")


@pytest.mark.parametrize("verb", ["create", "run"])
def test_bundles_that_are_none(engine: Sandbox, tmp_path: Path, verb: str) -> None:
    prefix = f"sandbox-oci {verb} failed: "
    assert message(engine(verb, "--bundle", "/nonexistent", "c")) == (
        f"{prefix}chdir /nonexistent: no such file or directory"
    )
    assert message(engine(verb, "c")) == f"{prefix}JSON specification file config.json not found"
    os.mkfifo(tmp_path / "config.json")
    assert message(engine(verb, "c")) == f"{prefix}./config.json is not a regular file"
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    assert message(engine(verb, "--preserve-fds", "9", "c")).startswith(
        f"{prefix}unable to stat preserved-fd 1 (of 9): "
    )


def test_checkpoint_and_restore_are_later(engine: Sandbox) -> None:
    result = engine("restore", "x")
    assert result.returncode == 1
    assert "not supported yet" in message(result)


# --- logs ---


def test_a_log_file_gets_the_line_and_stderr_the_bare_message(engine: Sandbox, tmp_path: Path) -> None:
    result = engine("--log", "log", "state", "x")
    assert (result.returncode, result.stderr) == (1, "container does not exist\n")
    line = (tmp_path / "log").read_text()
    assert re.fullmatch(
        r'time="20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)" level=error msg="container does not exist"\n', line
    )
    engine("--log", "log", "state", "x")
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_a_log_in_json_has_the_members_that_engines_read(engine: Sandbox, tmp_path: Path) -> None:
    engine("--log", "log", "--log-format", "json", "state", "x")
    entry = json.loads((tmp_path / "log").read_text())
    assert entry == {"level": "error", "msg": "container does not exist", "time": entry["time"]}
    result = engine("--log-format", "json", "state", "x")
    assert json.loads(result.stderr)["msg"] == "container does not exist"


def test_a_log_file_is_made_though_there_is_nothing_to_log(engine: Sandbox, tmp_path: Path) -> None:
    engine("--log", "log", "list", check=True)
    assert (tmp_path / "log").read_text() == ""


def test_a_log_that_cannot_be(engine: Sandbox) -> None:
    assert message(engine("--log-format", "yaml", "list")) == "invalid log-format: yaml"
    assert message(engine("--log", "/nonexistent/log", "list")) == "open /nonexistent/log: no such file or directory"


def test_debug_adds_lines_of_that_level(engine: Sandbox) -> None:
    lines = engine("--debug", "state", "x").stderr.splitlines()
    assert [re.search(r"level=(\w+)", line)[1] for line in lines] == ["debug", "error"]  # type: ignore[index]


def test_criu_is_ignored_with_a_warning(engine: Sandbox) -> None:
    result = engine("--criu", "/x", "list", check=True)
    assert 'level=warning msg="--criu is ignored' in result.stderr


def test_on_a_terminal_lines_are_coloured(engine: Sandbox) -> None:
    master, slave = pty.openpty()
    process = engine.popen("state", "x", stderr=slave)
    process.wait(20)
    os.close(slave)
    assert os.read(master, 4096).decode() == (
        "\x1b[31mERRO\x1b[0m[0000] " + "container does not exist".ljust(44) + " \r\n"
    )
    os.close(master)


def test_names_cannot_write_to_the_terminal(engine: Sandbox) -> None:
    result = engine("--log", "log", "kill", "x\x1b[2J")
    assert "\x1b" not in result.stderr
    for words in (["--nonsense\x1b[2J"], ["list", "--nonsense\x1b[2J"]):
        result = engine(*words)
        assert "nonsense\\x1b[2J" in result.stdout
        assert "\x1b" not in result.stdout + result.stderr
    master, slave = pty.openpty()
    process = engine.popen("nonsense\x1b[2J", stderr=slave)
    process.wait(20)
    os.close(slave)
    assert "\x1b[2J" not in os.read(master, 4096).decode()
    os.close(master)


def test_hints_stand_apart(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    error = HostError("it fails", hint="do this")
    Log().fail(error)
    assert capfd.readouterr().err.endswith('level=error msg="it fails" hint="do this"\n')
    Log(str(tmp_path / "log"), "json").fail(error, "create failed: ")
    assert json.loads((tmp_path / "log").read_text())["hint"] == "do this"
    assert capfd.readouterr().err == "create failed: it fails\n"


@given(st.text())
def test_any_message_is_one_json_line(text: str) -> None:
    from sandbox.engine.log import _as_json

    line = _as_json({"level": "error", "msg": f"x{text}"})
    assert "\n" not in line
    assert json.loads(line)["msg"] == "x" + re.sub("[\ud800-\udfff]", "\ufffd", text)


# --- tables ---


def test_columns_are_as_wide_as_runcs() -> None:
    assert table([("ID", "PID", "OWNER"), ("a" * 20, "1", "me")]) == (
        "ID                     PID         OWNER\n" + "a" * 20 + "   1           me\n"
    )


def test_lines_of_ps_are_chosen_by_the_column_pid() -> None:
    output = "UID  PID PPID CMD\nme     1    0 a 2 b\nme    22    1 c\n\n"
    assert select(output, {22}) == "UID  PID PPID CMD\nme    22    1 c\n"
    assert select(output, set()) == "UID  PID PPID CMD\n"
    with pytest.raises(HostError, match=r"^couldn't find PID field in ps output$"):
        select("COMMAND\nsleep\n", {1})


# --- spec, features ---


@needs("runc")
@pytest.mark.parametrize("options", [(), ("--rootless",)])
def test_spec_writes_what_runc_writes(engine: Sandbox, tmp_path: Path, options: tuple[str, ...]) -> None:
    for name, program in (("a", [str(ENGINE)]), ("b", [RUNC])):
        (tmp_path / name).mkdir()
        subprocess.run([*program, "spec", *options, "--bundle", str(tmp_path / name)], check=True)
    ours, theirs = ((tmp_path / name / "config.json").read_bytes() for name in "ab")
    assert re.sub(rb'"ociVersion": "[^"]*"', b"", ours) == re.sub(rb'"ociVersion": "[^"]*"', b"", theirs)

    again = engine("spec", cwd=tmp_path / "a")
    assert (again.returncode, message(again)) == (1, "File config.json exists. Remove it first")
    absent = engine("spec", "--bundle", "/nonexistent")
    assert message(absent) == "chdir /nonexistent: no such file or directory"


# --- words for what nsinit reports ---

CONTAINER = Step(Container(directory="/r/containers", oci_version="1.2.1", identity="", record="", namespaces=0))
CREATED = (CONTAINER, Step(Isolate(flags=0)), Step(FindCommand()))
_CREATE = "unable to start container process: "
_INIT = f"{_CREATE}error during container init: "


@pytest.mark.parametrize(
    "index, call, number, subject, kind, said",
    [
        (2, "exec", 2, "nosuch", CommandFailed, f'{_CREATE}exec: "nosuch": executable file not found in $PATH'),
        (2, "exec", 2, "/nosuch", CommandFailed, f'{_CREATE}exec: "/nosuch": stat /nosuch: no such file or directory'),
        (2, "exec", 13, "/etc/noexec", CommandFailed, f'{_CREATE}exec: "/etc/noexec": permission denied'),
        (2, "exec", 2, "", CommandFailed, f'{_CREATE}exec: "": executable file not found in $PATH'),
        (1, "exec", 8, "/bin/x", CommandFailed, "exec /bin/x: exec format error"),
        (1, "exec", 2, "/bin/x", CommandFailed, "exec /bin/x: no such file or directory"),
        (1, "hook", 0, "prestart hook #0: exit status 1, stdout: , stderr: x", HookFailed,
         f"{_INIT}error running prestart hook #0: exit status 1, stdout: , stderr: x"),
        (1, "hook", 0, "createContainer hook #1: signal: Killed, stdout: , stderr: ", HookFailed,
         f"{_INIT}error running createContainer hook #1: signal: Killed, stdout: , stderr: "),
        (1, "hook", 0, "poststart hook #2: exit status 1, stdout: , stderr: ", HookFailed,
         "error running poststart hook #2: exit status 1, stdout: , stderr: "),
        (0, "mkdir", 17, "c", ContainerExists, "container with given ID already exists"),
        (0, "mkdir", 22, "a/b", InvalidId, "invalid container ID format"),
        (0, "mkdir", 11, "c", ContainerBusy, "container c is being changed by another call"),
        (0, "pid-file", 2, "/x/y", HostError, "open /x/.y: no such file or directory"),
        (0, "pid-file", 13, "y", HostError, "open .y: permission denied"),
        (1, "init", 0, "Killed", ContainerError, f"{_CREATE}the container's first process ended without a report: Killed"),
    ],
)  # fmt: skip
def test_failures_have_runcs_words(
    index: int, call: str, number: int, subject: str, kind: type[Exception], said: str
) -> None:
    error = refusal(CREATED, index, call, number, subject)
    assert str(error) == said
    assert type(error) is kind
    if kind not in (HostError, InvalidId):
        assert type(to_error(f"sandbox-oci run failed: {said}")) is kind


def test_a_step_that_failed_is_named_with_its_place() -> None:
    steps = (CONTAINER, Step(Isolate(flags=0x10000000), "config.json: linux.namespaces"))
    said = str(refusal(steps, 1, "clone3", 1, ""))
    assert said.startswith(f"{_INIT}config.json: linux.namespaces: cannot ")
    assert said.endswith(": operation not permitted (clone3)")


@needs("cgroup2")
def test_a_cgroup_in_use_is_said_as_runc_says_it(maker: Maker) -> None:
    directory = maker.cgroup(maker.process(namespaces=False))
    steps = (Step(Cgroup(parent=str(directory.parent), name=directory.name)),)
    assert str(refusal(steps, 0, "cgroup", 16, str(directory))).endswith(
        "container's cgroup is not empty: 1 process(es) found"
    )
    (directory / "cgroup.freeze").write_text("1")
    end = time.monotonic() + 5
    while "frozen 1" not in (directory / "cgroup.events").read_text() and time.monotonic() < end:
        time.sleep(0.01)
    assert str(refusal(steps, 0, "cgroup", 16, str(directory))).endswith("container's cgroup unexpectedly frozen")


# --- verbs over a state ---


@pytest.fixture
def running(maker: Maker) -> Callable[..., int]:
    """Return a function that makes the container `c` around a process, and returns its number."""

    def make(*command: str, **members: Any) -> int:
        pid = maker.process(command or ("sleep", "1000"))
        maker.record("c", pid=pid, **members)
        return pid

    return make


@needs("userns")
def test_list_shows_state_and_owner(engine: Sandbox, maker: Maker, running: Callable[..., int]) -> None:
    pid = running(annotations={"org.a": "b"})
    owner = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    bundle = maker.root / "bundle"
    [entry] = json.loads(engine("list", "-f", "json", check=True).stdout)
    assert entry == {
        "ociVersion": "1.2.1", "id": "c", "pid": pid, "status": "running", "bundle": str(bundle),
        "rootfs": f"{bundle}/rootfs", "created": "2026-11-25T10:00:00.123456789Z", "annotations": {"org.a": "b"},
        "owner": owner,
    }  # fmt: skip
    line = engine("list", check=True).stdout.splitlines()[1]
    assert line.split() == ["c", str(pid), "running", str(bundle), "2026-11-25T10:00:00.123456789Z", owner]
    assert engine("list", "-q", check=True).stdout == "c\n"


@needs("userns")
def test_state_of_a_container_whose_plan_nsinit_cannot_read(engine: Sandbox, running: Callable[..., int]) -> None:
    pid = running()
    result = engine("state", "c", check=True)
    assert json.loads(result.stdout)["pid"] == pid
    assert result.stdout.startswith('{\n  "ociVersion": ')
    assert result.stdout.endswith(',\n  "owner": ""\n}\n')


@needs("userns")
def test_ps(engine: Sandbox, running: Callable[..., int]) -> None:
    pid = running()
    assert engine("ps", "-f", "json", "c", check=True).stdout == f"[{pid}]\n"
    shown = engine("ps", "c", env={"PATH": "/usr/bin:/bin"}, check=True).stdout.splitlines()
    assert len(shown) == 2
    assert shown[0].split()[:2] == ["UID", "PID"]
    assert shown[1].split()[1] == str(pid)
    shown = engine("ps", "c", "-o", "pid,comm", env={"PATH": "/usr/bin:/bin"}, check=True).stdout.splitlines()
    assert shown[1].split() == [str(pid), "sleep"]
    result = engine("ps", "--format", "yaml", "c")
    assert (result.returncode, message(result)) == (1, "invalid format option")
    result = engine("ps", "c", "--nosuch", env={"PATH": "/usr/bin:/bin"})
    assert (result.returncode, message(result).partition(":")[0]) == (1, "exit status 1")


@needs("userns")
@pytest.mark.parametrize(
    "word, status, said",
    [
        ("WINCH", 0, ""), ("sigwinch", 0, ""), ("28", 0, ""), ("0", 0, ""), ("64", 0, ""),
        ("SIGNOSUCH", 1, 'unknown signal "SIGNOSUCH"'), ("RTMIN", 1, 'unknown signal "RTMIN"'),
        ("SIGRTMIN+1", 1, 'unknown signal "SIGRTMIN+1"'), ("999", 1, "unable to signal init: invalid argument"),
        ("-1", 1, "unable to signal init: invalid argument"),
    ],
)  # fmt: skip
def test_kill(engine: Sandbox, running: Callable[..., int], word: str, status: int, said: str) -> None:
    running()
    result = engine("kill", "c", word)
    assert result.returncode == status
    assert (message(result) if status else result.stderr) == said


@needs("userns")
def test_kill_with_an_empty_word_is_with_term(engine: Sandbox, maker: Maker) -> None:
    pid = maker.process(("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.02; done"))
    maker.record("c", pid=pid)
    end = time.monotonic() + 20
    while not catches(pid, signal.SIGTERM):
        assert time.monotonic() < end
    engine("kill", "c", "", check=True)
    while json.loads(engine("state", "c", check=True).stdout)["status"] != "stopped":
        assert time.monotonic() < end
    result = engine("kill", "c")
    assert (result.returncode, message(result)) == (1, "container not running")
    engine("kill", "--all", "c", "KILL", check=True)
    assert engine("ps", "-f", "json", "c", check=True).stdout == "null\n"
    for verb, said in (
        ("start", "cannot start a container that has stopped"),
        ("pause", "container not running"),
        ("resume", "container not paused"),
        ("events", "container with id c is not running"),
        ("update", "container not running"),
    ):
        result = engine(verb, "c")
        assert (result.returncode, message(result)) == (1, said)


@needs("userns")
def test_what_runs_is_not_deleted_without_force(engine: Sandbox, maker: Maker, running: Callable[..., int]) -> None:
    running()
    result = engine("delete", "c")
    assert (result.returncode, message(result)) == (1, "cannot delete container c that is not stopped: running")
    result = engine("start", "c")
    assert (result.returncode, message(result)) == (1, "cannot start an already running container")
    engine("delete", "-f", "c", check=True)
    assert not (maker.root / "containers/c").exists()


@needs("userns", "cgroup2")
def test_pause_and_resume(engine: Sandbox, maker: Maker) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid))
    engine("pause", "c", check=True)
    assert json.loads(engine("state", "c", check=True).stdout)["status"] == "paused"
    assert message(engine("pause", "c")) == "container not running"
    assert message(engine("start", "c")) == "cannot start a container in the paused state"
    assert message(engine("delete", "c")) == "cannot delete container c that is not stopped: paused"
    engine("resume", "c", check=True)
    assert message(engine("resume", "c")) == "container not paused"


@needs("userns", "cgroup2")
def test_events(engine: Sandbox, maker: Maker) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid))
    event = json.loads(engine("events", "--stats", "c", check=True).stdout)
    assert (event["type"], event["id"]) == ("stats", "c")
    assert event["data"]["pids"]["current"] == 1
    result = engine("events", "--interval", "0s", "c")
    assert (result.returncode, message(result)) == (1, "duration interval must be greater than 0")

    process = engine.popen("events", "--interval", "50ms", "c")
    assert process.stdout is not None
    for _ in range(3):
        assert json.loads(process.stdout.readline())["type"] == "stats"
    os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode == 0


@needs("userns", "cgroup2")
@pytest.mark.parametrize(
    "options, said",
    [
        (["--memory", "abc"], "invalid value for memory: invalid size: 'abc'"),
        (["--cpu-share", "x"], 'invalid value for cpu-share: strconv.ParseUint: parsing "x": invalid syntax'),
        (["--cpu-period", "-1"], 'invalid value for cpu-period: strconv.ParseUint: parsing "-1": invalid syntax'),
        (["--l3-cache-schema", "x"], "Intel RDT/CAT: l3 cache schema is not enabled"),
        (["--resources", "nosuch.json"], "open nosuch.json: no such file or directory"),
    ],
)
def test_updates_that_make_no_sense(engine: Sandbox, maker: Maker, options: list[str], said: str) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid))
    result = engine("update", *options, "c")
    assert (result.returncode, message(result)) == (1, said)


@needs("userns", "cgroup2")
def test_an_update_of_nothing_is_all_right(engine: Sandbox, maker: Maker) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid))
    engine("update", "c", check=True)


# --- time ---


def test_verbs_that_engines_call_import_little() -> None:
    """What costs milliseconds each is not imported by the verbs that are called often."""
    heavy = {"typing", "enum", "msgspec", "re", "dataclasses", "subprocess", "json", "argparse", "pathlib", "datetime"}
    allowed = {
        "state": {"json", "re", "enum"},
        "kill": {"enum"},
        "delete": {"enum"},
        "start": set(),
        "pause": set(),
        "listing": set(),
    }
    for verb, permitted in allowed.items():
        code = (
            "import sys; before = set(sys.modules); sys.argv[1:] = []\n"
            f"import sandbox.engine.start, sandbox.engine.verbs.{verb}, sandbox.runtime.containers\n"
            f"print(*({heavy!r} - before) & set(sys.modules))"
        )
        python = BINARY.with_name("python3")
        found = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert set(found) <= permitted, verb


def test_the_parser_is_light() -> None:
    code = (
        "import sys; before = set(sys.modules)\nimport sandbox.engine.command_line, sandbox.engine.log, sandbox.engine.call\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('sandbox')))"
    )
    python = BINARY.with_name("python3")
    found = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["__future__"]
    assert command_line
