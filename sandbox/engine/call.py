"""A call of `sandbox-oci` as Python sees it, and what verbs have in common."""

from __future__ import annotations

import os

from sandbox.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sandbox.engine.command_line import CommandLine
    from sandbox.engine.log import Log
    from sandbox.runtime.container import Container
    from sandbox.runtime.containers import Containers

PREFIXES = {
    "create": "sandbox-oci create failed: ",
    "run": "sandbox-oci run failed: ",
    "exec": "exec failed: ",
}
"""What stands before a failure of these verbs; engines know them from runc."""

EXIT_FAILURE = 1
EXIT_EXEC_FAILURE = 255  # the status of `exec` is the command's, of which hardly one ends so


def failure_status(verb: str) -> int:
    """Return the exit status of our own failures in `verb`."""
    return EXIT_EXEC_FAILURE if verb == "exec" else EXIT_FAILURE


class Call:
    """What was asked, of whom, and where failures are told."""

    __slots__ = ("arguments", "line", "log", "program")

    def __init__(self, program: str, arguments: list[str], line: CommandLine, log: Log) -> None:
        self.program = program  # nsinit, as sandbox-oci
        self.arguments = arguments  # as they were given
        self.line = line
        self.log = log

    def containers(self) -> Containers:
        """Return the containers of the state root that was asked for."""
        from sandbox.runtime.containers import Containers  # late: neither `spec` nor `--help` needs them

        return Containers(self.line.setting("root") or None, program=self.program)

    def container(self) -> Container:
        """Return the container that was asked for.  Raises NoSuchContainer, InvalidId."""
        return self.containers().load(self.line.operands[0])

    def again(self, arguments: list[str]) -> NoReturn:
        """Become nsinit, which does what `arguments` ask for, with nothing left of what Python did when it started."""
        from signal import SIG_DFL, SIGPIPE, SIGXFSZ, signal

        signal(SIGPIPE, SIG_DFL)
        signal(SIGXFSZ, SIG_DFL)
        environment = {name: value for name, value in os.environ.items() if (name, value) != ("LC_CTYPE", "C.UTF-8")}
        os.execve(self.program, ["sandbox-oci", *arguments], environment)


def put(text: str) -> None:
    """Write to standard output at once, as a line of events has to be read at once.  Raises BrokenPipeError, HostError."""
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    while data:
        try:
            data = data[os.write(1, data) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise HostError(f"standard output cannot be written: {error.strerror}") from error
