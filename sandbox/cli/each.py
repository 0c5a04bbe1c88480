"""To do the same to several sandboxes: what fails for one does not keep the others from it."""

from __future__ import annotations

import sys

from sandbox.errors import EXIT_OWN_FAILURE, NoSuchContainer, SandboxError, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox.runtime.container import Container


def each(names: Sequence[str], verb: str, act: Callable[[Container], None]) -> int:
    """Call `act` with each sandbox that is named; return the exit status.  Raises UsageError where none is."""
    from sandbox.runtime.state import state_root

    if not names:
        raise UsageError("no sandbox was given", hint=f"sandbox {verb} ID…")
    root = state_root()
    status = 0
    for name in names:
        try:
            act(container(root, name))
        except SandboxError as error:
            print(describe(error), file=sys.stderr)
            status = EXIT_OWN_FAILURE
    return status


def container(root: str, name: str) -> Container:
    """Return the sandbox that `name` means.  Raises NoSuchContainer, ContainerError."""
    from sandbox.runtime.container import Container
    from sandbox.runtime.finding import find

    place, record = find(f"{root}/containers", name)
    with place:
        return Container(place, record, root)


def ended(name: str) -> NoSuchContainer:
    """Return the error for one that is no more."""
    return NoSuchContainer(f"{name} has ended", hint="see what runs: sandbox ps")
