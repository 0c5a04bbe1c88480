"""A rootless sandbox: the names of its Python API, imported when they are used.

from sandbox import Container, Containers
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.runtime.container import Container
    from sandbox.runtime.containers import Containers
    from sandbox.runtime.events import Notifications, Pressure
    from sandbox.runtime.process import Process
    from sandbox.runtime.record import State, Status
    from sandbox.runtime.stats import Stats

__all__ = ["Container", "Containers", "Notifications", "Pressure", "Process", "State", "Stats", "Status"]

_HOMES = {
    "Container": "container",
    "Containers": "containers",
    "Notifications": "events",
    "Pressure": "events",
    "Process": "process",
    "State": "record",
    "Status": "record",
    "Stats": "stats",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"sandbox.runtime.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
