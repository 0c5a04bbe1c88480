"""`sandbox run`: make the plan, keep it, and become the program that runs it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from sandbox.cli.command_line import Call, Values, request
from sandbox.errors import HostError, UsageError
from sandbox.kernel.state import keep_plan, plan_in_memory
from sandbox.plan.encode import encode
from sandbox.runtime.compilation import compile_request

NAME_LENGTH = 64


def run(values: Values, command: Sequence[str], call: Call) -> NoReturn:
    """Compile and execute.  Does not return: nsinit takes our place, and no interpreter stays behind."""
    if not command:
        raise UsageError("no command was given", hint="sandbox run [OPTIONS] [--] COMMAND [ARG…]")
    started = time.monotonic()
    name = values.get("name")
    compilation = compile_request(request(values), key=call.key, name="" if name is None else _checked(name))
    if values.get("dry_run"):
        from sandbox.cli.explain import show  # late: for this option alone

        show(compilation)
        sys.exit(0)
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
        os.execv(call.program, ["sandbox-plan", str(descriptor), *command])
    except OSError as error:
        raise HostError(f"cannot execute {call.program}: {error.strerror}", hint="install sandbox again") from error


def _checked(name: object) -> str:
    """Let through what can be a sandbox's id: it names a directory."""
    text = str(name)
    fine = all(character.isascii() and (character.isalnum() or character in "_+-.") for character in text)
    if not fine or not text or text[0] in ".-" or len(text) > NAME_LENGTH:
        raise UsageError(
            f'"{text}" cannot be the name of a sandbox',
            where="--name",
            hint=f"use at most {NAME_LENGTH} letters, digits, and _+-. after the first one",
        )
    return text
