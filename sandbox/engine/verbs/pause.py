"""`pause` and `resume`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call


def run(call: Call) -> int:
    """Stop all processes, or let them go on."""
    container = call.container()
    if call.line.verb.name == "pause":
        container.pause()
    else:
        container.resume()
    return 0
