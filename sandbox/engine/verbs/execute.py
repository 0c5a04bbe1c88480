"""`exec`, when nsinit could not do it: say why, or have it done by the plain spelling."""

from __future__ import annotations

from sandbox.engine.command_line import plain
from sandbox.engine.verbs.create import check_console, check_descriptors
from sandbox.engine.verbs.start import check_plan
from sandbox.errors import ContainerError, UsageError, WrongStatus
from sandbox.runtime.record import Status
from sandbox.runtime.state import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call


def run(call: Call) -> int:
    """Start the process, or raise what stands against it."""
    container = call.container()
    status = container.status()
    if status in (Status.STOPPED, Status.CREATING):
        raise WrongStatus("cannot exec in a stopped container")
    if status == Status.PAUSED and not call.line.flag("ignore_paused"):
        raise WrongStatus("cannot exec in a paused container (use --ignore-paused to override)")
    if not call.line.text("process"):
        if len(call.line.operands) < 2:
            raise UsageError("args must not be empty")
        check_console(call, detached=call.line.flag("detach"), terminal=call.line.flag("tty"))
    check_descriptors(call)
    words = plain(call.line)
    if words != call.arguments:
        call.again(words)
    with Place(container.root + "/containers", container.id) as place:
        check_plan(place)
    raise ContainerError("nsinit does not take this call", hint="install sandbox again")
