"""Why a command cannot be executed inside, in words."""

from __future__ import annotations

import errno
import os

from sandbox.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, SandboxError
from sandbox.plan.ops import BindMount, Environment, Mask, Step, WorkingDirectory

_TO_BE_NAMED = "name a program in it"


class CommandError(SandboxError):
    """The command cannot be executed inside; exit status 126 or 127 as the shell's."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def command_error(steps: tuple[Step, ...], command: str, number: int) -> CommandError:
    """Return the error for `command`, whose execve(2) inside failed with errno `number`."""
    if not command:
        return CommandError("the command is empty", hint="is it a variable that is not set?", exit_code=EXIT_NOT_FOUND)
    if number in (errno.ENOENT, errno.ENOTDIR):
        message, hint = _not_found(steps, command, number)
        return CommandError(message, hint=hint, exit_code=EXIT_NOT_FOUND)
    hint = ""
    path = os.path.normpath(os.path.join(_directory(steps), command))
    if number == errno.EACCES and _is_directory(steps, command, path):
        return CommandError(f"{command}: is a directory", hint=_TO_BE_NAMED, exit_code=EXIT_NOT_EXECUTABLE)
    hider = _hider(steps, command, path)
    if number == errno.EACCES and hider:
        return CommandError(f"{command}: is hidden inside the sandbox, by {hider}", exit_code=EXIT_NOT_EXECUTABLE)
    if number == errno.EACCES:
        hint = f"make it executable: chmod +x {command}" if "/" in command else "check the permissions along its path"
    if number == errno.ENOEXEC:
        hint = "it is neither a program for this machine nor a script that starts with #!"
    return CommandError(
        f"{command}: cannot be executed inside the sandbox: {os.strerror(number)}",
        hint=hint,
        exit_code=EXIT_NOT_EXECUTABLE,
    )


def _directory(steps: tuple[Step, ...]) -> str:
    return next((step.op.path for step in steps if isinstance(step.op, WorkingDirectory)), "/")


def _is_directory(steps: tuple[Step, ...], command: str, path: str) -> bool:
    """Is it one for sure?  A name without a slash is searched for, and finds none but `.` and `..`."""
    if command in (".", "..") or path == "/":
        return True
    return "/" in command and _visible(steps, path) and os.path.isdir(path)


def _hider(steps: tuple[Step, ...], command: str, path: str) -> str:
    """Return what hides the command, as far as the host's files tell."""
    places = [path] if "/" in command else [f"{directory}/{command}" for directory in _search_path(steps).split(":")]
    real = {os.path.realpath(place) for place in places if os.path.exists(place)}
    return next((step.origin for step in steps if isinstance(step.op, Mask) and step.op.target in real), "")


def _not_found(steps: tuple[Step, ...], command: str, number: int) -> tuple[str, str]:
    """Return message and hint; the host is looked at only to say what differs."""
    if "/" in command:
        path = os.path.normpath(os.path.join(_directory(steps), command))
        if number == errno.ENOTDIR and command.endswith("/"):
            return f"{command}: is a file, and no directory", f"leave out the slash: {command.rstrip('/')}"
        if number == errno.ENOTDIR and not os.path.exists(path):
            return f"{command}: what it is to lie in is no directory", ""
        if _visible(steps, path) and os.path.exists(path):
            return (
                f"{command}: its interpreter was not found inside the sandbox",
                f"see the first line of {path} (#!…), or its ELF interpreter: file {path}",
            )
        if os.path.exists(path):
            return (
                f"{command}: not found inside the sandbox, though it exists outside",
                f"let the sandbox see it: --read {os.path.dirname(path)}",
            )
        return f"{command}: no such file inside the sandbox", ""
    search = _search_path(steps)
    message = f"{command}: command not found inside the sandbox (PATH={search})"
    from shutil import which  # late: only here

    outside = which(command)
    if outside is None:
        return (
            message,
            f"it is not on the PATH outside either; is it installed? a builtin of the shell needs one: sh -c '{command} …'",
        )
    if _visible(steps, os.path.realpath(outside)):
        path = ":".join(filter(None, (os.path.dirname(outside), search)))
        return message, f"outside it is {outside}; add its directory: --env PATH={path}"
    return message, f"outside it is {outside}; let the sandbox see it, and call it by its path: --read {outside}"


def _search_path(steps: tuple[Step, ...]) -> str:
    for step in steps:
        if isinstance(step.op, Environment):
            for variable in step.op.set:
                if variable.startswith("PATH="):
                    return variable.removeprefix("PATH=")
            if "PATH" in step.op.keep:
                return os.environ.get("PATH", "")
    return ""


def _visible(steps: tuple[Step, ...], path: str) -> bool:
    """Is the host's `path` shown at the same place inside?"""
    shown = False
    for step in steps:
        place = getattr(step.op, "target", "")
        if place and (path == place or path.startswith(place.rstrip("/") + "/")):
            if isinstance(step.op, BindMount):
                shown = step.op.source == place
            elif isinstance(step.op, Mask) or type(step.op).__name__ == "NewMount":
                shown = False
    return shown
