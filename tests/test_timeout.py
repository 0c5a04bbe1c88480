"""A time limit ends everything inside, however it resists, and says so."""

from __future__ import annotations

import os
import pty
import signal
import time
from pathlib import Path

import pytest
from conftest import Sandbox, descendants
from needs import needs

pytestmark = needs("userns")

TIMED_OUT = 124
REACHED = "sandbox: the time limit of {} s ({}) was reached\n"
IGNORE = "trap '' TERM; echo up; while :; do sleep 0.1; done"
INIT = pytest.mark.parametrize("init", ["--init", "--no-init"])


@pytest.mark.parametrize("start", ["cold", "kept"])
@INIT
def test_the_command_ends_with_124_and_a_word(sandbox: Sandbox, start: str, init: str) -> None:
    options = ("run", init, "--timeout", "300ms", "--timeout-grace", "0")
    if start == "kept":
        sandbox(*options, "true", check=True)
    began = time.monotonic()
    result = sandbox(*options, "sleep", "30")

    assert (result.returncode, result.stderr) == (TIMED_OUT, REACHED.format(0.3, "--timeout 300ms"))
    assert 0.3 <= time.monotonic() - began < 10


def test_the_word_names_the_line_of_the_profile(sandbox: Sandbox, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[limits]\ntimeout = "0.2s"\n')
    result = sandbox("run", "-p", "./p.toml", "sleep", "30")

    assert (result.returncode, result.stderr) == (TIMED_OUT, REACHED.format(0.2, "./p.toml:3: limits.timeout"))


@INIT
def test_within_its_time_a_command_ends_as_it_will(sandbox: Sandbox, init: str) -> None:
    result = sandbox("run", init, "--timeout", "1h", "sh", "-c", "exit 7")

    assert (result.returncode, result.stderr) == (7, "")


def test_the_command_may_tidy_up(sandbox: Sandbox) -> None:
    script = "trap 'echo tidy; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    result = sandbox("run", "--timeout", "500ms", "sh", "-c", script)

    assert result.stdout == "up\ntidy\n"
    assert result.returncode == TIMED_OUT


@INIT
def test_who_ignores_the_request_is_killed(sandbox: Sandbox, init: str) -> None:
    began = time.monotonic()
    result = sandbox("run", init, "--timeout", "300ms", "--timeout-grace", "500ms", "sh", "-c", IGNORE)

    assert (result.returncode, result.stdout) == (TIMED_OUT, "up\n")
    assert 0.8 <= time.monotonic() - began < 15


@INIT
def test_a_command_that_stands_still_is_killed(sandbox: Sandbox, init: str) -> None:
    """Stopped, it takes no SIGTERM; and to be process 1 does not help it."""
    script = "import os, signal, time\nos.kill(0, signal.SIGSTOP) if os.getpid() > 1 else None\ntime.sleep(60)"
    options = ("--timeout", "300ms", "--timeout-grace", "300ms")
    result = sandbox("run", init, *options, "/usr/bin/python3", "-c", script)

    assert result.returncode == TIMED_OUT


def test_a_stopped_command_that_can_end_is_asked_and_continued(sandbox: Sandbox) -> None:
    script = "trap 'echo tidy; exit' TERM; kill -STOP $$; sleep 30"
    result = sandbox("run", "--timeout", "500ms", "--timeout-grace", "20s", "sh", "-c", script)

    assert (result.returncode, result.stdout) == (TIMED_OUT, "tidy\n")


@INIT
def test_what_left_its_session_ends_too(sandbox: Sandbox, project: Path, init: str) -> None:
    """`_leftovers` sees what goes on; the orphan that the request reaches says so."""
    orphan = "trap 'touch asked; exit' TERM; touch away; while :; do sleep 0.05; done"
    script = f'setsid sh -c "{orphan}" & {IGNORE}'
    result = sandbox("run", init, "--timeout", "800ms", "--timeout-grace", "500ms", "sh", "-c", script)

    assert result.returncode == TIMED_OUT
    assert (project / "away").exists()
    # Without our process 1 the request goes to the command's own group alone.
    assert (project / "asked").exists() == (init == "--init")


def test_the_parent_cannot_be_reached_to_stop_the_clock(sandbox: Sandbox) -> None:
    script = "kill -STOP 1; kill -STOP -1; kill -STOP $PPID; kill -STOP 0; sleep 30"
    result = sandbox("run", "--timeout", "500ms", "--timeout-grace", "300ms", "sh", "-c", script)

    assert result.returncode == TIMED_OUT


def test_the_shortest_time_is_one(sandbox: Sandbox) -> None:
    for _ in range(10):
        result = sandbox("run", "--timeout", "1ms", "--timeout-grace", "0", "sleep", "30")
        assert (result.returncode, result.stderr) == (TIMED_OUT, REACHED.format(0.001, "--timeout 1ms"))


def test_the_clock_starts_with_the_command(sandbox: Sandbox) -> None:
    """However long the start takes: 250 ms of a tracer's delay are more than the limit."""
    sandbox("run", "--timeout", "200ms", "true", check=True)
    delay = ("-e", "trace=clone3", "-e", "inject=clone3:delay_exit=250000")
    traced = Sandbox(sandbox.cwd, sandbox.environment, binary=Path("/usr/bin/strace"))
    result = traced("-o", "/dev/null", *delay, sandbox.binary, "run", "--timeout", "200ms", "true")

    assert (result.returncode, result.stderr) == (0, "")


def test_a_command_that_cannot_be_executed_is_not_late(sandbox: Sandbox) -> None:
    assert sandbox("run", "--timeout", "1h", "nosuchcommand").returncode == 127


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_reader_that_stands_still_does_not_stop_the_clock(sandbox: Sandbox, kind: str) -> None:
    reader, writer = pty.openpty() if kind == "terminal" else os.pipe()
    process = sandbox.popen("run", "--tty", "--timeout", "800ms", "--timeout-grace", "300ms", "yes", stdout=writer)
    try:
        assert process.wait(15) == TIMED_OUT
    finally:
        os.close(writer)
        os.close(reader)


def test_a_signal_within_the_grace_is_passed_on(sandbox: Sandbox) -> None:
    script = "trap 'echo asked' TERM; trap 'exit 3' INT; echo up; while :; do sleep 0.05; done"
    process = sandbox.popen("run", "--timeout", "300ms", "--timeout-grace", "1h", "sh", "-c", script)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)

    assert process.wait(15) == TIMED_OUT


def test_the_clock_stands_while_the_sandbox_is_stopped(sandbox: Sandbox, project: Path) -> None:
    """And so does everything inside: else a program could do what it wants while nobody counts."""
    count = "while :; do echo >> count; sleep 0.05; done"
    script = f'setsid sh -c "{count}" & sleep 30'
    # A group of its own: in ours, if our own parent is gone, the kernel would let nobody stop.
    options = ("--timeout", "3s", "--timeout-grace", "0")
    process = sandbox.popen("run", *options, "sh", "-c", script, process_group=0)
    while not (project / "count").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    time.sleep(0.3)
    before = (project / "count").read_text()
    time.sleep(3)  # by which it would be over
    assert (project / "count").read_text() == before
    began = time.monotonic()
    process.send_signal(signal.SIGCONT)

    assert process.wait(15) == TIMED_OUT
    assert time.monotonic() - began > 0.3  # there was time left
    assert len((project / "count").read_text()) > len(before)


def test_nothing_waits_beside_us(sandbox: Sandbox) -> None:
    """The clock costs no process: the monitor, the first process, and the command."""
    process = sandbox.popen("run", "--timeout", "1h", "sh", "-c", "sleep 30 & echo up; wait")
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    count = len(descendants(process.pid))
    process.terminate()
    process.wait(15)

    assert count == 3


@pytest.mark.parametrize("text", ["", "0", "-1s", "1 fortnight", "1e3", "nan", "inf", "1s1s", "0x10", "99999999d"])
@pytest.mark.parametrize("option", ["--timeout", "--timeout-grace"])
def test_what_is_no_time_is_refused(sandbox: Sandbox, option: str, text: str) -> None:
    result = sandbox("run", "--timeout=1h", f"{option}={text}", "touch", "ran")

    if (option, text) == ("--timeout-grace", "0"):
        assert result.returncode == 0
    else:
        assert result.returncode == 125
        assert f'"{text}" is not a time' in result.stderr
        assert not (sandbox.cwd / "ran").exists()
