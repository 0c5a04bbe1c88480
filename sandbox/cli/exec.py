"""`sandbox exec` where it is not plain: find out which sandbox is meant, make the plan of a process that differs from the
sandbox's own, and become the program that runs it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from sandbox.cli.verb_line import Values
from sandbox.errors import HostError, NoSuchContainer, UsageError, WrongStatus
from sandbox.kernel.state import plan_in_memory
from sandbox.plan.encode import decode, encode
from sandbox.runtime.adapting import adapt, is_held
from sandbox.runtime.finding import find
from sandbox.runtime.held import read_plan
from sandbox.runtime.record import Record, Status, is_paused
from sandbox.runtime.state import Place, state_root


def run(values: Values, operands: list[str], program: str, signals: str) -> NoReturn:
    """Execute nsinit in our place.  Raises a SandboxError that says why not."""
    if not operands:
        raise UsageError("no sandbox was given", hint="sandbox exec [OPTIONS] ID [--] COMMAND [ARG…]")
    name, *command = operands
    if not command:
        raise UsageError("no command was given", hint="sandbox exec [OPTIONS] ID [--] COMMAND [ARG…]")
    if values.get("detach") and values.get("tty"):
        raise UsageError("a command that nobody waits for has no terminal", hint="leave out --tty or --detach")
    root = state_root()
    place, record = find(f"{root}/containers", name)
    with place:
        _check(place, record)
        plan = _plan(root, place, record, values, command)
    descriptor = plan_in_memory(plan)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 (takes no keyword)
    how = "" if "tty" not in values else "t" if values["tty"] else "n"
    how += "d" if values.get("detach") else ""
    sys.stdout.flush()
    words = ["sandbox-exec", str(descriptor), signals, f"{root}/containers", record.id, how, *command]
    try:
        os.execv(program, words)
    except OSError as error:
        raise HostError(f"cannot execute {program}: {error.strerror}", hint="install sandbox again") from error


def _check(place: Place, record: Record) -> None:
    status = place.status(record)
    # Into one that Ctrl-Z has stopped one may come: what joins it runs.
    if status == Status.PAUSED and is_paused(record):
        raise WrongStatus(f"{record.id} is paused", hint=f"let it go on: sandbox resume {record.id}")
    if status == Status.STOPPED:
        raise WrongStatus(f"{record.id} has ended", hint="see what runs: sandbox ps")
    if status == Status.CREATING:
        raise WrongStatus(f"{record.id} is not started yet", hint="try again")


def _plan(root: str, place: Place, record: Record, values: Values, command: list[str]) -> bytes:
    try:
        own = decode(read_plan(place, record))
    except OSError as error:
        raise NoSuchContainer(f"{record.id} has ended", hint="see what runs: sandbox ps") from error
    cwd, user, env = str(values.get("cwd", "")), str(values.get("user", "")), _variables(values)
    if is_held(own):
        return encode(adapt(own, cwd=cwd, env=env, user=user))
    from sandbox.runtime.joining import Wish, compile_process  # late: for containers of the OCI runtime

    return encode(compile_process(root, record.id, Wish(command, cwd=cwd, env=env, user=user)).plan)


def _variables(values: Values) -> list[str]:
    """Return the variables that are set; one without a value is the caller's, if that has it."""
    found = []
    given = values.get("env") or []
    assert isinstance(given, list)
    for word in given:
        name, equals, _ = word.partition("=")
        if not name:
            raise UsageError(f"{word} is no variable", where="--env", hint="write NAME=VALUE, or NAME")
        if equals:
            found.append(word)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
    return found
