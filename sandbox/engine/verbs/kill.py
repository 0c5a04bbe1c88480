"""`kill`: a signal for a container's first process, or for all."""

from __future__ import annotations

import signal

from sandbox.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call

_NOT_BY_NAME = ("SIGRTMIN", "SIGRTMAX")  # runc has no names for the real-time ones


def run(call: Call) -> int:
    """Send it."""
    word = call.line.operands[1] if len(call.line.operands) > 1 else ""
    container = call.container()
    container.signal(number_of(word or "SIGTERM"), all=call.line.flag("all"))
    return 0


def number_of(word: str) -> int:
    """Return the number of a signal: a number, or a name with or without SIG.  Raises UsageError.

    A number that is none of a signal is the kernel's to refuse.
    """
    digits = word[1:] if word[:1] in ("-", "+") else word
    if digits.isascii() and digits.isdigit():
        return max(-1, min(int(word), 2**31 - 1))
    name = word.upper()
    if not name.startswith("SIG"):
        name = f"SIG{name}"
    found = None if name in _NOT_BY_NAME else signal.Signals.__members__.get(name)
    if found is None:
        from sandbox.engine.command_line import quote

        raise UsageError(f"unknown signal {quote(word)}")
    return int(found)
