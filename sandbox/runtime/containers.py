"""The containers of a state root: made, found, listed."""

from __future__ import annotations

from sandbox.errors import InvalidId, NoSuchContainer
from sandbox.runtime.container import Container
from sandbox.runtime.state import check_id, names, open_container, state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sandbox.runtime.container import Path


class Containers:
    """The containers of a state root."""

    def __init__(self, root: Path | None = None, *, program: str | None = None) -> None:
        """Use the state root `root`, by default $XDG_RUNTIME_DIR/sandbox; it is made where it is absent.

        `program` is the `sandbox-oci` to call, by default that beside the interpreter.  Raises HostError.
        """
        self.root = state_root(root)
        self._parent = f"{self.root}/containers"
        self._program = program

    def create(self, name: str, bundle: Path = ".", **options: Any) -> Container:
        """Make a container that waits to be started; the options are those of `Container.create`."""
        return Container.create(name, bundle, root=self.root, program=self._program, **options)

    def run(self, name: str, bundle: Path = ".", **options: Any) -> Container:
        """Make a container and start it; the options are those of `Container.create`."""
        return Container.run(name, bundle, root=self.root, program=self._program, **options)

    def load(self, name: str) -> Container:
        """Return a container that is there.  Raises NoSuchContainer, InvalidId."""
        place, record = open_container(self._parent, check_id(name))
        with place:
            return Container(place, record, self.root, self._program)

    def list(self) -> tuple[Container, ...]:
        """Return the containers that are there, by their ids; what killed creations have left is removed."""
        found = []
        for name in names(self._parent):
            try:
                found.append(self.load(name))
            except NoSuchContainer:
                continue  # destroyed meanwhile
        return tuple(found)

    def __iter__(self) -> Iterator[Container]:
        return iter(self.list())

    def __contains__(self, name: str) -> bool:
        try:
            place, _ = open_container(self._parent, name)
        except (NoSuchContainer, InvalidId):
            return False
        place.close()
        return True
