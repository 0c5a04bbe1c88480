"""Put a failure that nsinit reports into words: where the user wrote it, which call refused what,
why on this host, and what to do.

Executed by the monitor (`nsinit/python.c`) when everything has been cleaned up:

    PLAN_FD INDEX CALL ERRNO SUBJECT REPORT_FD COMMAND…

REPORT_FD is the directory in which a report is to be, as it was found before anything ran; -1: none is.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sandbox.errors import HostError, SandboxError, describe

if TYPE_CHECKING:
    from sandbox.plan.ops import Step


def main() -> None:
    """Print the failure, and exit with the status that it has."""
    descriptor, index, call, number, subject, report, *command = sys.argv[1:]
    from sandbox.plan.encode import decode

    with open(int(descriptor), "rb") as file:
        file.seek(0)  # whoever wrote it may have left off at the end
        plan = decode(file.read())
    error: SandboxError
    if call == "exec":
        from sandbox.cli.execution import command_error

        error = command_error(plan.steps, command[0], int(number))
    else:
        step = plan.steps[min(int(index), len(plan.steps) - 1)]
        error = refusal(step, call, int(number), subject)
    print(describe(error), file=sys.stderr)
    if int(report) >= 0:
        from sandbox.plan.ops import Report
        from sandbox.runtime.report import of_failure, write  # late: hardly any run has one

        asked = next(step.op for step in plan.steps if isinstance(step.op, Report))
        try:
            write(of_failure(error, command, asked.record.encode("utf-8", "replace")), int(report), asked.path)
        except HostError as other:
            print(describe(other), file=sys.stderr)
    sys.exit(error.exit_code)


def refusal(step: Step, call: str, number: int, subject: str) -> HostError:
    """Return the error for `step`, whose system call `call` failed on `subject` with errno `number`."""
    from sandbox.kernel.diagnosis import diagnose
    from sandbox.plan.words import describe as words

    if call == "init":
        from sandbox.kernel.diagnosis import end

        cause = end(subject)
        return HostError(
            f"the sandbox's first process ended without a report: {subject}", cause=cause.why, hint=cause.cure
        )
    # Where somebody else has refused, it is in words of its own.
    reason, subject = (os.strerror(number), subject) if number else (subject, "")
    cause = diagnose(step.op, call, number, subject or reason)
    on = f" on {subject}" if subject and subject not in words(step.op) else ""
    return HostError(
        f"cannot {words(step.op)}: {reason} ({call}{on})",
        where=step.origin,
        cause=cause.why,
        hint=cause.cure,
    )
