"""Whatever call of a keeper's goes wrong, or of who has called it: the caller is told, or it goes on; and nothing is left.

The counterpart for `sandbox run --detach` of `test_faults_operations.py`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import Sandbox
from fault_world import ERRORS, Call, Outcome, prepare
from needs import needs
from test_faults_operations import ALONE, SAYS, SOAK

pytestmark = needs("userns")

# Refused these at its end, a keeper keeps nothing: there is no half a result.
OF_THE_RESULT = {"write", "renameat", "openat"}
WORDS = ("run", "--detach", "sh", "-c", "echo out; exit 3")


class Runs:
    """Runs of one command, with and without faults."""

    def __init__(self, sandbox: Sandbox, place: Path, runtime_dir: Path) -> None:
        (runtime_dir / "bus").unlink()
        self.containers = runtime_dir / "sandbox/containers"
        self.sandbox = sandbox
        self.faulty = prepare(place, sandbox.cwd, sandbox.environment, WORDS)
        self.calls = [call for call in self.faulty.calls(*WORDS) if call.role in ("monitor", "keeper")]
        self.clear()

    def clear(self) -> list[dict[str, object]]:
        """Let somebody come by, and return the results that are left; then there are none."""
        self.sandbox("ps", check=True)
        found = []
        for path in self.containers.iterdir():
            found.append(json.loads((path / "result.json").read_text()))
            shutil.rmtree(path)
        return found

    def judge(self, call: Call, outcome: Outcome, number: int) -> str:
        results = self.clear()
        call = outcome.calls[0] if outcome.calls else call  # not all are made each time
        if outcome.status == 0:
            (name,) = outcome.stdout.split()
            if not results:
                return "" if call.name in OF_THE_RESULT or number == 0 else "the result is gone"
            return "" if results[0]["id"] == name else "another's result"
        if (call.role, call.name) == ("monitor", "recvmsg") and outcome.status == 125:
            return ""  # the word that it runs, which did not arrive: it was killed, unless it had come to its end
        if outcome.status != 125 or outcome.stdout or results:
            return f"it ended with {outcome.status}, {outcome.stdout!r} and {results}"
        told = outcome.told
        if call.role == "monitor" and len(told) > 2 and told[2].endswith(".plan"):
            return ""  # what is kept cannot be used, and Python is asked
        if len(told) < 5:
            return "" if told or call.name in ALONE or outcome.said else "nothing was said"
        if (call.name, told[2]) == ("sendmsg", "init"):
            return ""  # what was to be told was not
        return (
            "" if number == 0 or int(told[3]) in (number, SAYS.get(call.name)) else f"the error is said to be {told[3]}"
        )


@pytest.fixture
def runs(sandbox: Sandbox, tmp_path: Path, runtime_dir: Path) -> Runs:
    return Runs(sandbox, tmp_path, runtime_dir)


def test_calls_that_fail(runs: Runs) -> None:
    wrong = []
    for call in runs.calls[:: 1 if SOAK else 3]:
        for number in ERRORS if SOAK else (errno.EPERM,):
            outcome = runs.faulty.fail(call, number, *WORDS)
            if problem := runs.judge(call, outcome, number):
                wrong.append((call, os.strerror(number), problem, outcome.stderr[:300]))

    assert any(call.role == "keeper" for call in runs.calls)
    assert wrong == []


def test_a_keeper_that_is_killed_at_a_call(runs: Runs) -> None:
    wrong = []
    for call in [call for call in runs.calls if call.role == "keeper"][:: 1 if SOAK else 3]:
        outcome = runs.faulty.kill(call, *WORDS)
        if problem := runs.judge(call, outcome, 0):
            wrong.append((call, problem, outcome.stderr[:300]))

    assert wrong == []
