"""The door to nsinit: whatever makes a process is done by `sandbox-oci`, called as an engine would call it.

Its failures come back as JSON lines in a log of ours, and become exceptions here.  The words of the
messages are part of the interface: engines go by them, and so does the choice of the exception.
"""

from __future__ import annotations

import os
import subprocess
import sys

from sandbox import errors
from sandbox.errors import ContainerError, HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO, Any, Self, TypedDict, Unpack

    Stream = int | IO[Any] | None
    """A standard stream: a descriptor, a file, subprocess.PIPE or DEVNULL; None: the caller's."""

    class Given(TypedDict, total=False):
        """What a call is given, as of `subprocess.Popen`."""

        stdin: Stream
        stdout: Stream
        stderr: Stream
        pass_fds: Sequence[int]
        env: Mapping[str, str] | None


_KINDS: tuple[tuple[str, type[ContainerError]], ...] = (
    ("container does not exist", errors.NoSuchContainer),
    ("container with given ID already exists", errors.ContainerExists),
    ("invalid container ID format", errors.InvalidId),
    ("container id cannot be empty", errors.InvalidId),
    ("is being changed by another call", errors.ContainerBusy),
    ("error running ", errors.HookFailed),
    ("exec: ", errors.CommandFailed),
    ("container not running", errors.WrongStatus),
    ("container not paused", errors.WrongStatus),
    ("cannot start a", errors.WrongStatus),
    ("cannot exec in a", errors.WrongStatus),
    ("that is not stopped", errors.WrongStatus),
    ("exec ", errors.CommandFailed),
)
_PREFIXES = ("sandbox-oci create failed: ", "sandbox-oci run failed: ", "exec failed: ")


def find_program(path: str | None = None) -> str:
    """Return `path`, or the `sandbox-oci` beside the interpreter or on the PATH.  Raises HostError."""
    if path:
        return path
    beside = os.path.join(os.path.dirname(sys.executable), "sandbox-oci")
    if os.access(beside, os.X_OK):
        return beside
    from shutil import which  # late: only for an interpreter from elsewhere

    found = which("sandbox-oci")
    if found is None:
        raise HostError("sandbox-oci is not found", hint=f"it is installed beside the interpreter: {beside}")
    return found


def create_options(
    *,
    bundle: str | os.PathLike[str],
    console_socket: str | os.PathLike[str] | None,
    pid_file: str | os.PathLike[str] | None,
    preserve_fds: int,
    no_pivot: bool,
    no_new_keyring: bool,
) -> list[str]:
    """Return the options of `create`, as the command line spells them."""
    options = ["--bundle", os.fspath(bundle)]
    if console_socket is not None:
        options += ["--console-socket", os.fspath(console_socket)]
    if pid_file is not None:
        options += ["--pid-file", os.fspath(pid_file)]
    if preserve_fds:
        options += ["--preserve-fds", str(preserve_fds)]
    options += ["--no-pivot"] if no_pivot else []
    options += ["--no-new-keyring"] if no_new_keyring else []
    return options


class Launcher:
    """How `sandbox-oci` is called for one state root."""

    __slots__ = ("program", "root")

    def __init__(self, root: str, program: str | None = None) -> None:
        self.root = root
        self.program = find_program(program)

    def call(
        self, verb: str, arguments: Sequence[str], *, settings: Sequence[str] = (), **given: Unpack[Given]
    ) -> None:
        """Call a verb and wait until it has ended.  Raises ContainerError, or what else it says."""
        with Running(self, verb, arguments, settings=settings, **given) as running:
            status = running.process.wait()
            if status:
                raise running.failure(status)


class Running:
    """A `sandbox-oci` that was started, and the log that it writes for us; a context manager that closes the log."""

    def __init__(
        self,
        launcher: Launcher,
        verb: str,
        arguments: Sequence[str],
        *,
        settings: Sequence[str] = (),
        **given: Unpack[Given],
    ) -> None:
        # Opened by its name at our /proc entry: of what we hand down nothing survives an execve of nsinit.
        self._log = os.memfd_create("log", os.MFD_CLOEXEC)
        log = f"/proc/{os.getpid()}/fd/{self._log}"
        command = [
            launcher.program,
            "--root",
            launcher.root,
            "--log",
            log,
            "--log-format",
            "json",
            "--log-alone",
            *settings,
        ]
        try:
            self.process = subprocess.Popen([*command, verb, *arguments], **given)
        except OSError as error:
            os.close(self._log)
            raise HostError(
                f"cannot execute {launcher.program}: {error.strerror}", hint="install sandbox again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def failure(self, status: int) -> ContainerError:
        """Return the error that the log tells of."""
        import json

        lines = os.pread(self._log, os.fstat(self._log).st_size, 0).decode(errors="replace").splitlines()
        for line in reversed(lines):
            entry = json.loads(line)
            if entry.get("level") == "error":
                return to_error(entry.get("msg", ""), entry.get("hint", ""))
        return ContainerError(f"sandbox-oci ended with status {status}, and said nothing")


def to_error(message: str, hint: str = "") -> ContainerError:
    """Return the exception that a logged message means."""
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    kind = next((kind for words, kind in _KINDS if words in message), ContainerError)
    return kind(message, hint=hint)
