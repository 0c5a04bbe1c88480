"""`create` and `run`, when nsinit could not do it: say why, or have it done by the plain spelling."""

from __future__ import annotations

import os
import stat

from sandbox.engine.command_line import plain
from sandbox.engine.log import reason
from sandbox.errors import ContainerError, ContainerExists, HostError, SpecError, UsageError
from sandbox.runtime.state import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call

CONFIG_MAX = 1 << 20
"""nsinit reads no larger config.json."""


def run(call: Call) -> int:
    """Have it made, or raise what stands against it."""
    name = call.line.operands[0]
    check_id(name)
    _check_bundle(call.line.text("bundle") or ".")
    check_descriptors(call)
    root = call.line.setting("root")
    had_root = not root or os.path.isdir(root)  # nsinit makes one directory, but no parents of it
    containers = call.containers()
    if name in containers:
        raise ContainerExists("container with given ID already exists")
    words = plain(call.line)
    if words != call.arguments or not had_root:
        call.again(words)
    _check_terminal(call)
    raise ContainerError("nsinit does not take this call", hint="install sandbox again")


def _check_bundle(bundle: str) -> None:
    try:
        os.stat(f"{bundle}/.")
    except OSError as error:
        raise HostError(f"chdir {bundle}: {reason(error)}") from error
    path = f"{bundle}/config.json"
    try:
        status = os.stat(path)
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError as error:
        raise SpecError("JSON specification file config.json not found") from error
    except OSError as error:
        raise SpecError(f"open {path}: {reason(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SpecError(f"{path} is not a regular file")
    if status.st_size > CONFIG_MAX:
        raise SpecError(f"{path} is {status.st_size} bytes, of which {CONFIG_MAX} are taken")


def check_descriptors(call: Call) -> None:
    """Raise UsageError where a descriptor that is to be handed in is not open."""
    count = call.line.number("preserve_fds")
    if count < 0:
        raise UsageError(f"invalid number of descriptors to preserve: {count}")
    listening = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and listening.isascii() and listening.isdigit():
        count += int(listening)
    for number in range(3, 3 + count):
        try:
            os.fstat(number)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"unable to stat preserved-fd {number - 2} (of {count}): stat /proc/self/fd/{number}: "
                "no such file or directory"
            ) from error


def _check_terminal(call: Call) -> None:
    from sandbox.spec.runtime import decode  # late: nothing else was found

    with open(f"{call.line.text('bundle') or '.'}/config.json", "rb") as file:
        process = decode(file.read()).process
    check_console(
        call,
        detached=call.line.verb.name == "create" or call.line.flag("detach"),
        terminal=process is not None and process.terminal,
    )


def check_console(call: Call, *, detached: bool, terminal: bool) -> None:
    """Raise UsageError for a terminal that nobody would hold, or a socket for none."""
    if call.line.text("console_socket"):
        if not (detached and terminal):
            raise UsageError("cannot use console socket if sandbox-oci will not detach or allocate tty")
    elif detached and terminal:
        raise UsageError("cannot allocate tty if sandbox-oci will detach without setting console socket")
