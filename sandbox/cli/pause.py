"""`sandbox pause` and `resume`: everything inside stands, or goes on."""

from __future__ import annotations

from sandbox.cli.each import each, ended
from sandbox.errors import WrongStatus
from sandbox.runtime.record import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.runtime.container import Container


def pause(names: Sequence[str]) -> int:
    """Let those that are named stand; return the exit status."""
    return each(names, "pause", _pause)


def resume(names: Sequence[str]) -> int:
    """Let those that are named go on; return the exit status."""
    return each(names, "resume", _resume)


def _pause(container: Container) -> None:
    try:
        container.pause()
    except WrongStatus as error:
        raise _not_so(container, "is paused already") from error


def _resume(container: Container) -> None:
    try:
        container.resume()
    except WrongStatus as error:
        raise _not_so(container, "is not paused") from error


def _not_so(container: Container, else_: str) -> WrongStatus:
    status = container.status()
    if status == Status.STOPPED:
        raise ended(container.id)
    return WrongStatus("is not started yet" if status == Status.CREATING else else_, where=container.id)
