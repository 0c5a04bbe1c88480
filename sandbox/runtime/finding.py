"""Which container is meant: by its name, or by a beginning of it that no other has."""

from __future__ import annotations

import os

from sandbox.errors import ContainerError, InvalidId, NoSuchContainer
from sandbox.runtime.record import Record
from sandbox.runtime.state import Place, open_container

_MOST_NAMED = 5


def find(parent: str, text: str) -> tuple[Place, Record]:
    """Open the container that `text` means, in the directory `parent` of all.

    Raises NoSuchContainer, which says what is there, and ContainerError for one that is damaged.
    """
    try:
        return open_container(parent, text)
    except InvalidId as error:
        raise NoSuchContainer(f'no sandbox can be called "{text}"', hint="see what runs: sandbox ps") from error
    except NoSuchContainer:
        pass
    found = []
    for name in sorted(os.listdir(parent)):
        if text and name.startswith(text) and name != text:
            try:
                found.append(open_container(parent, name))
            except ContainerError:
                continue  # being made or removed right now
    if len(found) == 1:
        return found[0]
    for place, _ in found:
        place.close()
    if found:
        raise NoSuchContainer(
            f'"{text}" could be {_listed([record.id for _, record in found])}', hint="give more of the name"
        )
    raise NoSuchContainer(f"no sandbox is called {text}", hint=_hint(parent, text))


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" or {more} more" if more > 0 else "")


def _hint(parent: str, text: str) -> str:
    from difflib import get_close_matches  # late: only here

    from sandbox.runtime.state import names

    there = names(parent)
    if not there:
        return "none is running"
    near = get_close_matches(text, there, 1)
    if near:
        return f"did you mean {near[0]}? see sandbox ps --all"
    return f"there is {_listed(there)}; see sandbox ps --all"
