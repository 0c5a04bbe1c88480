"""The profile that a project brings: `.sandbox.toml`, found upwards from the working directory.

Decides which files are taken, and what becomes of them.  Whoever wrote it may be anybody: a stranger whose project was
cloned, or the contained program itself, in an earlier run.  So each may only tighten what the user's profile allows
(`tighten`), unless the user has approved exactly this content (`trust`).
"""

from __future__ import annotations

import os
import stat
from errno import ELOOP
from typing import NamedTuple

from sandbox.errors import ProfileError
from sandbox.kernel.ids import account
from sandbox.kernel.state import held_stubs
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import Layer, Layered, command_line, lay, parse, place, read, tilde
from sandbox.profile.rules import PROJECT_FILE as NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.profile.tighten import Loosening, View

_WITHOUT = "to run without it: --no-project"


class Found(NamedTuple):
    """A project's file, as it was read: these very bytes are judged, and are used."""

    path: str
    content: bytes


class Caller(NamedTuple):
    """Who asks, from where."""

    uid: int
    home: str  # without symlinks
    cwd: str  # as getcwd(2) says, so without symlinks
    state_dir: str


class Stack(NamedTuple):
    """What a project's file is laid over."""

    base: list[Layer]
    projects: list[Layer]  # the files of directories further up


class Untrusted(ProfileError):  # noqa: N818 (what it says, as FileNotFoundError does)
    """A project's file asks for more than the user's profile allows, and the user has not approved that."""

    def __init__(self, path: str, found: list[Loosening], profiles: tuple[str, ...]) -> None:
        named = "".join(f" -p {name}" for name in profiles)
        super().__init__(
            "asks for more than your profile allows, and you have not trusted it",
            where=path,
            hint=f"to see it and decide: sandbox profile trust{named}\n{_WITHOUT}",
        )
        # Of the profile that it extends one is enough here; all are shown when it is decided.
        by_place = {entry.where if entry.key == "extends" else entry: entry for entry in reversed(found)}
        self.details = tuple(
            f"{entry.where}: {entry.wanted}, where your profile has {entry.allowed}"
            for entry in reversed(by_place.values())
        )


def search(caller: Caller, inputs: Inputs) -> tuple[list[Found], str]:
    """Return the files upwards from the working directory, the outermost first, and what is to be said of one that was
    passed over.

    All of them count: one that the contained program puts into a directory further down must not do away with another.
    Looked into are directories that belong to the caller alone, below the home directory if it is met, and on the file
    system of the working directory.  Elsewhere others could have put one: in /tmp, or on a stick.  The home directory
    itself is no project.  Raises ProfileError for a file there that others could have written.
    """
    found: list[Found] = []
    directory, device = caller.cwd, None
    while directory not in ("/", caller.home):
        path = f"{directory}/{NAME}"
        try:
            status = inputs.node(directory)
            if status is None or (device is not None and status.st_dev != device):
                break
            if refusal := _not_ours(status, caller, inputs):
                return found, _passed_over(path, refusal, inputs)
            if _is_stub(path, caller.state_dir):
                inputs.absent(path)
            elif inputs.node(path) is not None:
                found.insert(0, _take(path, caller, inputs))
        except OSError as error:
            from sandbox.kernel.diagnosis import closed_parent  # late: only where something is wrong

            closed = closed_parent(path)
            raise ProfileError(
                f"cannot be read: {error.strerror}",
                where=path,
                cause=closed.why,
                hint=closed.cure or _WITHOUT,  # what is closed is to the run, too
            ) from error
        directory, device = os.path.dirname(directory), status.st_dev
    return found, ""


def _is_stub(path: str, state_dir: str) -> bool:
    """Does a directory lie there only because a sandbox that runs keeps the file from being made (`protect`)?"""
    return os.path.isdir(path) and path in held_stubs(state_dir)


def _passed_over(path: str, refusal: str, inputs: Inputs) -> str:
    status = inputs.node(path)
    return "" if status is None else f"{tilde(path, inputs)} is passed over: its directory {refusal}"


def _take(path: str, caller: Caller, inputs: Inputs) -> Found:
    try:
        content, status = inputs.read_itself(path)
    except OSError as error:
        reason = "is a symlink" if error.errno == ELOOP else f"cannot be read: {error.strerror}"
        raise ProfileError(reason, where=path, hint=f"put a file there\n{_WITHOUT}") from error
    if refusal := _not_ours(status, caller, inputs):
        raise ProfileError(refusal, where=path, hint=f"make it your own: chown {caller.uid} and chmod go-w\n{_WITHOUT}")
    return Found(path, content)


def _not_ours(status: os.stat_result, caller: Caller, inputs: Inputs) -> str:
    """Return why others may have written a file or a directory, "" if only the caller may."""
    if status.st_uid != caller.uid:
        return f"belongs to user {status.st_uid}"
    if status.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if status.st_mode & stat.S_IWGRP and not _is_private_group(status.st_gid, caller.uid, inputs):
        return f"can be written by group {status.st_gid}"
    return ""


def _is_private_group(gid: int, uid: int, inputs: Inputs) -> bool:
    """Is it the user's own group, of the same name and without other members?  Some systems make what one writes
    writable by it (umask 002)."""
    known = account(uid, inputs)
    try:
        lines = inputs.read("/etc/group").decode(errors="surrogateescape").splitlines()
    except OSError:
        return False
    for line in lines:
        fields = line.split(":")
        if len(fields) == 4 and fields[2] == str(gid):
            return known is not None and fields[0] == known.name and set(fields[3].split(",")) <= {"", known.name}
    return False


def lay_over(
    found: Found, stack: Stack, options: tuple[tuple[str, str], ...], view: View, *, named: bool
) -> tuple[Stack, list[Loosening]]:
    """Lay a project's file over what there is, and `options` over both, and say what that loosens.

    `named`: the user has named the profiles, and not taken the default; the file then has no say in them.
    Raises ProfileError.
    """
    from sandbox.profile import tighten  # late: most directories have no such file

    own = parse(tilde(found.path, view.inputs), found.path, found.content)
    own = own._replace(directory=os.path.dirname(found.path))
    _check(own)
    over = command_line(options)
    base, outer = stack.base, stack.projects
    loosenings: list[Loosening] = []
    extends = own.values.get("extends", [])
    if extends and not named:
        asked_by = place(own, ("extends",))
        base = read(
            (extends,) if isinstance(extends, str) else tuple(extends), view.cwd, view.inputs, asked_by=asked_by
        )
        loosenings += [
            more._replace(key="extends", where=asked_by, wanted=f"{more.where}: {more.wanted}")
            for more in tighten.compare(lay([*stack.base, *outer, *over]), lay([*base, *outer, *over]), view)
        ]
    before, after = lay([*base, *outer, *over]), lay([*base, *outer, own, *over])
    return Stack(base, [*outer, own]), loosenings + tighten.compare(before, after, view)


def in_force(
    found: list[Found], profiles: tuple[str, ...], options: tuple[tuple[str, str], ...], view: View, *, named: bool
) -> Layered:
    """Return the layers of a run with the projects' files among them.

    Raises Untrusted if one loosens anything and was not approved, and ProfileError.
    """
    from sandbox.profile.trust import is_trusted  # late: as above

    over = whole(profiles, view.cwd) if named else ()
    stack = Stack(read(profiles, view.cwd, view.inputs), [])
    for file in found:
        stack, loosenings = lay_over(file, stack, options, view, named=named)
        if loosenings and not is_trusted(file.path, file.content, over, view.inputs):
            raise Untrusted(tilde(file.path, view.inputs), loosenings, profiles if named else ())
    return lay([*stack.base, *stack.projects, *command_line(options)])


def whole(profiles: tuple[str, ...], cwd: str) -> tuple[str, ...]:
    """Return the names of profiles as an approval has them: a file's is the same from any directory."""
    return tuple(
        os.path.normpath(os.path.join(cwd, name)) if "/" in name or name.endswith(".toml") else name
        for name in profiles
    )


def _check(own: Layer) -> None:
    """Refuse what names another file of the project: its content can change, and nobody would be asked again."""
    extends = own.values.get("extends", [])
    for index, name in enumerate([extends] if isinstance(extends, str) else extends):
        if "/" in name or name.endswith(".toml"):
            key = ("extends",) if isinstance(extends, str) else ("extends", index)
            raise ProfileError(
                f'"{name}" is a file, and a project may only extend a profile by name',
                where=place(own, key),
                hint="name a shipped profile, or one of yours: sandbox profile list",
            )
    filter_name = own.values.get("security", {}).get("seccomp", "")
    if "/" in filter_name or filter_name.endswith(".json"):
        raise ProfileError(
            f'"{filter_name}" is a file, and a project may not bring a filter',
            where=place(own, ("security", "seccomp")),
            hint='write "strict", or name the filter in a profile of your own',
        )
