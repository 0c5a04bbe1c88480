"""Who the command is: ids inside and outside, umask and capabilities."""

from __future__ import annotations

from typing import Literal

from sandbox.errors import ProfileError
from sandbox.kernel.ids import Range
from sandbox.profile.load import Layered
from sandbox.spec.runtime import Capabilities, IdMapping, Spec

ID_LIMIT = 2**32 - 1

NAME_LENGTH = 64


def inside_id(layered: Layered, kind: Literal["uid", "gid"], own: int) -> int:
    """Return the caller's id inside.  Raises ProfileError."""
    chosen: int | None = getattr(layered.profile.user, kind)
    if chosen is None:
        return own
    if not 0 <= chosen < ID_LIMIT:
        raise ProfileError(f"{chosen} is not an id", where=layered.origin("user", kind).text)
    return chosen


def umask(layered: Layered) -> int | None:
    """Return the command's umask, None where nothing is said of it.  Raises ProfileError."""
    value = layered.profile.process.umask
    if value is None:
        return None
    try:
        # A text: a bare 27 in TOML is decimal, and surely meant otherwise.
        mask = int(value, 8) if value.isascii() and value.isalnum() else -1
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        where = layered.origin("process", "umask").text
        raise ProfileError(f'"{value}" is not a umask', where=where, hint='write three octal digits: "027"')
    return mask


def id_map(layered: Layered, kind: Literal["uid", "gid"], own: int, ranges: list[Range]) -> list[IdMapping]:
    """Return the map of one kind of ids: the caller's own, and `ranges` from 0 around it.  Raises ProfileError."""
    return fill(own, inside_id(layered, kind, own), ranges)


def fill(own: int, inside: int, ranges: list[Range]) -> list[IdMapping]:
    """Return a map in which `own` is `inside`, and `ranges` follow one another from 0 around it."""
    result = [IdMapping(container_id=inside, host_id=own, size=1)]
    at = 0
    for entry in ranges:
        start, count = entry.start, entry.size
        while count and at < ID_LIMIT:
            if at == inside:
                at += 1
            size = min(count, inside - at if at < inside else ID_LIMIT - at)
            result.append(IdMapping(container_id=at, host_id=start, size=size))
            at, start, count = at + size, start + size, count - size
    return sorted(result, key=lambda entry: entry.container_id)


def full_name(name: str) -> str:
    """Return a capability's name as capabilities(7) has it."""
    return name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"


def capabilities(layered: Layered) -> Capabilities:
    """Return the five sets: what is asked for in all of them, so that it outlives execve(2)."""
    names = []
    for name in layered.profile.security.capabilities:
        if full_name(name) not in names:
            names.append(full_name(name))
    return Capabilities(
        bounding=list(names), effective=list(names), inheritable=list(names), permitted=list(names), ambient=list(names)
    )


UNDO_THE_SANDBOX = {
    "CAP_SYS_ADMIN": "can unmount what hides files, and make what is read-only writable",
    "CAP_SYS_PTRACE": "can take over the first process of the sandbox, which is ours",
}


def check_capabilities(spec: Spec, origins: dict[str, str]) -> None:
    """Refuse, in any set and from any source, a capability that undoes the sandbox.  Raises ProfileError."""
    given = spec.process.capabilities if spec.process is not None else None
    if given is None:
        return
    for kind in given.__struct_fields__:
        for index, name in enumerate(getattr(given, kind)):
            full = "CAP_" + name.strip().upper().removeprefix("CAP_")
            if full in UNDO_THE_SANDBOX:
                place = f"process.capabilities.{kind}"
                raise ProfileError(
                    f"who has {full} {UNDO_THE_SANDBOX[full]}",
                    where=origins.get(f"{place}[{index}]") or origins.get(place, ""),
                    hint="use security.nested = true, and make a user namespace inside, in which it has them all",
                )


def identifier(name: str, where: str) -> str:
    """Let through what can be a sandbox's name: it names a directory.  As strict as runc."""
    fine = all(character.isascii() and (character.isalnum() or character in "_+-.") for character in name)
    if not fine or not name or name[0] in ".-" or len(name) > NAME_LENGTH:
        raise ProfileError(
            f'"{name}" cannot be the name of a sandbox',
            where=where,
            hint=f"use at most {NAME_LENGTH} letters, digits, and _+-. after the first one",
        )
    return name
