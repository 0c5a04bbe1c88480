"""Completion in real shells on a terminal: press TAB, and see what the line became."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from conftest import Sandbox
from needs import SLOWNESS, needs

from sandbox.cli.app import app
from sandbox.cli.completion import SHELLS, kinds, script
from sandbox.cli.manual import Page, page

# What is typed, with TAB as "\t", and the words that the line has when it is entered.
LINES = [
    ("sandbox ru\t", "<run>"),
    ("sandbox comp\tfi\t", "<completion><fish>"),
    ("sandbox profile untr\t", "<profile><untrust>"),
    ("sandbox run --prof\tuntr\t", "<run><--profile><untrusted>"),
    ("sandbox run -p my-o\t", "<run><-p><my-own>"),
    ("sandbox run -p untrusted --wri\tsub\t", "<run><-p><untrusted><--write><subdir/>"),
    ("sandbox run --network ho\t", "<run><--network><host>"),
    ("sandbox run --no-t\t", "<run><--no-tty>"),
    ("sandbox profile show my-o\t", "<profile><show><my-own>"),
    ("sandbox run unlikely-com\t", "<run><unlikely-command>"),
    ("sandbox run --read /tmp -- unlikely-com\t", "<run><--read></tmp><--><unlikely-command>"),
    ("sandbox run -- ls subd\t", "<run><--><ls><subdir/>"),
    ("sandbox run ls --wri\t", "<run><ls><--wri>"),
    ("sandbox run -p evil\t", "<run><-p><evil>"),
]

START = {
    "bash": (["bash", "--noprofile", "--norc", "-i"], "PS1='$ '; bind 'set bell-style none'; . ./script"),
    "zsh": (["zsh", "-f", "-i"], "PS1='$ '; unsetopt beep; autoload -Uz compinit; compinit -u -d ./dump; . ./script"),
    "fish": (["fish", "--no-config", "-i"], "function fish_prompt; echo '$ '; end; source ./script"),
}
SHOW = {
    "bash": "sandbox() { printf '<%s>' \"$@\"; echo; }",
    "zsh": "sandbox() { printf '<%s>' \"$@\"; echo; }",
    "fish": "function sandbox; printf '<%s>' $argv; echo; end",
}


class Shell:
    """A shell on a terminal of its own.  There is no `sandbox` on its PATH, but a function that shows its arguments."""

    def __init__(self, name: str, home: Path, environment: dict[str, str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(home / "project")
            command, _ = START[name]
            os.execvpe(command[0], command, {**environment, "PATH": f"{home}/bin:/usr/bin:/bin", "TERM": "xterm"})
        self.seen = ""
        self.count = 0
        self.enter(f"{START[name][1]}; {SHOW[name]}")

    def read(self, until: str, seconds: float = 30) -> str:
        end = time.monotonic() + seconds * SLOWNESS
        while until not in self.seen:
            if not self.more(end - time.monotonic()):
                pytest.fail(f"{until!r} did not appear in {self.seen!r}")
        before, _, self.seen = self.seen.partition(until)
        return before

    def more(self, seconds: float) -> bool:
        """Take what the shell writes; False if that is nothing for so long."""
        if not select.select([self.master], [], [], max(0, seconds))[0]:
            return False
        self.seen += os.read(self.master, 65536).decode(errors="replace")
        if "\x1b[c" in self.seen or "\x1b[0c" in self.seen:  # fish asks what terminal this is
            os.write(self.master, b"\x1b[?6c")
            self.seen = self.seen.replace("\x1b[c", "").replace("\x1b[0c", "")
        return True

    def settle(self, *, most: float) -> None:
        """Wait until the shell has begun to write, at most so long, and then is silent for a moment."""
        if self.more(most):
            while self.more(0.4):
                pass

    def enter(self, text: str) -> str:
        """Type a line, wait a moment behind each TAB, and return what it printed, up to a mark of ours."""
        self.count += 1
        for part in re.split(r"(\t)", text):
            os.write(self.master, part.encode())
            if part:
                self.settle(most=4 if part == "\t" else 1)
        # In two halves, so that the echo of the line is not taken for it.
        os.write(self.master, b"\r")
        time.sleep(0.2)
        os.write(self.master, f"echo MARK''{self.count}\r".encode())
        return self.read(f"MARK{self.count}")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.master)


@pytest.fixture
def places(home: Path, project: Path, runtime_dir: Path) -> dict[str, str]:
    """Return an environment in which there are things to be completed, and some that must not be."""
    profiles = home / ".config/sandbox/profiles"
    profiles.mkdir(parents=True)
    for name in ("my-own", "$(touch evil-ran)", "evil;touch evil-ran", "-evil", "`touch evil-ran`"):
        (profiles / f"{name}.toml").touch()
    for name in ("web-1", "$(touch evil-ran)"):
        (runtime_dir / "sandbox/containers" / name).mkdir(parents=True, mode=0o700)
    (project / "subdir").mkdir()
    (home / "bin").mkdir()
    (home / "bin/unlikely-command").write_text("#!/bin/sh\n")
    (home / "bin/unlikely-command").chmod(0o755)
    return {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime_dir), "LANG": "C.UTF-8"}


@pytest.fixture(params=SHELLS)
def shell(
    request: pytest.FixtureRequest, sandbox: Sandbox, home: Path, project: Path, places: dict[str, str]
) -> Iterator[Shell]:
    name = request.param
    (project / "script").write_text(sandbox("completion", name, check=True).stdout)
    started = Shell(name, home, places)
    yield started
    started.close()
    shutil.rmtree(Path(places["XDG_RUNTIME_DIR"]) / "sandbox")


@needs("zsh", "fish")
def test_a_tab_completes(shell: Shell, project: Path) -> None:
    wrong = {}
    for line, words in LINES:
        printed = shell.enter(line)
        if words.replace("/>", ">") not in printed.replace("/>", ">"):  # zsh takes the slash away again
            wrong[line] = printed
    assert not wrong
    assert not (project / "evil-ran").exists()


ALL = {
    "bash": ["bash", "--noprofile", "--norc", "-c"],
    "fish": ["fish", "--no-config", "-c"],
}
ASK = {
    "bash": ". ./script; COMP_WORDS=({words} ''); COMP_CWORD={count}; _sandbox; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
    "fish": "source ./script; complete -C '{line} '",
}


def asked(name: str, line: str, cwd: Path, environment: dict[str, str]) -> set[str]:
    """Return all that a shell offers behind `line`."""
    text = ASK[name].format(words=line, line=line, count=len(line.split()))
    result = subprocess.run(
        [*ALL[name], text],
        cwd=cwd,
        env={**environment, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert not result.stderr
    return {row.split("\t")[0] for row in result.stdout.splitlines() if row}


def pages(top: Page) -> Iterator[Page]:
    yield top
    for verb in top.verbs:
        yield from pages(verb)


TOP = page(typer.main.get_command(app))


@needs("fish")
@pytest.mark.leaves("containers")
@pytest.mark.parametrize("name", ["bash", "fish"])
def test_every_verb_is_offered_and_of_names_only_plain_ones(name: str, project: Path, places: dict[str, str]) -> None:
    (project / "script").write_text(script(name, TOP))
    for shown in pages(TOP):
        if shown.verbs:
            offered = asked(name, " ".join(shown.path), project, places)
            assert offered == {verb.path[-1] for verb in shown.verbs}
        elif kinds(shown)[:1] == ["id"]:
            assert asked(name, " ".join(shown.path), project, places) == {"web-1"}
    offered = asked(name, "sandbox run -p", project, places)
    assert {"build", "untrusted", "my-own"} <= offered
    assert not [entry for entry in offered if "evil" in entry]
    assert not (project / "evil-ran").exists()


@pytest.mark.parametrize("name", SHELLS)
def test_a_script_holds_every_option(name: str) -> None:
    text = script(name, TOP)

    for shown in pages(TOP):
        for row in shown.options:
            for spelling in row.names:
                assert (f"-l {spelling[2:]} " if name == "fish" and spelling[1] == "-" else spelling[1:]) in text


def test_an_unknown_shell_is_refused(sandbox: Sandbox) -> None:
    result = sandbox("completion", "tcsh")

    assert result.returncode == 125
    assert "write bash, zsh, fish" in result.stderr
