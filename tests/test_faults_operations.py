"""Whatever call goes wrong at whatever operation of a shipped profile's plan, the run says which one, and leaves nothing.

Killed, stopped, or refused with EPERM, ENOSPC or ENOMEM; what goes on in spite of it has all that isolates.  By default a part
of all calls is tried; `SANDBOX_SOAK=1` tries each with everything (`./dev soak`).
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox
from fault_world import ERRORS, FAULTY, Call, Faulty, Outcome, kept_plan, prepare, wait_until
from needs import CHECKOUT, needs

from sandbox.cli.execution import command_error
from sandbox.cli.refusal import refusal
from sandbox.plan.encode import Plan, decode
from sandbox.plan.ops import Flag, Reaper

pytestmark = needs("userns")

SOAK = os.environ.get("SANDBOX_SOAK", "") not in ("", "0")
PROFILES = sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.toml") if path.stem not in ("base", "secrets"))
SEEN = ("cat", "/proc/self/mountinfo", "/proc/self/status", "/proc/self/limits")
VARIES = re.compile(
    r"(Vm|Rss|voluntary|nonvoluntary|N?S?[Tt]g?id|NSpid|NSpgid|NSsid|Pid|PPid|FDSize|TracerPid|Cpus|Mems)\S*:|"
    r"\d+ \d+ \d+:\d+ "  # of a mount: ids, and the device of a file system that is new each time
)

# Refused these, nsinit can say nothing (a standard stream is closed), or has no plan yet by which to say it.
ALONE = {"fcntl", "syscall", "readlink"}
# A lack of memory is what malloc(3) says of any; what cannot be told to be no procfs is treated as one; half a plan is none.
SAYS = {"malloc": errno.ENOMEM, "calloc": errno.ENOMEM, "fstatfs": errno.ELOOP, "pread": errno.EBADMSG}


def view(text: str) -> list[str]:
    """Return what the command saw, without what differs between two runs."""
    return [
        re.sub(r"^\d+ \d+ \d+:\d+ | master:\d+", "", line)
        for line in text.splitlines()
        if not VARIES.match(line) or "/" in line
    ]


class Runs:
    """The runs of one profile, with and without faults."""

    def __init__(self, faulty: Faulty, plan: Plan, words: tuple[str, ...], containers: Path) -> None:
        self.faulty, self.plan, self.words, self.containers = faulty, plan, words, containers
        self.calls = faulty.calls(*words)
        self.seen = view(faulty.run(*words, fault="* 0 none 0").stdout)
        self.struck = 0

    def kind(self, call: Call) -> type | None:
        return type(self.plan.steps[call.op].op) if call.op >= 0 else None

    def sweep(self) -> None:
        """Let another start take away what was left: a stub on the host, which makes the kept plan a stale one."""
        stubs = self.containers.parent / "stubs"
        if stubs.is_dir() and os.listdir(stubs):
            subprocess.run([BINARY, "run", "--", "true"], cwd=self.faulty.cwd, env=self.faulty.environment, check=True)
            assert not os.listdir(stubs)

    def fail(self, call: Call, number: int) -> str:
        """Let the call fail; return what is wrong with what then happens."""
        self.sweep()
        outcome = self.faulty.fail(call, number, *self.words)
        if not outcome.calls:
            return ""  # of the monitor's calls not all are made each time
        self.struck += 1
        return self._judge(outcome, outcome.calls[0], number) or self._left()

    def _judge(self, outcome: Outcome, call: Call, number: int) -> str:
        told = outcome.told
        if outcome.status == 0:
            flags = self.plan.steps[call.op].flags if call.op >= 0 else 0
            if number == errno.EPERM and flags & Flag.MAY_FAIL:
                return ""
            return "" if view(outcome.stdout) == self.seen else "it went on with less"
        if outcome.status != 125 or (outcome.stdout and not self._may_be_over(call)):
            return f"it ended with {outcome.status}"
        if call.role == "monitor" and (not told or told[2].endswith(".plan")):
            return "" if told or call.name in ALONE else "nothing was said"
        if len(told) < 5:
            return f"Python was told {told}"
        _, index, name, error, subject = told[:5]
        if name == "init":
            early = call.role == "first" and (call.op < 0 or self.kind(call) is Reaper)
            return "" if early else "it ended without a report"
        if int(error) not in (number, SAYS.get(call.name)):
            return f"the error is said to be {error} ({name})"
        if call.op >= 0 and int(index) != call.op:
            return f"the operation is said to be {index}"
        return self._words(int(index), name, int(error), subject)

    def _words(self, index: int, name: str, number: int, subject: str) -> str:
        if name == "exec":
            said = str(command_error(self.plan.steps, subject, number))
            return "" if SEEN[0] in said and os.strerror(number) in said else f"in words: {said}"
        step = self.plan.steps[min(index, len(self.plan.steps) - 1)]  # behind the last: as sandbox.cli.refusal has it
        said = str(refusal(step, name, number, subject))
        right = said.startswith(step.origin) and os.strerror(number) in said and f"({name}" in said
        return "" if right else f"in words: {said}"

    def kill(self, call: Call) -> str:
        """Kill the process that is about to make the call; return what is wrong with what then happens."""
        self.sweep()
        outcome = self.faulty.kill(call, *self.words)
        if not outcome.calls:
            return ""
        self.struck += 1
        call = outcome.calls[0]
        if call.role == "monitor":
            return "" if outcome.status == -signal.SIGKILL else f"it ended with {outcome.status}"
        if call.name == "execve":  # it was the command already, as far as anybody can tell
            return "" if outcome.status == 137 else f"it ended with {outcome.status}"
        if outcome.status != 125 or outcome.told[2:3] != ["init"]:
            return f"it ended with {outcome.status}: {outcome.told}"
        return self._left() if outcome.told[4] == "Killed" else f"the reason is said to be {outcome.told[4]}"

    def stop(self, call: Call) -> str:
        """Stop the process that is about to make the call; return what is wrong when the monitor is killed then."""
        self.sweep()
        outcome = self.faulty.stop(call, *self.words)
        if not outcome.calls:
            return ""
        self.struck += 1
        # Who has not come to say yet that it dies with its parent ends as soon as it goes on.
        early = call.role == "entering" and call.name == "prctl" and call.number == 1
        if outcome.lingered and not early:
            return "it outlived the monitor"
        stood = outcome.went_on and (self._may_be_over(call) or not outcome.stdout)
        return "" if stood else "the run did not stand still"

    def _may_be_over(self, call: Call) -> bool:
        """Whether the command may have run by then."""
        return call.role == "monitor" or self.kind(call) is Reaper

    def _left(self) -> str:
        # What a killed monitor left before is removed by this start.
        left = os.listdir(self.containers)
        return f"left: {left}" if len(left) > 2 else ""


@pytest.fixture
def runs(sandbox: Sandbox, runtime_dir: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Runs:
    words = ("run", "-p", request.param, "--", *SEEN)
    faulty = prepare(tmp_path, sandbox.cwd, sandbox.environment, words)
    return Runs(faulty, decode(kept_plan(runtime_dir)), words, runtime_dir / "sandbox/containers")


def chosen(runs: Runs, part: int) -> Iterator[Call]:
    """Yield each operation's first call, and of the others every `part`th; of those that look at inputs few.

    Of what all profiles have, `build` is tried whole; of the others two operations of a kind.
    """
    whole = SOAK or runs.words[2] == "build"
    if not whole:
        part = max(part, len(runs.calls) // 30)
    tried: dict[type | None, int] = {}
    for number, call in enumerate(runs.calls):
        if call.name == "before":
            tried[runs.kind(call)] = tried.get(runs.kind(call), 0) + 1
            if whole or tried[runs.kind(call)] <= 2:
                yield call
        else:
            looks = call.role == "monitor" and call.name in ("stat", "lstat")
            if SOAK or number % (part * 8 if looks else part) == 0:
                yield call


def problems(found: Iterator[tuple[Call, str, str]], runs: Runs) -> list[str]:
    """Return what went wrong, in words."""
    return [
        f"{what} at {call.name} (call {call.number} of {call.role}, operation {call.op} "
        f"{getattr(runs.kind(call), '__name__', '')}): {wrong}"
        for call, what, wrong in found
        if wrong
    ]


def assert_nothing_left(runs: Runs) -> None:
    """What is left of those that were killed goes with the next start, once their last process has come to its end."""

    def is_clean() -> bool:
        runs.sweep()
        return not os.listdir(runs.faulty.cwd) and clean_run(runs).status == 0 and not os.listdir(runs.containers)

    assert wait_until(is_clean), [*runs.containers.iterdir(), *runs.faulty.cwd.iterdir()]


def clean_run(runs: Runs) -> Outcome:
    return runs.faulty.run(*runs.words, fault="* 0 none 0")


@pytest.mark.parametrize("runs", PROFILES, indirect=True)
def test_a_call_that_fails_is_named_or_changes_nothing(runs: Runs) -> None:
    everything = SOAK or runs.words[2] == "build"
    turn = itertools.cycle(ERRORS)

    def found() -> Iterator[tuple[Call, str, str]]:
        for call in chosen(runs, 5 if everything else 16):
            numbers = ERRORS if SOAK or (everything and call.name == "before") else (next(turn),)
            for number in numbers:
                yield call, errno.errorcode[number], runs.fail(call, number)

    assert problems(found(), runs) == []
    assert runs.struck > len({type(step.op) for step in runs.plan.steps})
    assert_nothing_left(runs)


@pytest.mark.parametrize("runs", PROFILES, indirect=True)
def test_a_process_that_is_killed_ended_without_a_report(runs: Runs) -> None:
    part = 7 if runs.words[2] == "build" else 40

    assert problems(((call, "KILL", runs.kill(call)) for call in chosen(runs, part)), runs) == []
    assert runs.struck > len({type(step.op) for step in runs.plan.steps})
    assert_nothing_left(runs)


@pytest.mark.parametrize("runs", PROFILES, indirect=True)
def test_a_process_that_is_stopped_goes_when_the_monitor_does(runs: Runs) -> None:
    part = 11 if runs.words[2] == "build" else 60

    assert problems(((call, "STOP", runs.stop(call)) for call in chosen(runs, part)), runs) == []
    assert runs.struck > len({type(step.op) for step in runs.plan.steps})
    assert_nothing_left(runs)


# --- the build with faults, and the one that is installed ---


def test_the_installed_program_has_no_faults_in_it() -> None:
    assert b"SANDBOX_FAULT" in FAULTY.read_bytes()
    for name in ("sandbox", "sandbox-oci"):
        program = BINARY.with_name(name)
        assert b"SANDBOX_FAULT" not in program.read_bytes()
        assert program.stat().st_size < FAULTY.stat().st_size


def test_the_installed_program_does_not_listen_to_the_word(sandbox: Sandbox) -> None:
    for _ in "cold", "warm":
        result = sandbox("run", "--", "true", env={"SANDBOX_FAULT": "2 monitor 1 fail 1"})
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_word_of_a_fault_does_not_reach_the_command(runs_env: Outcome) -> None:
    assert "PATH=" in runs_env.stdout
    assert "FAULT" not in runs_env.stdout


@pytest.fixture
def runs_env(sandbox: Sandbox, tmp_path: Path) -> Outcome:
    words = ("run", "--", "env")
    return prepare(tmp_path, sandbox.cwd, sandbox.environment, words).run(*words, fault="monitor 9999 fail 1")
