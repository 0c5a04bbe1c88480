"""`sandbox profile trust` and `untrust`: what a project's `.sandbox.toml` asks for, and the user's word on it."""

from __future__ import annotations

import os
import sys

from sandbox.cli.command_line import DEFAULT_PROFILE, request
from sandbox.cli.tables import show_table
from sandbox.errors import ProfileError, UsageError, printable
from sandbox.kernel.state import state_dir
from sandbox.plan.inputs import Inputs
from sandbox.profile import trust as approvals
from sandbox.profile.load import read, tilde
from sandbox.profile.project import Found, Stack, lay_over, search, whole
from sandbox.profile.request import Eye
from sandbox.profile.rules import PROJECT_FILE
from sandbox.profile.tighten import Loosening


def trust(file: str | None, named: tuple[str, ...], *, yes: bool) -> None:
    """Show what the files loosen, ask, and keep the approval of the bytes that were shown.

    Without `file` all that a run here would find; with it, that one, over those further up.
    """
    inputs = Inputs()
    eye = Eye(request({"profile": named}), inputs, state_dir(inputs))
    found = _find(file, eye)
    view, profiles = eye.view(), whole(named, eye.request.cwd)
    stack = Stack(read(named or (DEFAULT_PROFILE,), view.cwd, inputs), [])
    for entry in found:
        stack, loosenings = lay_over(entry, stack, (), view, named=bool(named))
        if file is None or entry is found[-1]:
            _decide(entry, loosenings, profiles, inputs, yes=yes)


def _decide(found: Found, loosenings: list[Loosening], profiles: tuple[str, ...], inputs: Inputs, *, yes: bool) -> None:
    shown, base = printable(tilde(found.path, inputs)), " and ".join(profiles or (DEFAULT_PROFILE,))
    if not loosenings:
        print(f"{shown} needs no approval: it asks for nothing beyond {base}")
        return
    if approvals.is_trusted(found.path, found.content, profiles, inputs):
        print(f"{shown} is trusted already")
        return
    print(f"{shown} asks for more than {base} allows:\n")
    around = f"{os.path.dirname(tilde(found.path, inputs))}/"
    rows = ((entry.where.removeprefix(around), entry.wanted, entry.allowed) for entry in loosenings)
    show_table(("where", "asks for", "instead of"), rows)
    print()
    if not yes and not _agreed():
        raise UsageError("nothing was approved", where=shown)
    approvals.trust(found.path, found.content, profiles, inputs)
    print(f"{shown} is trusted, as it is now")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        sys.stdout.flush()  # the error is about what is said there
        raise UsageError("there is nobody to ask: stdin is no terminal", hint="read what it asks for, then say --yes")
    print("Trust this content? [y/N] ", end="", flush=True)
    answer = sys.stdin.readline()
    if not answer:  # by Ctrl-D, which leaves the line as it is
        print()
    return answer.strip().lower() in ("y", "yes")


def untrust(file: str | None) -> None:
    """Take back every approval of the file, whatever it holds now, or whether it is there at all."""
    inputs = Inputs()
    path = _path(file) if file else _find(None, Eye(request({}), inputs, state_dir(inputs)))[-1].path
    if not approvals.untrust(path, inputs):
        raise ProfileError(
            "was not trusted", where=tilde(path, inputs), hint="see what is: sandbox profile trust --list"
        )
    print(f"{printable(tilde(path, inputs))} is not trusted any more")


def show_list() -> None:
    """Print what was approved, and whether the file still is what it was."""
    inputs = Inputs()
    show_table(
        ("file", "over", "state"),
        (
            (entry.path, " ".join(entry.profiles) or DEFAULT_PROFILE, _state(entry, inputs))
            for entry in approvals.approvals(inputs)
        ),
    )


def _state(entry: approvals.Approval, inputs: Inputs) -> str:
    try:
        content, _ = inputs.read_itself(entry.path)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    same = approvals.digest(entry.path, content, entry.profiles) == entry.name
    return "in force" if same else "changed since: not trusted"


def _find(file: str | None, eye: Eye) -> list[Found]:
    """Return the files upwards from here, or from the one that was named, which is the last then."""
    caller = eye.caller()
    path = _path(file) if file else f"{caller.cwd}/{PROJECT_FILE}"
    found, note = search(caller._replace(cwd=os.path.dirname(path)), eye.inputs)
    if file and (not found or found[-1].path != path):
        reason = "No such file or directory" if not os.path.lexists(path) else note or "no run takes it"
        raise ProfileError(reason, where=path, hint=f"name a project's {PROJECT_FILE}, or its directory")
    if not found:
        raise ProfileError(note or f"there is no {PROJECT_FILE} here, nor above", hint="name the file")
    return found


def _path(file: str) -> str:
    """Return the file that is meant: itself, or the one in a directory; without symlinks on the way to it."""
    path = os.path.abspath(file)
    if os.path.isdir(path):
        return f"{os.path.realpath(path)}/{PROJECT_FILE}"
    return f"{os.path.realpath(os.path.dirname(path))}/{os.path.basename(path)}"
