"""Help: every verb and option is in it, it is narrow and quick, and what is not understood gets a proposal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer.main
from conftest import Sandbox

from sandbox.cli.app import app
from sandbox.cli.manual import Page, page


def pages(top: Page) -> Iterator[Page]:
    yield top
    for verb in top.verbs:
        yield from pages(verb)


PAGES = {" ".join(entry.path): entry for entry in pages(page(typer.main.get_command(app)))}
VERBS = {name: entry for name, entry in PAGES.items() if not entry.verbs}


@pytest.mark.parametrize("shown", PAGES.values(), ids=PAGES)
def test_help_holds_everything_in_eighty_columns(sandbox: Sandbox, shown: Page) -> None:
    text = sandbox(*shown.path[1:], "--help", env={"COLUMNS": "200"}, check=True).stdout
    words = " ".join(text.split())

    assert text.startswith(f"usage: {' '.join(shown.path)}")
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    for row in (*shown.options, *shown.arguments):
        assert row.label in words or row.metavar in words
        assert row.words
        assert row.words in words
    for verb in shown.verbs:
        assert f"\n  {verb.path[-1]} " in text


@pytest.mark.parametrize("shown", VERBS.values(), ids=VERBS)
def test_every_verb_has_examples_of_itself(shown: Page) -> None:
    assert shown.examples
    assert any(line.startswith(" ".join(shown.path)) for line in shown.examples)


def test_alone_it_says_the_least(sandbox: Sandbox) -> None:
    text = sandbox(check=True).stdout

    assert len(text.splitlines()) <= 12
    assert "sandbox run -- make check" in text
    assert all(verb.path[-1] in text for verb in PAGES["sandbox"].verbs)
    assert sandbox("profile", check=True).stdout == sandbox("profile", "--help", check=True).stdout


def test_exit_statuses_are_said_where_a_command_is_run(sandbox: Sandbox) -> None:
    text = sandbox("run", "--help", check=True).stdout

    for status in ("124", "125", "126", "127", "128+N"):
        assert f"\n  {status} " in text


def test_exec_has_no_time_limit_and_does_not_say_so(sandbox: Sandbox) -> None:
    text = sandbox("exec", "--help", check=True).stdout

    assert "\n  137 " in text
    assert "124" not in text


@pytest.mark.parametrize("settings, bold", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_headings_are_bold_on_a_terminal_only(sandbox: Sandbox, settings: dict[str, str], bold: bool) -> None:
    master, terminal = pty.openpty()
    process = sandbox.popen("--help", stdout=terminal, env={"TERM": "xterm", **settings})
    os.close(terminal)
    process.wait(20)
    shown = os.read(master, 65536)
    os.close(master)

    assert (b"\x1b[1musage:" in shown) == bold


NOT_UNDERSTOOD = [
    (["runn", "x"], "sandbox: runn is not understood\n  hint: did you mean run?\n  hint: see sandbox --help\n"),
    (["run", "--reed", "x"], "sandbox: run: --reed is not understood\n  hint: did you mean --read"),
    (["run", "--reed=/x", "--", "true"], "sandbox: run: --reed is not understood\n  hint: did you mean --read"),
    (["explain", "--hid", "x"], "sandbox: explain: --hid is not understood\n  hint: did you mean --hide"),
    (["profile", "trsut"], "sandbox: profile: trsut is not understood\n  hint: did you mean trust"),
    (["--xyz"], "sandbox: --xyz is not understood\n  hint: see sandbox --help\n"),
    (["profile", "show", "a", "b"], "sandbox: profile show: got unexpected extra argument(s) (b)\n  hint: see sandbox"),
    (["spec", "--output"], "sandbox: spec: option '--output' requires an argument\n  hint: see sandbox spec --help\n"),
    (["run", "-p"], "sandbox: run: option '-p' requires an argument\n  hint: see sandbox run --help\n"),
    (["\x1b[31m"], "sandbox: \\x1b[31m is not understood"),
    # As others call it.
    (["help", "run"], "help is not understood\n  hint: say sandbox --help, or sandbox VERB --help\n"),
    (["env"], "env is not understood\n  hint: to run it inside: sandbox run -- env\n"),
    (["run", "--ro-bind", "/", "/", "env"], "--ro-bind is not understood\n  hint: a path is shown at its own place"),
    (["run", "--unshare-net", "env"], "hint: there is no network, unless --network user or --network host gives one\n"),
    (["run", "-it", "env"], "run: -t is not understood\n  hint: there is a terminal inside where you have one"),
    (["exec", "-w", "/tmp", "one", "env"], "exec: -w is not understood\n  hint: say --cwd DIRECTORY\n"),
    (["run", "--ulimit", "nofile=1", "env"], "hint: a profile has rlimits: sandbox profile keys limits\n"),
    (["run", "--pids-limit=9", "env"], "run: --pids-limit is not understood\n  hint: say --pids NUMBER\n"),
    (["run", "--privileged", "env"], "hint: a profile says so: sandbox profile keys security\n"),
    (["run", "--restart", "always", "env"], "hint: systemd starts it again: sandbox generate systemd\n"),
    (["run", "-m", "1G", "env"], "run: -m is not understood\n  hint: say --memory SIZE\n"),
]


@pytest.mark.parametrize("words, said", NOT_UNDERSTOOD)
def test_what_is_not_understood_gets_a_proposal(sandbox: Sandbox, words: list[str], said: str) -> None:
    result = sandbox(*words)

    assert result.returncode == 125
    assert said in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["ps"], ["profile", "keys"], ["profile", "list"], ["spec"], ["doctor"]]
)
def test_output_that_cannot_be_written_is_an_error_in_our_words(sandbox: Sandbox, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        process = sandbox.popen(*words, stdout=full)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 125
    assert said.splitlines()[-1] == "sandbox: standard output cannot be written: No space left on device"
    assert "Traceback" not in said
    assert "Exception" not in said


def test_help_imports_no_more_than_it_needs() -> None:
    """Each of these takes longer than all the rest."""
    code = """
import sys
sys.argv = ["sandbox", "run", "--help"]
from sandbox.cli.app import main
try: main("sandbox", "0", ["run", "--help"])
except SystemExit: pass
print(*sorted(sys.modules), file=sys.stderr)"""
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    modules = {name.partition(".")[0] for name in result.stderr.split()}
    assert not modules & {"rich", "pydantic", "email", "pyroute2", "jeepney", "asyncio", "importlib_metadata"}
    assert "sandbox.profile.load" not in result.stderr.split()
    assert result.stdout.startswith("usage: sandbox run")


def test_a_table_in_a_pipe_is_plain_and_needs_no_rich() -> None:
    code = """
import sys
sys.modules["rich"] = None
from sandbox.cli.tables import show_table
show_table(("name", "from", "words"), [("a", "日本", "long " * 600), ("e\\u0301bcdef", "b\\x1b[31m", "")])"""
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.splitlines() == [
        "name    from       words",
        f"a       日本       {'long ' * 600}".rstrip(),
        "e\u0301bcdef  b\\x1b[31m",
    ]
