"""`sandbox profile edit`: an editor on a copy, which takes the profile's place when nothing is wrong with it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile

from sandbox.cli.check import findings, show
from sandbox.errors import ProfileError, SandboxError, UsageError
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import available, shipped_directory, user_directory

_QUESTION = "edit again (e), discard the changes (x), or save it as it is (s)? [e] "


def edit(name: str) -> None:
    """Let the caller change a profile.  Raises SandboxError; what was there stays until the new one is complete."""
    if not sys.stdin.isatty():
        raise UsageError(
            "an editor needs a terminal, and standard input is none",
            where="profile edit",
            hint="write the file by other means, and say: sandbox profile check",
        )
    path, content = _find(name)
    with tempfile.TemporaryDirectory(prefix="sandbox-edit-") as directory:
        changed = _changed(name, path, content, f"{directory}/{os.path.basename(path)}")
    if changed is None:
        print(f"{path} is left as it is")
        return
    _replace(path, changed)
    print(path)


def _find(name: str) -> tuple[str, bytes]:
    """Return the path at which the profile is to lie, and the content to begin with."""
    if "/" in name or name.endswith(".toml"):
        path = os.path.abspath(name)
    else:
        inputs = Inputs()
        path = dict(available(inputs)).get(name, "")
        if not path:
            raise ProfileError(
                f'no profile "{name}"', where="profile edit", hint=f"make one: sandbox profile new {name}"
            )
        if os.path.dirname(path) == shipped_directory():
            return _own(name, path, user_directory(inputs))
    return path, _read(path)


def _own(name: str, shipped: str, directory: str) -> tuple[str, bytes]:
    if not directory:
        raise UsageError(f'"{name}" is shipped, and there is no home directory for a copy', where="profile edit")
    path = f"{directory}/profiles/{name}.toml"
    print(f'"{name}" is shipped. A copy of yours, {path}, will stand for it, and not change when it does.')
    if _answer("make one? [y/N] ").lower() not in ("y", "yes"):
        raise SandboxError(
            "nothing was done", where="profile edit", hint=f"extend it: sandbox profile new NAME --from {name}"
        )
    return path, _read(shipped)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SandboxError(f"{path}: {error.strerror}", where="profile edit") from error


def _changed(name: str, path: str, content: bytes, copy: str) -> bytes | None:
    """Let the editor change `copy` until nothing is wrong; None: the caller wants no change."""
    with open(copy, "wb") as file:
        file.write(content)
    while True:
        _call_editor(copy)
        changed = _read(copy)
        if changed == content and os.path.exists(path):
            return None
        found = findings(name, {path: changed})
        show(found)
        if not any(entry.severity == "error" for entry in found):
            return changed
        answer = _answer(_QUESTION).lower()[:1]
        if answer == "s":
            return changed
        if answer == "x":
            return None


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        print()
        return "x"


def _call_editor(path: str) -> None:
    """Execute the caller's editor, as git and visudo find it."""
    fallback = next((program for program in ("sensible-editor", "editor", "vi", "nano") if shutil.which(program)), "vi")
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or fallback) or [fallback]
    try:
        status = subprocess.run([*words, path], check=False).returncode
    except OSError as error:
        raise SandboxError(
            f"cannot execute the editor {words[0]}: {error.strerror}", where="profile edit", hint="set EDITOR"
        ) from error
    if status != 0:
        raise SandboxError(
            f"the editor {words[0]} ended with status {status}", where="profile edit", hint="the profile is as it was"
        )


def _replace(path: str, content: bytes) -> None:
    """Put the new profile in its place, whole or not at all; a symlink stays one."""
    path = os.path.realpath(path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".edit-", dir=os.path.dirname(path))
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if os.path.exists(path):
                shutil.copymode(path, temporary)
            else:
                os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise SandboxError(f"cannot write {path}: {error.strerror}", where="profile edit") from error
