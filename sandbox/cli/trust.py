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
from sandbox.profile.load import tilde
from sandbox.profile.project import Found, lay_over, search, take, whole
from sandbox.profile.request import Eye
from sandbox.profile.rules import PROJECT_FILE


def trust(file: str | None, named: tuple[str, ...], *, yes: bool) -> None:
    """Show what the file loosens, ask, and keep the approval of the bytes that were shown."""
    inputs = Inputs()
    eye = Eye(request({"profile": named}), inputs, state_dir(inputs))
    found = _find(file, eye)
    shown = printable(tilde(found.path, inputs))
    base, profiles = named or (DEFAULT_PROFILE,), whole(named, eye.request.cwd)
    judged = lay_over(found, base, (), eye.view(), named=bool(named))
    if not judged.loosenings:
        print(f"{shown} needs no approval: it asks for nothing beyond {' and '.join(base)}")
        return
    if approvals.is_trusted(found.path, found.content, profiles, inputs):
        print(f"{shown} is trusted already")
        return
    print(f"{shown} asks for more than {' and '.join(base)} allows:\n")
    rows = ((entry.where.rpartition("/")[2], entry.wanted, entry.allowed) for entry in judged.loosenings)
    show_table(("where", "asks for", "instead of"), rows)
    print()
    if not yes and not _agreed():
        raise UsageError("nothing was approved", where=shown)
    approvals.trust(found.path, found.content, profiles, inputs)
    print(f"{shown} is trusted, as it is now")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask: stdin is no terminal", hint="read what it asks for, then say --yes")
    print("Trust this content? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def untrust(file: str | None) -> None:
    """Take back every approval of the file, whatever it holds now, or whether it is there at all."""
    inputs = Inputs()
    path = _path(file) if file else _find(None, Eye(request({}), inputs, state_dir(inputs))).path
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


def _find(file: str | None, eye: Eye) -> Found:
    if file:
        return take(_path(file), eye.caller(), eye.inputs)
    found, note = search(eye.caller(), eye.inputs)
    if found is None:
        raise ProfileError(note or f"there is no {PROJECT_FILE} here, nor above", hint="name the file")
    return found


def _path(file: str) -> str:
    """Return the file that is meant: itself, or the one in a directory; without symlinks on the way to it."""
    path = os.path.abspath(file)
    if os.path.isdir(path):
        return f"{os.path.realpath(path)}/{PROJECT_FILE}"
    return f"{os.path.realpath(os.path.dirname(path))}/{os.path.basename(path)}"
