"""`sandbox kill`: a signal for the command of a sandbox, or for every process in it."""

from __future__ import annotations

import signal
import sys

from sandbox.cli.verb_line import Values
from sandbox.errors import EXIT_OWN_FAILURE, NoSuchContainer, SandboxError, UsageError, WrongStatus, describe, say_notes

_USAGE = "sandbox kill ID… [SIGNAL]"


def kill(values: Values, operands: list[str]) -> int:
    """Signal those that are named; what fails for one does not keep the others from it."""
    from sandbox.runtime.container import Container
    from sandbox.runtime.finding import find
    from sandbox.runtime.record import Status
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
    elif len(operands) > 1:
        _refuse_misspelt(operands[-1], parent)
    status = 0
    for name in operands:
        try:
            place, record = find(parent, name)
            with place:
                paused = place.status(record) == Status.PAUSED
                container = Container(place, record, root)
            container.signal(number, all=bool(values.get("all")))
            if paused and number not in (signal.SIGKILL, signal.SIGCONT, signal.SIGSTOP):
                say_notes((f"{record.id} is paused, and hears of it when it goes on: sandbox resume {record.id}",))
        except WrongStatus:
            print(describe(WrongStatus("has ended", where=name)), file=sys.stderr)
            status = EXIT_OWN_FAILURE
        except SandboxError as error:
            print(describe(error), file=sys.stderr)
            status = EXIT_OWN_FAILURE
    return status


def _refuse_misspelt(word: str, parent: str) -> None:
    """Raise UsageError if `word` was to be a signal: TERM instead of it could not be taken back."""
    from difflib import get_close_matches  # late: only where the last word is no signal

    from sandbox.runtime.finding import find

    name = word.upper().removeprefix("SIG")
    near = get_close_matches(name, [known.removeprefix("SIG") for known in signal.Signals.__members__], 1, 0.7)
    if not (near or word.isdigit() or word.isupper() or word.upper().startswith("SIG")):
        return
    try:
        place, _ = find(parent, word)
        place.close()
    except NoSuchContainer as error:
        hint = f"did you mean {near[0]}?" if near else "write a name or a number: TERM, KILL, 15 …"
        raise UsageError(f'"{word}" is no signal, and no sandbox is called so', where="kill", hint=hint) from error


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
