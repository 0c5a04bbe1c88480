"""A scope of the user's systemd as the place of a cgroup, systemd.scope(5): what it is called, and what it is like.

The scope is systemd's.  With `Delegate=` the directories below it are ours: processes and limits are in its child
`container`, as crun has it, and the monitor of a detached sandbox is in its child `keeper`.
"""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.plan.ops import Cgroup, Scope, Step
from sandbox.spec.annotations import annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sandbox.lower.host import Case
    from sandbox.lower.resources import Setting

    Properties = list[tuple[str, tuple[str, Any]]]

_PREFIX = "sandbox-"
_DRAWN = "s00000000"  # an id that is drawn has this form (nsinit/state.c)
_CHILD = "container"
_LONGEST = 255  # a unit's name
_STOP_USEC = 10_000_000  # at the end of the user's session; the default of 90 s holds up a shutdown


def sandbox(case: Case, settings: Iterable[Setting], controllers: Iterable[str], origin: str) -> list[Step]:
    """Give a sandbox its scope.  Its monitor goes there too where it outlives the caller."""
    name = annotation(case.spec, "name")
    # The one character of an id that a unit's name cannot have; no id has a colon.
    unit = (f"{_PREFIX}{name.replace('+', ':')}.scope", "", "") if name else (_PREFIX, _DRAWN, ".scope")
    detached = annotation(case.spec, "detached") == "true"
    description = f"sandbox {name}" if name else f"sandbox in {case.process.cwd}"
    return _steps(
        case, unit, "app.slice", _plain(description), [], settings, controllers, origin, with_monitor=detached
    )


def container(case: Case, settings: list[Setting], origin: str) -> list[Step]:
    """Give a bundle's container the scope that its cgroupsPath names."""
    try:
        slice_name, unit = parse(case.linux.cgroups_path, case.call.id)
    except SpecError as error:
        raise SpecError(str(error), where=case.origins["linux.cgroupsPath"], hint=error.hint) from None
    from sandbox.lower.unit_properties import properties  # late: for engines that use systemd

    own = properties(case.spec.annotations)
    # All that there are, as runc has it: an engine counts by them, and changes limits later.
    controllers = [*(setting.controller for setting in settings if setting.controller), *case.host.controllers]
    description = _plain(f"container {case.call.id or unit}")
    return _steps(case, (unit, "", ""), slice_name, description, own, settings, controllers, origin, limits=True)


def parse(path: str, id: str) -> tuple[str, str]:  # noqa: A002 (its name in the specification)
    """Return slice and unit that a cgroupsPath in systemd's notation, slice:prefix:name, names; as runc has them.

    Raises SpecError, without the place in the spec.
    """
    if not path:
        slice_name, prefix, name = "", "sandbox", id
    else:
        parts = path.split(":")
        if len(parts) != 3:
            raise SpecError(
                f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{path}" instead',
                hint="or leave --systemd-cgroup out: with podman --cgroup-manager=cgroupfs",
            )
        slice_name, prefix, name = parts
    if not name or name.endswith(".slice"):
        raise SpecError(f'"{path}" does not name a scope', hint="its third part is the scope's name")
    _check_slice(slice_name or "user.slice")
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if not path:
        unit = unit.replace("+", ":")  # the one character of an id that a unit's name cannot have
    # A backslash may be in one, and would have to be told from one in JSON.
    if (
        len(unit) > _LONGEST
        or not unit.isascii()
        or not all(character.isalnum() or character in ":-_." for character in unit)
    ):
        raise SpecError(f'"{unit}" is no name of a scope', hint="use letters, digits and :-_.")
    return slice_name or "user.slice", unit


def _check_slice(name: str) -> None:
    """A slice's name says which slices it is in: a-b.slice is in a.slice.  Raises SpecError."""
    stem = name.removesuffix(".slice")
    bad = stem == name or "/" in name or not name.isascii()
    if stem != "-" and (bad or not stem or "" in stem.split("-")):
        raise SpecError(f"invalid slice name: {name}", hint="as in user.slice or a-b.slice")


def expand(name: str) -> str:
    """Return the cgroup of a slice below that of its manager: a-b.slice is a.slice/a-b.slice."""
    stem = name.removesuffix(".slice")
    if stem == "-":
        return ""
    parts = stem.split("-")
    return "/".join(f"{'-'.join(parts[: end + 1])}.slice" for end in range(len(parts)))


def _plain(text: str) -> str:
    """Return a description without what has no place in a line."""
    return "".join(character if character.isprintable() else "?" for character in text)[:200]


def _steps(
    case: Case,
    unit: tuple[str, str, str],
    slice_name: str,
    description: str,
    own: Properties,
    settings: Iterable[Setting],
    controllers: Iterable[str],
    origin: str,
    *,
    with_monitor: bool = False,
    limits: bool = False,
) -> list[Step]:
    from sandbox.kernel.manager import SCOPE_SECONDS, conversation  # late: for few, and it costs

    given = {name for name, _ in own}
    properties: Properties = [
        ("Description", ("s", description)),
        ("Slice", ("s", slice_name)),
        ("Delegate", ("b", True)),
        # A scope whose processes were killed has failed, and would stay for somebody to look at.
        ("CollectMode", ("s", "inactive-or-failed")),
        # What limits it is written below it; a limit that nobody asked for is none of ours.
        ("TasksMax", ("t", (1 << 64) - 1)),
        ("TimeoutStopUSec", ("t", _STOP_USEC)),
    ]
    said = conversation(
        unit, [*(entry for entry in properties if entry[0] not in given), *own], with_monitor=with_monitor
    )
    before, drawn, after = unit
    scope = Scope(
        address=case.host.bus,
        unit=f"{before}{drawn}{after}",
        conversation=said.content,
        serial=said.serial,
        pid_at=said.pid_at,
        monitor_at=said.monitor_at,
        id_at=said.id_at,
        id_in_unit=len(before) if drawn else 0,
        limits=int(limits),
        root=case.host.cgroup_root,
        milliseconds=int(SCOPE_SECONDS * 1000),
    )
    cgroup = Cgroup(
        parent="",
        name=_CHILD,
        controllers=tuple(dict.fromkeys(controllers)),
        settings=tuple(str(setting) for setting in settings),
    )
    return [Step(scope, origin), Step(cgroup, origin)]
