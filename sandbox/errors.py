"""The errors of the program and how they are printed.

    SandboxError            exit 125: our own failure, in one line and a hint
    ├── UsageError          exit 125: the command line cannot be understood
    ├── ProfileError        a profile says something that cannot be
    ├── SpecError           an OCI runtime spec says something that cannot be
    ├── PlanError           a plan cannot be read or made
    ├── HostError           this host lacks or refuses something
    └── ContainerError      a container cannot do what it is asked
        ├── NoSuchContainer     it is not there, or not any more
        ├── ContainerExists     its id is taken
        ├── InvalidId           its id cannot be one
        ├── WrongStatus         it is not in the status that this needs
        ├── ContainerBusy       another call is changing it
        ├── CommandFailed       its command cannot be executed
        ├── HookFailed          a hook says no
        └── NotSupported        this program cannot do that yet

A message reads ``where: what: reason``, in lower case and without a full stop; the cause,
where one was found, and the hint stand apart; the hint is imperative, and true on this host.
"""

from __future__ import annotations

# Exit statuses of `sandbox run`, those of the shell and of env(1), timeout(1).
EXIT_TIMED_OUT = 124
EXIT_OWN_FAILURE = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127


class SandboxError(Exception):
    """One clear line for the user and, where we know it, the way out."""

    exit_code = EXIT_OWN_FAILURE
    details: tuple[str, ...] = ()  # further lines, where one message has several reasons

    def __init__(self, message: str, *, where: str = "", hint: str = "", cause: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where
        self.reason = message
        self.hint = hint
        self.cause = cause


class UsageError(SandboxError):
    """The command line cannot be understood."""


class ProfileError(SandboxError):
    """A profile says something that cannot be."""


class SpecError(SandboxError):
    """An OCI runtime spec says something that cannot be."""


class PlanError(SandboxError):
    """A plan cannot be made, written or read."""


class HostError(SandboxError):
    """This host lacks or refuses something that the run needs."""


class ContainerError(SandboxError):
    """A container cannot do what it is asked.  The words are runc's, by which engines go."""


class NoSuchContainer(ContainerError):  # noqa: N818 (what it says, as FileNotFoundError does)
    """There is no container of that id, or not any more."""


class ContainerExists(ContainerError):  # noqa: N818
    """The id is taken."""


class InvalidId(ContainerError):  # noqa: N818
    """No container can have that id."""


class WrongStatus(ContainerError):  # noqa: N818
    """The container is not in the status that this needs."""


class ContainerBusy(ContainerError):  # noqa: N818
    """Another call is changing the container, and has not ended in time."""


class CommandFailed(ContainerError):  # noqa: N818
    """The command cannot be executed inside."""


class HookFailed(ContainerError):  # noqa: N818
    """A hook of the container ended with a failure, or did not end in time."""


class NotSupported(ContainerError):  # noqa: N818
    """This program cannot do that yet."""


def describe(error: SandboxError) -> str:
    """Return the lines in which `error` is shown to a person, without a final newline."""
    lines = [f"sandbox: {printable(str(error))}"]
    lines += [f"  {printable(line)}" for line in error.details]
    lines += [f"  cause: {printable(error.cause)}"] if error.cause else []
    lines += [f"  hint: {printable(line)}" for line in error.hint.splitlines()]
    return "\n".join(lines)


def say_notes(notes: tuple[str, ...]) -> None:
    """Say what is no error, but should be known."""
    import sys  # late: an engine has notes of its own kind

    for note in notes:
        print(f"sandbox: note: {printable(note)}", file=sys.stderr)  # noqa: T201 (as the command line does)


def printable(text: str) -> str:
    """Return `text` without what a terminal would take for a command: names come from where others write."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "replace").decode()
        for character in text
    )
