"""`events`: what a container uses, every few seconds, and that it ran out of memory."""

from __future__ import annotations

import json
import time

from sandbox.engine.call import put
from sandbox.errors import HostError, NoSuchContainer, UsageError, WrongStatus
from sandbox.runtime.record import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.engine.call import Call
    from sandbox.runtime.container import Container
    from sandbox.runtime.events import Notifications

_INTERVAL = 5.0


def run(call: Call) -> int:
    """Print events until the container ends; with --stats one, of what it uses now."""
    container = call.container()
    interval = call.line.values.get("interval", _INTERVAL)
    assert isinstance(interval, (int, float))
    if interval <= 0:
        raise UsageError("duration interval must be greater than 0")
    if container.status() == Status.STOPPED:
        raise WrongStatus(f"container with id {container.id} is not running")
    if call.line.flag("stats"):
        _say("stats", container, container.stats())
        return 0
    watch: Notifications | None = None
    try:
        watch = container.notify_oom()
    except HostError as error:
        message = f"no event will tell of a lack of memory: {error}"
        call.log.warning(message)
    try:
        _follow(container, watch, float(interval))
    except (NoSuchContainer, WrongStatus):
        pass  # it has ended
    return 0


def _follow(container: Container, watch: Notifications | None, interval: float) -> None:
    """Print events until there are no more; raises WrongStatus or NoSuchContainer then, or returns."""
    due = time.monotonic() + interval
    while True:
        left = max(0.0, due - time.monotonic())
        if left == 0:
            _say("stats", container, container.stats())
            due += interval
        elif watch is not None:
            count = watch.wait(left)
            if count is None:
                return
            for _ in range(count):
                _say("oom", container, None)
        else:
            try:
                container.wait(left)
            except TimeoutError:
                continue
            return


def _say(kind: str, container: Container, data: Any) -> None:
    event = {"type": kind, "id": container.id}
    if data is not None:
        event["data"] = data
    put(json.dumps(event, separators=(",", ":")) + "\n")
