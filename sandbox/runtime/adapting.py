"""From a sandbox's own plan to that of a process that joins it and differs.

What the sandbox was made from, profiles and options, is not looked at again: it may have changed.  The plan has every
wall that holds for a process, and all but what is asked for stays as it is there.
"""

from __future__ import annotations

from sandbox.errors import UsageError
from sandbox.plan.encode import Plan
from sandbox.plan.ops import (
    CODES,
    STAGES,
    Command,
    Container,
    Credentials,
    Environment,
    MapIds,
    Op,
    Step,
    Terminal,
    TerminalMode,
    WorkingDirectory,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ID_LIMIT = 2**32 - 1  # (uid_t)-1 means "no id"
# Beside those of the process stage.
_READ_BY_THE_MONITOR = (Container, MapIds, Environment, Terminal)


def is_held(plan: Plan) -> bool:
    """Is it the plan of a sandbox?"""
    return any(isinstance(step.op, Container) and step.op.held for step in plan.steps)


def adapt(
    own: Plan,
    args: Sequence[str] = (),
    *,
    cwd: str = "",
    env: Sequence[str] = (),
    user: str = "",
    tty: bool | None = None,
    no_new_privs: bool = False,
) -> Plan:
    """Return the plan by which `args` join the sandbox of the plan `own`; without anything: as its own command.

    `env` are NAME=VALUE, `user` is UID[:GID], `tty` whether it gets a terminal (None: as the profile says).
    Raises UsageError for what makes no sense or is not there inside.
    """
    steps = []
    for step in own.steps:
        operation = step.op
        if not isinstance(operation, _READ_BY_THE_MONITOR) and STAGES[CODES[type(operation)]] != "process":
            continue
        if isinstance(operation, WorkingDirectory) and cwd:
            step = _changed(step, "--cwd", path=_absolute(cwd))
        elif isinstance(operation, Environment) and env:
            step = _changed(step, "--env", set=_merged(operation.set, env))
        elif isinstance(operation, Credentials) and user:
            uid, gid = ids(user)
            _check_mapped(own, uid, gid)
            step = _changed(step, "--user", uid=uid, gid=operation.gid if gid is None else gid)
        elif isinstance(operation, Terminal) and tty is not None:
            step = _changed(step, "--tty", mode=TerminalMode.ALWAYS if tty else TerminalMode.NEVER)
        if isinstance(step.op, Credentials) and no_new_privs:
            step = _changed(step, step.origin, no_new_privileges=1)
        steps.append(step)
    if args:
        steps.append(Step(Command(arguments=tuple(args)), "exec"))
    return Plan(b"", (), tuple(steps))


def ids(user: str) -> tuple[int, int | None]:
    """Return the ids of UID[:GID].  Raises UsageError."""
    uid, colon, gid = user.partition(":")
    return number(uid), number(gid) if colon else None


def number(text: str) -> int:
    """Return an id.  Raises UsageError."""
    # Never guessed: int() would also take "+1", " 1", "1_000" and digits of other scripts.
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) >= ID_LIMIT:
        raise UsageError(f'"{text}" is not an id', hint="--user UID[:GID], in numbers")
    return int(text)


def _changed(step: Step, origin: str, **values: object) -> Step:
    operation: Op = type(step.op)(**{**step.op.values(), **values})
    return Step(operation, origin, step.flags)


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"{path} is not an absolute path", where="--cwd", hint="name it as it is called inside")
    return path


def _merged(variables: Sequence[str], further: Sequence[str]) -> tuple[str, ...]:
    named = {variable.partition("=")[0]: variable for variable in variables}
    for variable in further:
        name, equals, _ = variable.partition("=")
        if not name or not equals or "\0" in variable:
            raise UsageError(f"{variable} is no variable", where="--env", hint="write NAME=VALUE")
        named[name] = variable
    return tuple(named.values())


def _check_mapped(own: Plan, uid: int, gid: int | None) -> None:
    maps = next((step.op for step in own.steps if isinstance(step.op, MapIds)), None)
    if maps is None:
        return
    for text, wanted in ((maps.uid_map, uid), (maps.gid_map, gid)):
        rows = [[int(word) for word in line.split()] for line in text.strip().split("\n")]
        if wanted is not None and not any(first <= wanted < first + count for first, _, count in rows):
            there = ", ".join(
                str(first) if count == 1 else f"{first} to {first + count - 1}" for first, _, count in rows
            )
            raise UsageError(
                f"there is no id {wanted} in this sandbox, but {there}",
                where="--user",
                hint='a profile with user.map = "range" has your subordinate ids too',
            )
