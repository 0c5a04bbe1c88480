"""`delete`: a container's cgroup, its state, its poststop hooks."""

from __future__ import annotations

from sandbox.errors import NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call


def run(call: Call) -> int:
    """Remove it; with --force also one that runs, or that is not there."""
    force = call.line.flag("force")
    try:
        call.container().destroy(force=force, warn=call.log.warning)
    except NoSuchContainer:
        if not force:
            raise
    return 0
