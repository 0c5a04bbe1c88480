"""`checkpoint` and `restore`: not there yet, and said so."""

from __future__ import annotations

from sandbox.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call


def run(call: Call) -> int:
    """Say that it cannot be done."""
    path = call.line.text("image_path") or "checkpoint"
    if call.line.verb.name == "restore":
        Container.restore(call.line.operands[0], path)
    else:
        call.container().checkpoint(path)
    return 0
