"""`sandbox update`: other limits for what runs, in the words of `run`."""

from __future__ import annotations

import os

from sandbox.cli.each import each, ended
from sandbox.cli.options import OPTIONS
from sandbox.cli.verb_line import Values
from sandbox.errors import HostError, UsageError, WrongStatus, say_notes
from sandbox.kernel import cgroup
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import load
from sandbox.profile.paths import Vocabulary
from sandbox.profile.resources import shared
from sandbox.quantities import size
from sandbox.runtime.record import Status
from sandbox.spec.runtime import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.runtime.container import Container

# What can be lifted, and how the kernel writes that.
_LIFTED = {
    "limits.memory": ("memory.max", "max"),
    "limits.memory_high": ("memory.high", "max"),
    "limits.swap": ("memory.swap.max", "max"),
    "limits.cpus": ("cpu.max", "max"),
    "limits.pids": ("pids.max", "max"),
}
_LIFT = "max"


def update(values: Values, operands: Sequence[str]) -> int:
    """Change the limits of those that are named; return the exit status."""
    resources = _resources(values)
    return each(operands, "update", lambda container: _change(container, resources))


def _resources(values: Values) -> Resources:
    """Return what the options ask for.  Raises UsageError, ProfileError."""
    options, lifted = [], {}
    for option in OPTIONS:
        if "update" not in option.verbs or option.field not in values:
            continue
        given = values[option.field]
        for text in given if isinstance(given, list) else [given]:
            if text == _LIFT and option.key in _LIFTED:
                file, value = _LIFTED[option.key]
                lifted[file] = value
            else:
                options.append((option.key, str(text).lower() if isinstance(text, bool) else str(text)))
    if not options and not lifted:
        raise UsageError("no limit was given", hint="sandbox update ID --memory 1G; see sandbox update --help")
    inputs = Inputs()
    layered = load((), tuple(options), os.getcwd(), inputs)
    found = shared(layered, Vocabulary(os.environ.get("HOME", "/"), os.getcwd(), inputs), inputs)
    resources = Resources() if found is None else found.resources
    if layered.profile.limits.oom_group is None:
        resources.unified.pop("memory.oom.group", None)  # which follows a limit when one is set first
    resources.unified.update(lifted)
    return resources


def _change(container: Container, resources: Resources) -> None:
    try:
        if container.status() == Status.STOPPED:
            raise ended(container.id)
        directory = container.cgroup
        if not directory:
            raise HostError(
                f"{container.id} has no cgroup, and so no limits that could be changed",
                hint="start it anew with one: sandbox run --memory 1G, or with --report FILE, which gives it a cgroup",
            )
        _warn(container.id, directory, resources)
        try:
            container.set(resources)
        except HostError as error:  # of several it is this one
            where = error.where or container.id
            raise HostError(error.reason, where=where, cause=error.cause, hint=error.hint) from error
    except WrongStatus as error:
        raise ended(container.id) from error


def _warn(name: str, directory: str, resources: Resources) -> None:
    """Say what the kernel does where a limit is below what is in use."""
    used, limit = cgroup.number(directory, "memory.current"), resources.memory and resources.memory.limit
    if used and limit and used > limit:
        more = f"{name} uses {size(used)}, more than {size(limit)}"
        say_notes((f"{more}: the kernel takes back what it can, and where that is not enough ends it",))
    tasks, most = cgroup.number(directory, "pids.current"), resources.pids and resources.pids.limit
    if tasks and most and tasks > most:
        say_notes((f"{name} has {tasks} tasks, more than {most}: they go on, and none can be started",))
