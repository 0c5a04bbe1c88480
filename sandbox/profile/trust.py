"""Which project files the user has approved: exactly this content, at this place, over these profiles.

An approval is a file of its own below the user's configuration, named after the digest of all three, so that to look
for one is a single lstat(2), and any change of content asks anew.  Its content is for people alone.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from sandbox.errors import HostError
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import user_directory


class Approval(NamedTuple):
    """What was approved, as it was written down."""

    path: str  # of the project's file
    profiles: tuple[str, ...]  # that the user named; none: the default
    name: str  # of the approval's own file


def directory(inputs: Inputs) -> str:
    """Return where approvals lie, empty where there is no home.  Never visible inside (`sandbox.profile.rules`)."""
    user = user_directory(inputs)
    return f"{user}/trusted" if user else ""


def digest(path: str, content: bytes, profiles: tuple[str, ...]) -> str:
    """Return the name of the approval; NUL is in no path and in no name."""
    from hashlib import sha256  # late: only where there is a project file

    parts = (os.fsencode(path), *(os.fsencode(name) for name in profiles), b"", content)
    return sha256(b"\0".join(parts)).hexdigest()


def is_trusted(path: str, content: bytes, profiles: tuple[str, ...], inputs: Inputs) -> bool:
    """Has the user approved this?  An approval that others could have made is none."""
    place = directory(inputs)
    if not place:
        return False
    try:
        around, own = inputs.node(place), inputs.node(f"{place}/{digest(path, content, profiles)}")
    except OSError:
        return False
    if around is None or own is None or not stat.S_ISDIR(around.st_mode) or not stat.S_ISREG(own.st_mode):
        return False
    return all(status.st_uid == os.geteuid() and not status.st_mode & 0o022 for status in (around, own))


def trust(path: str, content: bytes, profiles: tuple[str, ...], inputs: Inputs) -> None:
    """Write an approval down.  Raises HostError."""
    place = directory(inputs)
    if not place:
        raise HostError("there is no place for approvals: HOME is not set", hint="set HOME")
    file = f"{place}/{digest(path, content, profiles)}"
    try:
        os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
        os.makedirs(place, 0o700, exist_ok=True)
        os.chmod(place, 0o700)
        text = "\0".join((path, *profiles)).encode(errors="surrogateescape")
        temporary = f"{file}.{os.getpid()}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as out:
            out.write(text)
        os.rename(temporary, file)
    except OSError as error:
        from sandbox.kernel.probe.lacks import no_room  # late: only where something is wrong

        lack = no_room(place, error.errno or 0)
        raise HostError(
            f"cannot write {file}: {error.strerror}",
            cause=lack.why,
            hint=lack.cure or f"see its permissions: ls -ld {place}",
        ) from error


def approvals(inputs: Inputs) -> list[Approval]:
    """Return what was approved, sorted by path.  Raises HostError."""
    place = directory(inputs)
    found = []
    try:
        for name in inputs.names(place) if place else []:
            if len(name) == 64:  # not a temporary file of a writer that was killed
                path, *profiles = inputs.read(f"{place}/{name}").decode(errors="surrogateescape").split("\0")
                found.append(Approval(path, tuple(profiles), name))
    except OSError as error:
        raise HostError(
            f"cannot read {place}: {error.strerror}", hint=f"see its permissions: ls -ld {place}"
        ) from error
    return sorted(found)


def untrust(path: str, inputs: Inputs) -> int:
    """Remove all approvals of the file at `path`, and return how many there were.  Raises HostError."""
    place = directory(inputs)
    entries = [entry for entry in approvals(inputs) if entry.path == path]
    for entry in entries:
        try:
            os.unlink(f"{place}/{entry.name}")
        except FileNotFoundError:
            pass  # another call was quicker
        except OSError as error:
            raise HostError(f"cannot remove {place}/{entry.name}: {error.strerror}") from error
    return len(entries)
