"""Where a path really leads, symlink by symlink.

Every step is looked at through `Inputs`, so that a kept plan notices when one is changed.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from sandbox.plan.inputs import Inputs

SYMLINKS_FOLLOWED = 40  # as the kernel, path_resolution(7)


class Link(NamedTuple):
    """A symlink on the way; its directory holds no further symlink."""

    path: str
    target: str  # its text


class Resolved(NamedTuple):
    """What a path leads to."""

    real: str  # without symlinks; where nothing is there, the place at which it would be
    links: tuple[Link, ...]
    mode: int  # st_mode, 0 if nothing is there
    refusal: str = ""  # why the path could not be followed to its end; `real` is how far it could
    closed: bool = False  # for we may not look into `real`: what lies there is not known

    @property
    def exists(self) -> bool:
        """Is something there that we can see?"""
        return self.mode != 0

    @property
    def directory(self) -> bool:
        """Is it a directory?"""
        return stat.S_ISDIR(self.mode)

    @property
    def device(self) -> bool:
        """Is it a device node?"""
        return stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)


class Resolver:
    """Follows paths; what was seen once is not looked at again, so that one run sees one state."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.modes: dict[str, int | None] = {}
        self.targets: dict[str, str] = {}

    def node(self, path: str) -> int | None:
        """Return st_mode of `path` itself, None if nothing is there.  Raises OSError (EACCES …)."""
        if path not in self.modes:
            status = self.inputs.node(path)
            self.modes[path] = None if status is None else status.st_mode
        return self.modes[path]

    def resolve(self, path: str) -> Resolved:
        """Follow `path`, which is absolute."""
        links: list[Link] = []
        done, mode = "", stat.S_IFDIR
        waiting = path.split("/")[::-1]
        while waiting:
            part = waiting.pop()
            if part in ("", ".", ".."):
                done = os.path.dirname(done).rstrip("/") if part == ".." else done
                continue
            place = f"{done}/{part}"
            try:
                found = self.node(place)
                target = self._target(place) if found is not None and stat.S_ISLNK(found) else ""
            except OSError as error:
                return Resolved(done or "/", tuple(links), 0, error.strerror or str(error), closed=True)
            if found is None:
                return Resolved(_rest(place, waiting), tuple(links), 0)
            if target:
                links.append(Link(place, target))
                if len(links) > SYMLINKS_FOLLOWED:
                    return Resolved(done or "/", tuple(links), 0, "Too many levels of symbolic links")
                waiting += target.split("/")[::-1]
                done = "" if target.startswith("/") else done
                mode = stat.S_IFDIR
                continue
            done, mode = place, found
        return Resolved(done or "/", tuple(links), mode)

    def _target(self, path: str) -> str:
        if path not in self.targets:
            self.targets[path] = os.readlink(path)
        return self.targets[path]


def _rest(place: str, waiting: list[str]) -> str:
    """Return `place` with the components that were not looked at, as nothing is there anyway."""
    return os.path.normpath("/".join([place, *reversed(waiting)]))
