"""`sandbox run`: make the plan, keep it, and become the program that runs it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from sandbox.cli.command_line import DEFAULT_PROFILE, Call, Values, request, texts
from sandbox.errors import HostError, SandboxError, UsageError, describe
from sandbox.kernel.state import keep_plan, plan_in_memory
from sandbox.plan.encode import encode
from sandbox.runtime.compilation import compile_request


def run(values: Values, command: Sequence[str], call: Call) -> NoReturn:
    """Compile and execute.  Does not return: nsinit takes our place, and no interpreter stays behind."""
    if not command:
        raise UsageError("no command was given", hint="sandbox run [OPTIONS] [--] COMMAND [ARG…]")
    started = time.monotonic()
    try:
        compilation = compile_request(request(values), key=call.key)
    except SandboxError as error:
        if values.get("report") and not values.get("dry_run"):
            _report(error, command, values)
        raise
    if values.get("dry_run"):
        from sandbox.cli.explain import show  # late: for this option alone

        show(compilation)
        sys.exit(0)
    if compilation.expansion.caches:
        from sandbox.profile.caches import make  # late: not every profile has one

        make(compilation.expansion.caches)
    data = encode(compilation.plan)
    descriptor = keep_plan(compilation.state_dir, call.plan_name, data) if call.key else plan_in_memory(data)
    if values.get("verbose"):
        seconds = time.monotonic() - started
        print(
            f"sandbox: a plan of {len(compilation.plan.steps)} operations from {len(compilation.plan.inputs)} inputs,"
            f" made in {seconds * 1000:.0f} ms",
            file=sys.stderr,
        )
    os.set_inheritable(descriptor, True)  # noqa: FBT003 (takes no keyword)
    sys.stdout.flush()
    try:
        os.execv(call.program, ["sandbox-plan", str(descriptor), call.signals, *command])
    except OSError as error:
        raise HostError(f"cannot execute {call.program}: {error.strerror}", hint="install sandbox again") from error


def _report(error: SandboxError, command: Sequence[str], values: Values) -> None:
    """Write down why there is nothing to be run."""
    from sandbox.profile.load import is_page
    from sandbox.runtime.report import document, early, write_early  # late: for one option alone

    report = early(error, command, texts(values.get("profile")) or (DEFAULT_PROFILE,))
    for path in texts(values["report"]):
        if path == "-":  # which is what is wrong
            continue
        content = document(report)
        if is_page(path):
            from sandbox.cli.page import page  # late: not each report is one

            content = page(report).encode()
        try:
            write_early(content, path)
        except HostError as other:
            print(describe(other), file=sys.stderr)
