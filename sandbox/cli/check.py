"""`sandbox profile check`: everything that is wrong with profiles, and what is weak."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence

import msgspec

from sandbox.cli.command_line import request
from sandbox.errors import SandboxError, printable
from sandbox.kernel.state import state_dir
from sandbox.plan.inputs import Inputs
from sandbox.profile.examine import Finding, examine
from sandbox.profile.load import Layered, user_directory
from sandbox.profile.paths import below
from sandbox.profile.request import Eye, Request
from sandbox.profile.rules import unchecked
from sandbox.profile.weakness import weaknesses
from sandbox.runtime.compilation import compile_request


def check(names: Sequence[str], *, as_json: bool) -> int:
    """Print what is found in each of the profiles; return 1 if a run with one of them would be refused, else 0."""
    found = {entry: None for name in names for entry in findings(name)}
    if as_json:
        rows = [entry._asdict() for entry in found]
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        show(list(found))
        if not found:
            print(f"{', '.join(names)}: nothing is wrong")
    return int(any(entry.severity == "error" for entry in found))


def show(found: Sequence[Finding]) -> None:
    """Print findings as other tools do: `file:line: key: what`."""
    for entry in found:
        place = f"{entry.file}:{entry.line}" if entry.line else entry.file
        words = (place, entry.key, "warning" if entry.severity == "warning" else "", entry.message)
        print(printable(": ".join(word for word in words if word)))
        for line in entry.hint.splitlines():
            print(printable(f"  hint: {line}"))


def findings(name: str, contents: Mapping[str, bytes] | None = None) -> list[Finding]:
    """Return what is wrong with the profile `name`, seen from the working directory, and what is weak.

    Where that cannot be a project's, as a run there would be refused whatever the profile, an empty directory stands
    for it.  `contents`: of files that are still being edited.
    """
    asked = request({"profile": name, "project": False})
    user = user_directory(Inputs())
    mine = os.path.realpath(user) if user else ""
    if asked.cwd != "/" and not (mine and (below(mine, asked.cwd) or below(asked.cwd, mine))):
        return _findings(name, asked, contents or {})
    if "/" in name or name.endswith(".toml"):
        asked = asked._replace(profiles=(os.path.join(asked.cwd, name),))
    with tempfile.TemporaryDirectory(prefix="sandbox-check-") as empty:
        return _findings(name, asked._replace(cwd=os.path.realpath(empty)), contents or {})


def _findings(name: str, asked: Request, contents: Mapping[str, bytes]) -> list[Finding]:
    inputs = Inputs()
    found, layered = examine(
        asked.profiles, asked.cwd, inputs, lambda layered: compile_request(asked, layered=layered), contents
    )
    if any(entry.key.startswith("extends") for entry in found):
        return found  # what is missing of it is not to be called weak
    return found + _weak(name, asked, layered, inputs)


def _weak(name: str, asked: Request, layered: Layered, inputs: Inputs) -> list[Finding]:
    if not layered.files:  # there is nothing to be weak
        return []
    eye = Eye(asked, inputs, state_dir(inputs))
    try:
        policy = unchecked(layered, eye.vocabulary, eye.resolver, state_dir=eye.state_dir)
    except SandboxError:  # it is among what was found
        return []
    return list(weaknesses(layered, policy, eye.resolver.resolve(eye.home).real, name))
