"""`sandbox kill`: a signal for the command of a sandbox, or for every process in it."""

from __future__ import annotations

import signal
import sys

from sandbox.cli.verb_line import Values
from sandbox.errors import EXIT_OWN_FAILURE, SandboxError, UsageError, describe

_USAGE = "sandbox kill ID… [SIGNAL]"


def kill(values: Values, operands: list[str]) -> int:
    """Signal those that are named; what fails for one does not keep the others from it."""
    from sandbox.runtime.container import Container
    from sandbox.runtime.finding import find
    from sandbox.runtime.state import state_root

    if not operands:
        raise UsageError("no sandbox was given", hint=_USAGE)
    root = state_root()
    parent = f"{root}/containers"
    number: int = signal.SIGTERM
    if "signal" in values:
        number = signal_number(str(values["signal"]))
    elif len(operands) > 1 and (found := find_signal(operands[-1])):
        # A sandbox may be called "TERM"; who means that, and another one, gives the signal by --signal.
        number, operands = found, operands[:-1]
    status = 0
    for name in operands:
        try:
            place, record = find(parent, name)
            with place:
                container = Container(place, record, root)
            container.signal(number, all=bool(values.get("all")))
        except SandboxError as error:
            print(describe(error), file=sys.stderr)
            status = EXIT_OWN_FAILURE
    return status


def signal_number(word: str) -> int:
    """Return the number of a signal.  Raises UsageError."""
    number = find_signal(word)
    if not number:
        raise UsageError(f'"{word}" is no signal', where="--signal", hint="write a name or a number: TERM, KILL, 15 …")
    return number


def find_signal(word: str) -> int:
    """Return the number of a signal: a number, or a name with or without SIG; 0 for what is none."""
    if word.isascii() and word.isdigit() and 0 < int(word) <= signal.SIGRTMAX:
        return int(word)
    name = word.upper()
    found = signal.Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
    return int(found or 0)
