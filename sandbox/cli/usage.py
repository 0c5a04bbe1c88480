"""What to say of a command line that is not understood."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sandbox.errors import UsageError

if TYPE_CHECKING:
    from typer.exceptions import TyperException


def not_understood(word: str, known: Iterable[str], where: str) -> UsageError:
    """Return the error for a verb or an option that there is not, with what was probably meant."""
    from difflib import get_close_matches  # late: only where something is wrong

    close = get_close_matches(word, list(known), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}?\n" if close else ""
    return UsageError(f"{word} is not understood", where=_verb(where), hint=f"{hint}see {where} --help")


def usage_error(error: TyperException) -> UsageError:
    """Return the error for what typer refused, in our words."""
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "sandbox"
    option = getattr(error, "option_name", "")
    if option and context is not None and not hasattr(error, "param") and "No such option" in error.message:
        known = [name for row in context.command.params for name in (*row.opts, *row.secondary_opts) if name[0] == "-"]
        return not_understood(option, known, where)
    message = error.format_message().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], where=_verb(where), hint=f"see {where} --help")


def _verb(path: str) -> str:
    """The program's name stands before every error anyway."""
    return path.partition(" ")[2]
