"""Put a failure that nsinit reports into words: where the user wrote it, which call refused what,
why on this host, and what to do.

Executed by the monitor (`nsinit/python.c`) when everything has been cleaned up:

    PLAN_FD INDEX CALL ERRNO SUBJECT REPORT_FD PAGE_FD COMMAND…

REPORT_FD is the directory in which a report is to be, PAGE_FD that in which a page of it is, as they were found before
anything ran; -1: none is.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sandbox.errors import HostError, SandboxError, describe

if TYPE_CHECKING:
    from sandbox.plan.encode import Plan
    from sandbox.plan.ops import Step


def main() -> None:
    """Print the failure, and exit with the status that it has."""
    descriptor, index, call, number, subject, report, page, *command = sys.argv[1:]
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
    if int(report) >= 0 or int(page) >= 0:
        _report(error, plan, command, int(report), int(page))
    sys.exit(error.exit_code)


def _report(error: SandboxError, plan: Plan, command: list[str], report_fd: int, page_fd: int) -> None:
    from sandbox.plan.ops import Report, Samples
    from sandbox.runtime.report import document, of_failure, write  # late: hardly any run has one

    asked = next(step.op for step in plan.steps if isinstance(step.op, Report))
    report = of_failure(error, command, asked.record.encode("utf-8", "replace"))
    try:
        if report_fd >= 0:
            write(document(report), report_fd, asked.path)
        if page_fd >= 0:
            from sandbox.cli.page import page  # late: as above

            place = next(step.op for step in plan.steps if isinstance(step.op, Samples))
            write(page(report).encode(), page_fd, place.path)
    except HostError as other:
        print(describe(other), file=sys.stderr)


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
    if call == "companion":
        from sandbox.kernel.probe.usermode import explain

        name, said, cause = explain(step.op, subject)
        return HostError(f"{name} gives no network: {said}", where=step.origin, cause=cause.why, hint=cause.cure)
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
