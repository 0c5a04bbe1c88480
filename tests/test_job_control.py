"""Under an interactive shell a sandbox is a job like any other: Ctrl-Z, fg, bg, kill."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sandbox
from fault_world import wait_until
from needs import needs
from test_terminal import Terminal

pytestmark = needs("userns")

CTRL_Z = "\x1a"
STOPPED = "Stopped"


class Shell(Terminal):
    """An interactive bash on a terminal of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.sandbox = sandbox

        def own() -> None:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            ["bash", "--norc", "--noediting", "-i"],
            env={**sandbox.environment, "PS1": "$ ", "S": str(sandbox.binary), "TERM": "xterm", "LESS": ""},
            cwd=sandbox.cwd,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            preexec_fn=own,
        )
        self.expect("$ ")

    def run(self, line: str) -> None:
        self.type(f"{line}\n")
        self.expect("\n")  # the echo

    def status(self) -> int:
        """Return the last command's exit status; the shell is at its prompt."""
        self.run("echo status=$?")
        status = int(re.findall(r"status=(\d+)", self.expect("\n"))[-1])
        self.expect("$ ")
        return status

    def close(self) -> None:
        self.seen = ""
        self.type("exit 0\n")
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def shell(sandbox: Sandbox) -> Iterator[Shell]:
    shell = Shell(sandbox)
    yield shell
    shell.close()


ANSWER = """'echo up; read x; echo "<$x>"; exit 3'"""


def stop(shell: Shell) -> None:
    """Stop what runs in the foreground, and wait for the prompt.

    Not at once: between vfork(2) and execve(2) a child of dash's is stopped while dash waits for it, deaf, in or out of
    a sandbox.
    """
    time.sleep(0.3)
    shell.type(CTRL_Z)
    shell.expect(STOPPED)
    shell.expect("$ ")


@pytest.mark.parametrize("by", ["key", "signal"])
def test_stop_and_foreground(shell: Shell, by: str) -> None:
    before = shell.attributes()
    shell.run(f"$S run sh -c {ANSWER}")
    shell.expect("up")
    if by == "key":
        stop(shell)
    else:
        os.kill(os.tcgetpgrp(shell.master), signal.SIGTSTP)
        shell.expect(STOPPED)
        shell.expect("$ ")
    assert shell.attributes() == before
    shell.run("echo the shell works")
    shell.expect("the shell works\r\n")
    shell.expect("$ ")
    shell.run("fg")
    time.sleep(0.5)
    shell.type("answer\n")
    shell.expect("<answer>")
    shell.expect("$ ")

    assert shell.status() == 3
    assert shell.attributes() == before


def assert_stands_still_until_fg(shell: Shell, count: Path) -> None:
    """Stop what makes `count` grow, let it go on, and interrupt it."""
    stop(shell)
    before = count.read_text()
    time.sleep(0.4)
    assert count.read_text() == before
    shell.run("fg")
    assert wait_until(lambda: len(count.read_text()) > len(before))
    shell.type("\x03")
    shell.expect("$ ")


def test_stopped_it_stands_still(shell: Shell, project: Path) -> None:
    shell.run("$S run sh -c 'echo up; while :; do echo >> count; sleep 0.05; done'")
    shell.expect("up")
    assert_stands_still_until_fg(shell, project / "count")

    assert shell.status() == 130


def test_background(shell: Shell, project: Path) -> None:
    shell.run("$S run sh -c 'echo up; while [ ! -e go ]; do sleep 0.05; done; echo done; exit 4'")
    shell.expect("up")
    stop(shell)
    shell.run("bg")
    shell.expect("$ ")
    (project / "go").touch()
    shell.expect("done")
    shell.run("wait %1; echo waited=$?")

    shell.expect("waited=4")


def test_a_background_job_that_wants_input_waits_for_the_foreground(shell: Shell) -> None:
    shell.run(f"$S run sh -c {ANSWER}")
    shell.expect("up")
    stop(shell)
    shell.run("bg")
    shell.expect("$ ")
    shell.run("echo for the shell")
    shell.expect("for the shell\r\n")
    shell.expect("$ ")
    shell.run("fg")
    time.sleep(0.8)
    shell.type("for it\n")

    shell.expect("<for it>")


@pytest.mark.parametrize("state", ["stopped", "background"])
def test_kill(shell: Shell, state: str) -> None:
    shell.run("$S run sh -c 'echo up; exec sleep 60'")
    shell.expect("up")
    stop(shell)
    if state == "background":
        shell.run("bg")
        shell.expect("$ ")
    shell.run("kill %1; sleep 1")

    shell.expect("Exit 143")


def test_the_window_size_changes_while_it_is_stopped(shell: Shell) -> None:
    shell.run("$S run sh -c 'trap \"stty size\" WINCH; echo up; while :; do sleep 0.05; done'")
    shell.expect("up")
    stop(shell)
    shell.resize(51, 133)
    shell.run("fg")
    shell.expect("51 133")
    shell.type("\x03")
    shell.expect("$ ")


def test_a_program_on_the_whole_screen_leaves_it_and_comes_back(shell: Shell, project: Path) -> None:
    """What less says before it stops is on the screen before the shell's prompt is, and its modes are its own again."""
    (project / "text").write_text("".join(f"line {n}\n" for n in range(100)))
    before = shell.attributes()
    shell.run("$S run less text")
    assert "\x1b[?1049h" in shell.expect("line 1")  # another screen
    time.sleep(0.3)
    shell.type(CTRL_Z)
    assert "\x1b[?1049l" in shell.expect(STOPPED)  # it has left the other screen
    shell.expect("$ ")
    assert shell.attributes() == before
    shell.run("fg")
    assert "\x1b[?1049h" in shell.expect("line 2")  # drawn anew
    time.sleep(0.3)
    shell.type("G")
    shell.expect("line 99")
    shell.type("q")
    shell.expect("$ ")

    assert shell.status() == 0
    assert shell.attributes() == before


def test_a_pipeline_is_stopped_as_a_whole(shell: Shell, project: Path) -> None:
    """The neighbour too, or the shell would not see the job as stopped."""
    counter = "echo up >&2; while :; do echo x; sleep 0.05; done"
    shell.run(f"$S run sh -c '{counter}' | while read line; do echo >> count; done")
    shell.expect("up")

    assert_stands_still_until_fg(shell, project / "count")


def test_a_script_that_runs_it_is_stopped_with_it(shell: Shell) -> None:
    shell.run("bash -c '$S run sh -c \"echo up; read x\"; echo after=$?'")
    shell.expect("up")
    stop(shell)
    shell.run("fg")
    time.sleep(0.5)
    shell.type("\n")

    shell.expect("after=0")


def test_a_shell_inside_has_jobs_of_its_own(shell: Shell) -> None:
    shell.run("$S run -p shell --env PS1='inner> ' bash --norc --noediting -i")
    shell.expect("inner> ")
    shell.run("sleep 30")
    time.sleep(0.3)
    shell.type(CTRL_Z)
    shell.expect(STOPPED)
    shell.expect("inner> ")  # the outer shell has not noticed
    shell.run("kill %1; wait; suspend")
    shell.expect(STOPPED)
    shell.expect("\n$ ")
    shell.run("fg")
    time.sleep(0.5)
    shell.type("\n")
    shell.expect("inner> ")
    shell.run("exit 5")
    shell.expect("\n$ ")

    assert shell.status() == 5


def test_output_that_nobody_reads_does_not_hinder_the_stop(shell: Shell) -> None:
    shell.run("$S run sh -c 'echo up; yes'")
    shell.expect("up")
    time.sleep(0.5)  # all buffers are full
    shell.type(CTRL_Z)
    shell.expect(STOPPED)
    shell.seen = ""
    shell.run("kill %1; sleep 1")
    shell.expect("Exit 143")


def test_the_clock_stands_meanwhile(shell: Shell) -> None:
    shell.run("$S run --timeout 3s sh -c 'echo up; sleep 60'")
    shell.expect("up")
    stop(shell)
    time.sleep(3.5)
    shell.run("fg")
    time.sleep(0.2)
    assert "limit" not in shell.seen
    shell.expect("the time limit of 3 s (--timeout 3s) was reached")
    shell.expect("$ ")

    assert shell.status() == 124


def test_without_a_shell_ctrl_z_stops_nothing_for_ever(sandbox: Sandbox) -> None:
    """As in `xterm -e sandbox run …`: nobody could say go on, and so the kernel lets nobody stop."""
    terminal = Terminal()
    process = terminal.start(sandbox, "run", "sh", "-c", "echo up; sleep 1; read x; echo on")
    terminal.expect("up")
    time.sleep(0.3)  # as in `stop`
    terminal.type(CTRL_Z)
    time.sleep(0.3)
    terminal.type("\n")
    terminal.expect("on")

    assert process.wait(20) == 0
    os.close(terminal.master)
    os.close(terminal.slave)


@pytest.mark.parametrize("number", ["STOP", "TSTP"])
def test_a_command_that_stops_itself_does_not_stop_its_caller(sandbox: Sandbox, number: str) -> None:
    """Without a terminal: the caller may be a script, which nobody would wake."""
    process = sandbox.popen("run", "sh", "-c", f"echo up; kill -{number} $$; sleep 30", process_group=0)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    time.sleep(0.5)
    with open(f"/proc/{process.pid}/stat") as file:
        state = file.read().rpartition(")")[2].split()[0]
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(20)

    assert state == "S"


def test_the_first_process_is_in_no_group_of_the_callers(sandbox: Sandbox) -> None:
    """What the terminal or the shell sends to the job's group is not meant for it."""
    result = sandbox("run", "sh", "-c", "ps -o pid=,pgid=,sid= -p 1,$$")

    assert [line.split() for line in result.stdout.splitlines()] == [["1", "1", "1"], ["2", "2", "1"]]
