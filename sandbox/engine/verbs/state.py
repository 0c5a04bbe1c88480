"""`state`: the OCI state of a container."""

from __future__ import annotations

from sandbox.engine.call import put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call


def run(call: Call) -> int:
    """Print it."""
    import json  # late: nothing is printed of a container that is not there

    document = call.container().state().document()
    put(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 0
