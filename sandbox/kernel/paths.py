"""What the paths and devices of a `config.json` are on the host, looked at through `Inputs`.

A source of a mount is opened without following symlinks when the plan is executed: one that appeared
since must not redirect us.  So they are followed here, and each that was met is an input of the plan.
"""

from __future__ import annotations

import os
from errno import ELOOP, ENOENT, ENOTDIR
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IMODE, S_ISBLK, S_ISCHR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.plan.inputs import Inputs
    from sandbox.spec.runtime import Spec

SYMLINKS_FOLLOWED = 40  # as the kernel, path_resolution(7)

# /proc/self/ns/NAME
NAMESPACE_FILES = {
    "mount": "mnt",
    "cgroup": "cgroup",
    "uts": "uts",
    "ipc": "ipc",
    "user": "user",
    "pid": "pid",
    "network": "net",
    "time": "time",
}


class Node:
    """A device node of the host's; the ids are those that it has in our user namespace."""

    __slots__ = ("gid", "kind", "major", "minor", "mode", "uid")

    def __init__(self, kind: str, major: int, minor: int, *, mode: int, uid: int, gid: int) -> None:
        self.kind = kind  # "c" or "b"
        self.major = major
        self.minor = minor
        self.mode = mode  # the permissions alone
        self.uid = uid
        self.gid = gid


def look_at(spec: Spec, bundle: str, inputs: Inputs) -> dict[str, Any]:
    """Return what lowering has to know of the paths in `spec`, of which relative ones lie in `bundle`: the facts
    sources, absent, devices, nodes, own_namespaces, apparmor and selinux of `sandbox.lower.host.Host`."""
    sources: dict[str, str] = {}
    absent: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    binds = [mount.source for mount in spec.mounts if is_bind(mount.type, mount.options)]
    for source in ([spec.root.path] if spec.root is not None else []) + binds:
        try:
            sources[source], kind = follow(source if source.startswith("/") else f"{bundle}/{source}", inputs)
        except OSError as error:
            absent[source] = (error.strerror or str(error)).lower()
        else:
            if kind not in (S_IFDIR, 0) and (node := _node(sources[source])):
                nodes[sources[source]] = node
    devices: dict[tuple[str, int, int], str] = {}
    joined: list[str] = []
    if spec.linux is not None:
        for asked in spec.linux.devices:
            kind_of = "b" if asked.type == "b" else "c"
            found = device(kind_of, asked.major, asked.minor, asked.path, inputs) if asked.type != "p" else ""
            if found and (node := _node(found)):
                devices[kind_of, asked.major, asked.minor] = found
                nodes[found] = node
        joined = [entry.path for entry in spec.linux.namespaces if entry.path and _is_own(entry.type, entry.path)]
    return {
        "sources": sources,
        "absent": absent,
        "devices": devices,
        "nodes": nodes,
        "own_namespaces": frozenset(joined),
        **security_modules(),
    }


def security_modules() -> dict[str, bool]:
    """Return which of the modules are enabled that give processes labels; until the next boot."""
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            apparmor = file.read(1) == "Y"
    except OSError:
        apparmor = False
    return {"apparmor": apparmor, "selinux": os.path.exists("/sys/fs/selinux/enforce")}


def is_bind(kind: str, options: list[str]) -> bool:
    """Is a mount of this type, with these options, one of a file or directory of the host?"""
    return (kind == "bind" or "bind" in options or "rbind" in options) and "remount" not in options


def follow(path: str, inputs: Inputs) -> tuple[str, int]:
    """Return where `path`, which is absolute, really leads, and what is there (S_IFDIR …).

    Raises OSError: FileNotFoundError, NotADirectoryError, ELOOP, EACCES …
    """
    done, kind = "", S_IFDIR
    waiting = path.split("/")[::-1]
    links = 0
    while waiting:
        part = waiting.pop()
        if kind != S_IFDIR:
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), path)
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        place = f"{done}/{part}"
        status = inputs.node(place)
        if status is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
        kind = S_IFMT(status.st_mode)
        if kind != S_IFLNK:
            done = place
            continue
        links += 1
        if links > SYMLINKS_FOLLOWED:
            raise OSError(ELOOP, os.strerror(ELOOP), path)
        target = os.readlink(place)
        waiting += target.split("/")[::-1]
        done = "" if target.startswith("/") else done
        kind = S_IFDIR
    return done or "/", kind


def device(kind: str, major: int, minor: int, path: str, inputs: Inputs) -> str:
    """Return the host's node of a device (`kind`: "c" or "b"): the one at `path`, else the one that the kernel named;
    "" if there is none."""
    if found := _device_at(path, kind, major, minor, inputs):
        return found
    try:
        with open(f"/sys/dev/{'block' if kind == 'b' else 'char'}/{major}:{minor}/uevent") as file:
            lines = file.read().split("\n")
    except OSError:  # the kernel has none, or there is no sysfs
        return ""
    names = [line[len("DEVNAME=") :] for line in lines if line.startswith("DEVNAME=")]
    return _device_at(f"/dev/{names[0]}", kind, major, minor, inputs) if names else ""


def _device_at(path: str, kind: str, major: int, minor: int, inputs: Inputs) -> str:
    try:
        real, _ = follow(path, inputs)
    except OSError:
        return ""
    node = _node(real)
    return real if node is not None and (node.kind, node.major, node.minor) == (kind, major, minor) else ""


def _node(path: str) -> Node | None:
    """Return what the node at `path` is; None where there is no device."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    kind = "b" if S_ISBLK(status.st_mode) else "c" if S_ISCHR(status.st_mode) else ""
    if not kind:
        return None
    number = status.st_rdev
    return Node(
        kind,
        os.major(number),
        os.minor(number),
        mode=S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _is_own(kind: str, path: str) -> bool:
    """Is the namespace at `path` the one of that kind that we are in?"""
    try:
        own, other = os.stat(f"/proc/self/ns/{NAMESPACE_FILES[kind]}"), os.stat(path)
    except (OSError, KeyError):  # said when it is joined, or by the check of the spec
        return False
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)
