"""`sandbox explain`: the plan in words, each operation with the profile line that it came from."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from sandbox.cli.tables import show_table
from sandbox.plan.ops import Flag, Step
from sandbox.plan.words import describe
from sandbox.runtime.compilation import Compilation


def show(compilation: Compilation) -> None:
    """Print the plan as a table."""
    show_table(("from", "operation"), ((step.origin, _words(step)) for step in compilation.plan.steps))


def _words(step: Step) -> str:
    if step.flags & Flag.OTHERWISE:
        return f"otherwise {describe(step.op)}"
    return f"{describe(step.op)}, if it is there" if step.flags & Flag.IF_PRESENT else describe(step.op)


def show_json(compilation: Compilation) -> None:
    """Print the plan as a JSON array of {operation, words, from, fields}."""
    document = [
        {
            "operation": type(step.op).__name__,
            "words": _words(step),
            "from": step.origin,
            "fields": {name: _plain(value) for name, value in step.op.values().items()},
        }
        for step in compilation.plan.steps
    ]
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
