"""Which part of the cgroup v2 hierarchy is the caller's: cgroups(7), "Cgroups delegation".

The rules of who may make what are systemd's, https://systemd.io/CGROUP_DELEGATION.  A user's manager does not mark what it has
delegated, as the system's does (by the extended attribute user.delegate): it is told by where we are.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.plan.inputs import Inputs

USUAL_MOUNT = "/sys/fs/cgroup"


def look_at(parent: str, own: str, inputs: Inputs, *, unit: str = "") -> dict[str, Any]:
    """Return the facts cgroup, cgroup_root, cgroup_top, controllers, offered, obstacle and bfq of
    `sandbox.lower.host.Host`.

    `own` is the cgroup that we are in, `parent` (`sandbox.lower.cgroup.parent`) that in which the container's is to be;
    nothing above `unit` is ours.
    """
    root = mount_point()
    top, offered = delegated(root, parent, own, inputs, unit=unit) if root and own and parent else ("", ())
    controllers, obstacle = _usable(f"{root}{parent}".rstrip("/"), top, offered)
    return {
        "cgroup": own,
        "cgroup_root": root,
        "cgroup_top": top,
        "controllers": controllers,
        "offered": offered,
        "obstacle": obstacle,
        # Where the scheduler of block devices that knows weights is loaded, every cgroup with `io` has the file.
        "bfq": "io" in controllers and os.path.exists(f"{top}/io.bfq.weight"),
    }


def look_around(parent_of: Callable[[str], str], inputs: Inputs, *, detached: bool = False) -> dict[str, Any]:
    """Return the facts of `look_at`, and unmanaged, enabled, files, bus and no_bus, for a sandbox that we start.

    `parent_of` (`sandbox.lower.cgroup.parent`) says in which cgroup that of the sandbox is to be, from our own.  One that is
    detached outlives the unit that we are in: that of its own is asked for first.
    """
    own = inputs.own_cgroup()
    parent = parent_of(own)
    facts = look_at(parent, own, inputs, unit=unit_of(parent))
    root, top = facts["cgroup_root"], facts["cgroup_top"]
    directory = f"{root}{own}".rstrip("/")
    if top:
        inputs.words(f"{top}/cgroup.controllers")
    if facts["obstacle"]:
        inputs.awaited(facts["obstacle"])  # gone as soon as a process is: nothing is kept
    # A cgroup beside ours has the files that ours has.
    enabled = inputs.words(f"{directory}/cgroup.controllers").split() if root and own not in ("", "/") else []
    unmanaged = bool(top) and is_unmanaged(parent)
    if detached or not unmanaged:
        facts |= look_at_manager(root, inputs)
        if facts["bus"]:
            return facts
    return {
        **facts,
        "unmanaged": unmanaged,
        "enabled": tuple(enabled),
        "files": frozenset(os.listdir(directory)) if enabled else frozenset(),
    }


def look_at_manager(root: str, inputs: Inputs) -> dict[str, Any]:
    """Return bus and the other facts of a cgroup that the user's systemd is asked for; no_bus where there is none.

    `root` is where the hierarchy is mounted.
    """
    from sandbox.kernel.manager import CONTROLLERS, NoManager, find  # late: to talk costs

    if not root:
        return {"bus": "", "no_bus": ("no cgroup2 is mounted here", "")}
    try:
        manager = find(inputs)
    except NoManager as error:
        return {"bus": "", "no_bus": (str(error), error.cure)}
    top = f"{root}{manager.cgroup}"
    inputs.node(top)
    controllers = tuple(name for name in inputs.words(f"{top}/cgroup.controllers").split() if name in CONTROLLERS)
    return {
        "bus": manager.address,
        "cgroup_top": top,
        "controllers": controllers,
        "offered": controllers,
        "obstacle": "",
        "enabled": controllers,
        "files": frozenset(os.listdir(top)) if os.path.isdir(top) else frozenset(),
        "bfq": "io" in controllers and os.path.exists(f"{top}/io.bfq.weight"),
    }


def is_unmanaged(parent: str) -> bool:
    """Is it not systemd's business which cgroups there are in `parent`, in which our own is?

    So it is where no unit is in sight, and within one: systemd lets a unit be divided if it was delegated, and else has its
    processes in the unit's own cgroup, whose parent is a slice.  Slices are systemd's, and so is the user manager's own
    unit, though that is delegated, too.
    """
    name = unit_of(parent).rpartition("/")[2]
    return not name or not (name.endswith(".slice") or name.startswith("user@"))


def unit_of(path: str) -> str:
    """Return the cgroup of the innermost unit that the cgroup `path` is, or lies in; "" where none is in sight."""
    while path and not path.endswith((".service", ".scope", ".slice")):
        path = path.rpartition("/")[0]
    return path


def _usable(parent: str, top: str, offered: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return those of `offered`, the controllers of `top`, that can be had in a cgroup in `parent`; and the directory, "" if
    there is none, where others cannot be enabled: a cgroup with processes in it shares nothing out."""
    usable, obstacle, path = offered, "", top
    waiting = [part for part in parent[len(top) :].split("/") if part][::-1]
    while path and usable and os.path.isdir(path):
        enabled = _words(f"{path}/cgroup.subtree_control").split()
        lacking = [controller for controller in usable if controller not in enabled]
        if lacking and not _shares_out(path):
            usable, obstacle = tuple(controller for controller in usable if controller in enabled), path
        if not waiting:
            break
        path = f"{path}/{waiting.pop()}"
    return usable, obstacle


def _shares_out(path: str) -> bool:
    """Can controllers be enabled below the cgroup?  Of the hierarchy's root, which alone has no type, always."""
    if not os.access(f"{path}/cgroup.subtree_control", os.W_OK):
        return False
    return not os.path.exists(f"{path}/cgroup.type") or not _words(f"{path}/cgroup.procs")


def _words(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def own_cgroup() -> str:
    """Return the cgroup that we are in, from the hierarchy's root: "/a/b"; "" where there is none."""
    try:
        with open("/proc/self/cgroup", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError:
        return ""
    return next((line[len("0::") :] for line in lines if line.startswith("0::")), "")


def mount_point() -> str:
    """Return where the hierarchy is mounted, "" if it is not."""
    if os.path.exists(f"{USUAL_MOUNT}/cgroup.controllers"):
        return USUAL_MOUNT
    try:
        with open("/proc/self/mountinfo", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return fields.split(" ")[4]
    return ""


def delegated(root: str, parent: str, own: str, inputs: Inputs, *, unit: str = "") -> tuple[str, tuple[str, ...]]:
    """Return the directory nearest to `root` (the mount point), on the way to the cgroup `parent`, in which we may make
    cgroups and move ourselves there; and the controllers that can be enabled below it.

    ("", ()) where there is none: a process is moved only below a cgroup that is the mover's and that it is in itself.
    """
    path = f"{root}{unit}"
    waiting = [part for part in parent[len(unit) :].split("/") if part][::-1]
    while not (os.access(path, os.W_OK | os.X_OK) and os.access(f"{path}/cgroup.procs", os.W_OK)):
        if not waiting:
            return "", ()
        path = f"{path}/{waiting.pop()}"
    if not f"{root}{own}/".startswith(f"{path}/"):
        return "", ()
    inputs.node(path)
    try:
        with open(f"{path}/cgroup.controllers") as file:
            return path, tuple(file.read().split())
    except OSError:
        return path, ()
