"""Whatever call of `sandbox-oci run`, `create` and `exec` goes wrong: it is named, and no container, cgroup or process is left.

The counterpart for containers of `test_faults_operations.py`, in the same words.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bundle_world import make_bundle
from conftest import BINARY, Sandbox, descendants
from fault_world import ERRORS, Call, Faulty, Outcome, wait_until
from needs import needs, own_cgroup
from test_faults_operations import SAYS, SOAK, view

from sandbox.plan.encode import Plan, decode
from sandbox.plan.ops import Flag

pytestmark = needs("userns", "cgroup2", "busybox")

ID = "faulty"
OCI = BINARY.with_name("sandbox-oci")
SEEN = ("/bin/busybox", "cat", "/proc/self/mountinfo", "/proc/self/status", "/proc/self/limits")


class Engine:
    """A bundle, the installed program that has seen it, and the one with faults."""

    def __init__(self, sandbox: Sandbox, place: Path, *command: str) -> None:
        self.root = place / "root"
        self.bundle = make_bundle(place / "bundle", *command)
        own = own_cgroup()
        assert own is not None
        self.group = own.parent / json.loads((self.bundle / "config.json").read_text())["linux"]["cgroupsPath"]
        self.environment = sandbox.environment
        self.faulty = Faulty(place, sandbox.cwd, sandbox.environment)

    def call(self, *words: str, check: bool = True) -> None:
        """Call the installed program."""
        subprocess.run(
            [OCI, "--root", self.root, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if check else subprocess.DEVNULL,
            check=check,
            timeout=60,
        )

    def delete(self) -> None:
        self.call("delete", "--force", ID, check=False)

    def plan(self) -> Plan:
        (path,) = (self.root / "plans").glob("*.plan")
        return decode(path.read_bytes())

    def words(self, *words: str) -> tuple[str, ...]:
        return ("--root", str(self.root), *words)

    def left(self) -> list[str]:
        return [*os.listdir(self.root / "containers"), *([str(self.group)] if self.group.exists() else [])]


class Verb:
    """A verb that is called again and again, each time with another fault; `left` is what it may not leave."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        words: tuple[str, ...],
        left: Callable[[], list[str]],
        then: Callable[[], object] | None = None,
    ) -> None:
        self.engine, self.plan, self.words, self.left = engine, plan, words, left
        self.options: dict[str, Any] = {"program": "sandbox-oci", "then": then}
        self.calls = engine.faulty.calls(*words, **self.options)
        self.seen = view(engine.faulty.run(*words, fault="* 0 none 0", **self.options).stdout)
        self.struck = 0

    def chosen(self, part: int) -> Iterator[Call]:
        for number, call in enumerate(self.calls):
            if SOAK or call.name == "before" or number % part == 0:
                yield call

    def fail(self, call: Call, number: int) -> str:
        outcome = self.engine.faulty.fail(call, number, *self.words, **self.options)
        if not outcome.calls:
            return ""
        self.struck += 1
        return self._judge(outcome, outcome.calls[0], number) or self._left(outcome.calls[0])

    def _judge(self, outcome: Outcome, call: Call, number: int) -> str:
        if outcome.status == 0:
            flags = self.plan.steps[call.op].flags if call.op >= 0 else 0
            if number == errno.EPERM and flags & Flag.MAY_FAIL:
                return ""
            return "" if view(outcome.stdout) == self.seen else "it went on with less"
        if outcome.module != "sandbox.engine.refusal":
            # Python is to look at it, or it cannot even be executed; nothing was made yet.
            return "" if call.role == "monitor" and call.op < 0 and not outcome.stdout else "nothing was said"
        _, index, name, error, _ = outcome.told[:5]
        if name == "init" or int(error) == errno.EPIPE:
            early = call.name in ("recvmsg", "sendmsg") or (  # the way by which it would be told, or none yet
                call.role in ("first", "between") and call.op < 0
            )
            return "" if early else "it ended without a report"
        if int(error) not in (number, SAYS.get(call.name)):
            return f"the error is said to be {error} ({name})"
        return "" if call.op < 0 or int(index) == call.op else f"the operation is said to be {index}"

    def kill(self, call: Call) -> str:
        options = self.options
        if "run" in self.words and call.role == "monitor":  # the container is there, and stopped
            options = {**options, "then": self.engine.delete}
        outcome = self.engine.faulty.kill(call, *self.words, **options)
        if not outcome.calls:
            return ""
        self.struck += 1
        call = outcome.calls[0]
        if call.role == "monitor":
            return "" if outcome.status == -signal.SIGKILL else f"it ended with {outcome.status}"
        if outcome.module == "sandbox.engine.refusal":
            told = outcome.told[2:5]
            return (
                self._left(call) if told[0] == "init" and told[2] in ("Killed", "exited") else f"Python was told {told}"
            )
        # The command was on its way to be executed: by then it counts as such.
        return "" if call.name == "execve" and outcome.status in (0, 137) else f"it ended with {outcome.status}"

    def _left(self, call: Call) -> str:
        if wait_until(lambda: not self.left(), 1):
            return ""
        left = self.left()
        if call.role == "monitor" and "run" in self.words:  # it was about to remove it; who named it can
            self.engine.delete()
        return f"left: {left}" if self.left() else ""


def problems(found: Iterator[tuple[Call, str, str]]) -> list[str]:
    return [f"{what} at {call}: {wrong}" for call, what, wrong in found if wrong]


def failing(verb: Verb, part: int) -> Iterator[tuple[Call, str, str]]:
    turn = itertools.cycle(ERRORS)
    for call in verb.chosen(part):
        for number in ERRORS if SOAK else (next(turn),):
            yield call, errno.errorcode[number], verb.fail(call, number)


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Verb:
    engine = Engine(sandbox, tmp_path, *SEEN)
    words = ("run", "--bundle", str(engine.bundle), ID)
    engine.call(*words)
    return Verb(engine, engine.plan(), engine.words(*words), engine.left)


@pytest.fixture
def create(sandbox: Sandbox, tmp_path: Path) -> Verb:
    engine = Engine(sandbox, tmp_path, *SEEN)
    words = ("create", "--bundle", str(engine.bundle), ID)
    engine.call(*words)
    engine.delete()
    return Verb(engine, engine.plan(), engine.words(*words), engine.left, engine.delete)


@pytest.fixture
def execute(sandbox: Sandbox, tmp_path: Path) -> Iterator[Verb]:
    engine = Engine(sandbox, tmp_path, "/bin/busybox", "sleep", "1000")
    engine.call("create", "--bundle", str(engine.bundle), ID)
    engine.call("start", ID)

    def left() -> list[str]:
        return (engine.group / "cgroup.procs").read_text().split()[1:]

    plan = decode((engine.root / "containers" / ID / "plan").read_bytes())
    yield Verb(engine, plan, engine.words("exec", ID, *SEEN), left)
    assert "running" in subprocess.check_output([OCI, "--root", engine.root, "state", ID], text=True)
    # Who had joined has become our child with its monitor's end; a process namespace ends when all in it are reaped.
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    engine.call("delete", "--force", ID)
    assert engine.left() == []


def test_a_call_of_run_that_fails_is_named_or_changes_nothing(run: Verb) -> None:
    assert problems(failing(run, 3)) == []
    assert run.struck > len(run.plan.steps) / 2


def test_a_call_of_create_that_fails_leaves_no_container(create: Verb) -> None:
    assert problems(failing(create, 8)) == []
    assert create.struck > 20


def test_a_call_of_exec_that_fails_leaves_the_container_alone(execute: Verb) -> None:
    assert problems(failing(execute, 3)) == []
    assert execute.struck > 20


def test_run_killed_in_any_of_its_processes(run: Verb) -> None:
    assert problems((call, "KILL", run.kill(call)) for call in run.chosen(5)) == []
    assert run.engine.faulty.run(*run.words, fault="* 0 none 0", **run.options).status == 0
    assert run.left() == []


def test_create_killed_in_any_of_its_processes(create: Verb) -> None:
    assert problems((call, "KILL", create.kill(call)) for call in create.chosen(12)) == []
    assert create.left() == []


def test_exec_killed_in_any_of_its_processes(execute: Verb) -> None:
    assert problems((call, "KILL", execute.kill(call)) for call in execute.chosen(5)) == []
    assert wait_until(lambda: execute.left() == [])
