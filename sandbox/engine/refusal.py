"""Put a failure that nsinit reports into the words that engines know from runc.

Executed by nsinit (`nsinit/python.c`) when everything has been cleaned up:

    PLAN_FD INDEX CALL ERRNO SUBJECT ARGUMENT…

The arguments are those of `sandbox-oci`; PLAN_FD is -1 where there was no plan yet.
"""

from __future__ import annotations

import errno
import os
import sys

from sandbox.engine.call import PREFIXES, failure_status
from sandbox.engine.command_line import HelpWanted, WrongUsage, parse, quote
from sandbox.engine.log import Log
from sandbox.errors import (
    CommandFailed,
    ContainerBusy,
    ContainerError,
    ContainerExists,
    HookFailed,
    HostError,
    InvalidId,
    NoSuchContainer,
    SandboxError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.ops import Step

_START = "unable to start container process: "
_INIT = "error during container init: "

# The hooks that are run on the way to `created`.
_EARLY_HOOKS = ("prestart", "createRuntime", "createContainer")


def main() -> None:
    """Log the failure, and exit with the status that it has; what happens at the end of all is only a warning."""
    descriptor, index, call, number, subject, *arguments = sys.argv[1:]
    try:
        line = parse(arguments)
        verb = line.verb.name
        log = Log.of(line.settings)
    except (SandboxError, HelpWanted, WrongUsage):  # nsinit understood it; then it is told on stderr
        verb, log = "", Log()
    if call == "hook" and subject.startswith("poststop "):
        log.warning(str(_hook_error(subject)))
        os._exit(0)
    steps = _steps(int(descriptor))
    error = refusal(steps, int(index), call, int(number), subject)
    log.fail(error, PREFIXES.get(verb, ""))
    os._exit(failure_status(verb))


def _steps(descriptor: int) -> tuple[Step, ...]:
    if descriptor < 0:
        return ()
    from sandbox.plan.encode import decode

    with open(descriptor, "rb") as file:
        file.seek(0)  # whoever wrote it may have left off at the end
        return decode(file.read()).steps


def refusal(steps: tuple[Step, ...], index: int, call: str, number: int, subject: str) -> SandboxError:
    """Return the error for the step at `index`, whose `call` failed on `subject` with errno `number`."""
    step = steps[min(index, len(steps) - 1)] if steps else None
    kind = type(step.op).__name__ if step is not None else ""
    if call == "hook":
        return _hook_error(subject)
    if call == "init":
        how = f": {subject}" if subject else ""
        from sandbox.kernel.diagnosis import end

        cause = end(subject)
        words = f"{_START}the container's first process ended without a report{how}"
        return ContainerError(words, cause=cause.why, hint=cause.cure)
    if kind == "FindCommand":
        return command_error(subject, number)
    if call == "exec":
        # Found once, and still refused: its interpreter is missing, or its format is unknown.
        if any(type(other.op).__name__ == "FindCommand" for other in steps):
            return CommandFailed(f"exec {subject}: {os.strerror(number).lower()}")
        return command_error(subject, number)
    if step is None or kind == "Container":
        return _container_error(call, number, subject)
    if kind == "Terminal" and call == "sendmsg":
        return HostError(f"cannot send the terminal to the socket {subject}: {os.strerror(number).lower()}")
    if kind == "Cgroup" and number == errno.EBUSY:
        return _cgroup_error(subject)
    return _step_error(step, call, number, subject)


def command_error(command: str, number: int) -> CommandFailed:
    """Return the error for a command that cannot be executed inside."""
    words = os.strerror(number).lower()
    if number not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EISDIR):
        return CommandFailed(f"exec {command}: {words}")
    if number in (errno.EACCES, errno.EISDIR):
        return CommandFailed(f"{_START}exec: {quote(command)}: permission denied")
    if "/" in command:
        return CommandFailed(f"{_START}exec: {quote(command)}: stat {command}: {words}")
    return CommandFailed(f"{_START}exec: {quote(command)}: executable file not found in $PATH")


def _hook_error(subject: str) -> HookFailed:
    stage = subject.partition(" ")[0]
    before = f"{_START}{_INIT}" if stage in _EARLY_HOOKS else ""
    return HookFailed(f"{before}error running {subject}")


def _container_error(call: str, number: int, subject: str) -> SandboxError:
    words = os.strerror(number).lower()
    if call == "mkdir":
        if number == errno.EEXIST:
            return ContainerExists("container with given ID already exists")
        if number == errno.EINVAL:
            return InvalidId("invalid container ID format" if subject else "container id cannot be empty")
        if number in (errno.EAGAIN, errno.EWOULDBLOCK):
            return ContainerBusy(f"container {subject} is being changed by another call")
    if call == "open" and number == errno.ENOENT:
        return NoSuchContainer("container does not exist")
    if call == "pid-file":
        directory, name = os.path.split(subject)
        return HostError(f"open {os.path.join(directory, f'.{name}')}: {words}")
    if call == "sendmsg":
        return HostError(f"cannot send to the socket {subject}: {words}")
    return HostError(f"{call} {subject}: {words}" if subject else f"{call}: {words}")


def _cgroup_error(subject: str) -> HostError:
    from sandbox.kernel.cgroup import processes

    try:
        with open(f"{subject}/cgroup.freeze") as file:
            if file.read(1) == "1":
                return HostError("container's cgroup unexpectedly frozen", where=subject)
        count = len(processes(subject))
    except OSError:
        count = 0
    found = f": {count} process(es) found" if count else ""
    return HostError(f"container's cgroup is not empty{found}", where=subject)


def _step_error(step: Step, call: str, number: int, subject: str) -> HostError:
    from sandbox.kernel.diagnosis import diagnose
    from sandbox.plan.words import describe as words

    what = words(step.op)
    # Where somebody else has refused, it is in words of its own.
    reason, subject = (os.strerror(number).lower(), subject) if number else (subject, "")
    on = f" on {subject}" if subject and subject not in what else ""
    where = f"{step.origin}: " if step.origin else ""
    cause = diagnose(step.op, call, number, subject or reason)
    return HostError(
        f"{_START}{_INIT}{where}cannot {what}: {reason} ({call}{on})",
        cause=cause.why,
        hint=cause.cure,
    )
