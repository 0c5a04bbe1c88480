"""Runs in which one call goes wrong: the build of nsinit with faults in it (tests/faults/fault.c), and who strikes from outside."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import BINARY
from needs import CHECKOUT, SLOWNESS

FAULTY = CHECKOUT / ".venv/build/sandbox-faults"
ERRORS = (errno.EPERM, errno.ENOSPC, errno.ENOMEM)
PATIENCE = 10.0 * SLOWNESS

# In Python's place: what it would be told is what it says.
STAND_IN = """#!/bin/sh
printf 'python\\0' >&2
printf '%s\\0' "$@" >&2
exit 125
"""


@dataclass(frozen=True)
class Call:
    """A call that nsinit makes: `role`'s `number`th, in the plan's operation `op` (-1: in none)."""

    role: str
    number: int
    name: str
    op: int

    @staticmethod
    def of(note: bytes) -> Call:
        role, number, name, op = note.decode().split()
        return Call(role, int(number), name, int(op))


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `calls` are those that were told of, `lingered` is a stopped process that outlived the monitor."""

    status: int
    stdout: str
    stderr: str
    calls: tuple[Call, ...]
    lingered: bool = False
    went_on: bool = True  # while a process was stopped, the run had not ended

    @property
    def told(self) -> list[str]:
        """What Python was told of a failure: PLAN_FD INDEX CALL ERRNO SUBJECT COMMAND…, [] if it was not called."""
        _, mark, rest = self.stderr.partition("python\0")
        words = rest.split("\0")[:-1] if mark else []
        for at, word in enumerate(words):
            if word.startswith(("import sys", "from sandbox")):
                return words[at + (2 if word.startswith("import") else 1) :]
        return words

    @property
    def module(self) -> str:
        """Which module of ours Python was to execute, "" if it was not called."""
        found = re.search(r"from (sandbox\.[a-z.]+) import main", self.stderr)
        return found[1] if found else ""

    @property
    def said(self) -> str:
        """What was said on stderr before Python was called."""
        return self.stderr.partition("python\0")[0]


class Faulty:
    """The program with faults in it, under both of its names, and with a stand-in for Python beside it."""

    def __init__(self, place: Path, cwd: Path, environment: Mapping[str, str]) -> None:
        self.directory = place / "faulty"
        self.directory.mkdir()
        self.cwd = cwd
        self.environment = dict(environment)
        shutil.copy(FAULTY, self.directory / "sandbox")
        os.link(self.directory / "sandbox", self.directory / "sandbox-oci")
        (self.directory / "python3").write_text(STAND_IN)
        (self.directory / "python3").chmod(0o755)

    def calls(self, *words: str | Path, **options: Any) -> list[Call]:
        """Return all calls that a run makes when nothing goes wrong, in the order in which they are told of."""
        outcome = self.run(*words, fault="* 0 none 0", **options)
        assert outcome.status == 0, outcome
        return list(outcome.calls)

    def fail(self, call: Call, number: int, *words: str | Path, **options: Any) -> Outcome:
        """Let the call fail with errno `number`."""
        return self.run(*words, fault=f"{call.role} {call.number} fail {number}", **options)

    def kill(self, call: Call, *words: str | Path, **options: Any) -> Outcome:
        """Kill the process instead of letting the call be made."""
        return self.run(*words, fault=f"{call.role} {call.number} wait 0", strike=signal.SIGKILL, **options)

    def stop(self, call: Call, *words: str | Path, **options: Any) -> Outcome:
        """Stop the process instead of letting the call be made, and then kill the monitor."""
        return self.run(*words, fault=f"{call.role} {call.number} wait 0", strike=signal.SIGSTOP, **options)

    def run(
        self,
        *words: str | Path,
        fault: str,
        strike: signal.Signals | None = None,
        program: str = "sandbox",
        then: Callable[[], object] | None = None,
        **options: Any,
    ) -> Outcome:
        """Run to the end, and until no process of the program's is left; `then` ends what lives on behind it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with ours:
            with theirs:
                process = subprocess.Popen(
                    [str(self.directory / program), *map(str, words)],
                    cwd=self.cwd,
                    env={**self.environment, "SANDBOX_FAULT": f"{theirs.fileno()} {fault}"},
                    pass_fds=[theirs.fileno()],
                    **{
                        "stdin": subprocess.DEVNULL,
                        "stdout": subprocess.PIPE,
                        "stderr": subprocess.PIPE,
                        "text": True,
                        **options,
                    },
                )
            notes, lingered, went_on = [], False, True
            try:
                for pid, note in _receive(ours, process, then):
                    notes.append(Call.of(note))
                    if strike is not None:
                        os.kill(pid, strike)
                    if strike == signal.SIGSTOP:
                        with contextlib.suppress(BrokenPipeError):
                            ours.send(b"go")
                        lingered, went_on = _end_stopped(process, pid)
            except TimeoutError as error:
                raise TimeoutError(f"{error}: {fault}: {notes}") from None
            finally:
                if process.poll() is None and sys.exc_info()[0] is not None:
                    process.kill()
                if then and process.wait(PATIENCE) is not None:
                    then()
                stdout, stderr = process.communicate(timeout=PATIENCE)
        return Outcome(process.returncode, stdout or "", stderr or "", tuple(notes), lingered, went_on)


def _receive(
    notes: socket.socket, process: subprocess.Popen[str], then: Callable[[], object] | None
) -> Iterator[tuple[int, bytes]]:
    """Yield who says something, and what, until nobody is left who could."""
    end = time.monotonic() + PATIENCE
    while True:
        if not select.select([notes], [], [], 0.02 if then else PATIENCE)[0]:
            if time.monotonic() > end:
                raise TimeoutError("somebody is still there, and says nothing")
            if then and process.poll() is not None:
                then()
                then = None
            continue
        try:
            note, control, _, _ = notes.recvmsg(256, socket.CMSG_SPACE(12))
        except ConnectionResetError:  # one that was stopped has ended without having read our word
            continue
        if not note:
            return
        yield struct.unpack("iII", control[0][2])[0], note


def state_of(pid: int) -> str:
    """Return the letter of a process's state, "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def _end_stopped(monitor: subprocess.Popen[str], pid: int) -> tuple[bool, bool]:
    """Kill the monitor of a run in which `pid` is stopped; return whether that outlived it, and whether all stood still."""
    assert wait_until(lambda: state_of(pid) == "T"), "it was not stopped"
    went_on = monitor.poll() is None
    monitor.kill()
    # As our child it stays a zombie until it is waited for.
    if wait_until(lambda: state_of(pid) in ("", "Z", "X"), 1):
        return False, went_on
    os.kill(pid, signal.SIGCONT)
    return True, went_on


def kept_plan(runtime_dir: Path) -> bytes:
    """Return the one plan that is kept."""
    (path,) = (runtime_dir / "sandbox/plans").glob("*.plan")
    return path.read_bytes()


def prepare(place: Path, cwd: Path, environment: Mapping[str, str], words: Sequence[str]) -> Faulty:
    """Let the installed program make and keep the plan of a run, and return the faulty one, which finds it."""
    # The first may make what the plan then depends on: caches, say.
    for _ in range(2):
        subprocess.run(
            [BINARY, *words], cwd=cwd, env=dict(environment), check=True, stdout=subprocess.DEVNULL, timeout=60
        )
    return Faulty(place, cwd, environment)
