"""`start`, when nsinit could not do it: say why, or have it done by the plain spelling."""

from __future__ import annotations

from sandbox.engine.command_line import plain
from sandbox.errors import ContainerError, PlanError, WrongStatus
from sandbox.runtime.record import Status
from sandbox.runtime.state import LOCK_SECONDS, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call

_WHY = {
    Status.RUNNING: "cannot start an already running container",
    Status.PAUSED: "cannot start a container in the paused state",
    Status.STOPPED: "cannot start a container that has stopped",
    Status.CREATING: "cannot start a container that is still being created",
}


def run(call: Call) -> int:
    """Start it, or raise what stands against it."""
    container = call.container()
    refuse_status(container.status())
    words = plain(call.line)
    if words != call.arguments:
        call.again(words)
    with Place(container.root + "/containers", container.id) as place:
        place.lock(LOCK_SECONDS)
        refuse_status(place.status(place.record()))
        check_plan(place)
    raise ContainerError("container process is already dead", hint=f"sandbox-oci delete {container.id}")


def refuse_status(status: str) -> None:
    """Raise WrongStatus for a container that cannot be started."""
    if status in _WHY:
        raise WrongStatus(_WHY[status])


def check_plan(place: Place) -> None:
    """Raise ContainerError for a container whose plan this nsinit does not take."""
    from sandbox.plan.encode import decode

    try:
        decode(place.read("plan"))
    except (OSError, PlanError) as error:
        raise ContainerError(
            f"the plan of container {place.id} cannot be read: {error}",
            hint="was it made by another version of sandbox-oci? delete it, and create it again",
        ) from error
