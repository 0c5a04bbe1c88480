"""Which part of the cgroup v2 hierarchy is the caller's: cgroups(7), "Cgroups delegation"."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.plan.inputs import Inputs

USUAL_MOUNT = "/sys/fs/cgroup"


def look_at(parent: str, own: str, inputs: Inputs) -> dict[str, Any]:
    """Return the facts cgroup, cgroup_root, cgroup_top, controllers and bfq of `sandbox.lower.host.Host`.

    `own` is the cgroup that we are in, `parent` (`sandbox.lower.cgroup.parent`) that in which the container's is to be.
    """
    root = mount_point()
    top, controllers = delegated(root, parent, own, inputs) if root and own and parent else ("", ())
    return {
        "cgroup": own,
        "cgroup_root": root,
        "cgroup_top": top,
        "controllers": controllers,
        # Where the scheduler of block devices that knows weights is loaded, every cgroup with `io` has the file.
        "bfq": "io" in controllers and os.path.exists(f"{top}/io.bfq.weight"),
    }


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


def delegated(root: str, parent: str, own: str, inputs: Inputs) -> tuple[str, tuple[str, ...]]:
    """Return the directory nearest to `root` (the mount point), on the way to the cgroup `parent`, in which we may make
    cgroups and move ourselves there; and the controllers that can be enabled below it.

    ("", ()) where there is none: a process is moved only below a cgroup that is the mover's and that it is in itself.
    """
    path = root
    waiting = [part for part in parent.split("/") if part][::-1]
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
