"""Turn a spec's root and mounts into plan operations.

Decides order, flags and what covers what.  Does not look at the host: facts arrive in `Host`, so
equal inputs give equal plans and a plan may be kept.
"""

from __future__ import annotations

from posixpath import normpath

import msgspec

from sandbox.errors import SpecError
from sandbox.lower.host import Host, Origins
from sandbox.plan.ops import (
    BindDevice,
    BindMount,
    BindRoot,
    Flag,
    FreshRoot,
    MakeReadOnly,
    MakeSymlink,
    Mask,
    NewMount,
    Op,
    PivotRoot,
    SealRoot,
    ShowCommand,
    Step,
)
from sandbox.spec.runtime import Mount, Spec, annotation

# MOUNT_ATTR_*, mount_setattr(2)
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x10, 0x20, 0x80, 0x200000
ATTRIBUTES = {
    "ro": RDONLY,
    "nosuid": NOSUID,
    "nodev": NODEV,
    "noexec": NOEXEC,
    "noatime": NOATIME,
    "strictatime": STRICTATIME,
    "nodiratime": NODIRATIME,
    "nosymfollow": NOSYMFOLLOW,
}
# Options that ask for what is so anyway.
DEFAULTS = {
    "rw",
    "suid",
    "dev",
    "exec",
    "relatime",
    "norelatime",
    "diratime",
    "atime",
    "symfollow",
    "defaults",
    "async",
}
# MS_*, mount(2)
PROPAGATION = {"private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20, "unbindable": 1 << 17}

# Bound from the host's own verified nodes: nobody but root may make them.
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
)


class Options(msgspec.Struct, kw_only=True):
    """A mount's options, sorted by who takes them."""

    attributes: int = 0
    recursive_attributes: bool = False
    propagation: int = 0
    bind: bool = False
    recursive: bool = False
    data: list[str] = []


def parse_options(mount: Mount, where: str) -> Options:
    """Sort the options of `mount`.  Raises SpecError for one that cannot be had."""
    options = Options()
    for option in mount.options:
        bare = option[1:] if option.startswith("r") else ""
        if option in ("bind", "rbind"):
            options.bind = True
            options.recursive = option == "rbind"
        elif option in ATTRIBUTES:
            options.attributes |= ATTRIBUTES[option]
        elif bare in ATTRIBUTES:
            options.attributes |= ATTRIBUTES[bare]
            options.recursive_attributes = True
        elif option in PROPAGATION or bare in PROPAGATION:
            options.propagation = PROPAGATION[option if option in PROPAGATION else bare]
        elif option in DEFAULTS:
            continue
        elif option in ("tmpcopyup", "idmap", "ridmap", "remount", "sync", "dirsync", "mand"):
            raise SpecError(f'the option "{option}" is not supported', where=where, hint="leave it out")
        else:
            options.data.append(option)
    return options


def root(spec: Spec, host: Host, origins: Origins) -> list[Step]:
    """Start the new root: an empty one, or the directory that the spec names."""
    assert spec.root is not None
    if annotation(spec, "root") == "fresh":
        steps = [Step(FreshRoot(staging=host.state_dir), origins["root"])]
    else:
        steps = [Step(BindRoot(source=spec.root.path, staging=host.state_dir), origins["root"])]
    return steps + _symlinks(spec, origins, mounted=False)


def _symlinks(spec: Spec, origins: Origins, *, mounted: bool) -> list[Step]:
    """Make the symlinks of the root itself, on which targets may depend, or those in what is mounted there."""
    links: dict[str, str] = msgspec.json.decode(annotation(spec, "symlinks", "{}"))
    targets = [_target(mount) for mount in spec.mounts]
    return [
        Step(MakeSymlink(target=link, destination=destination), origins[f"annotations.symlinks.{link}"])
        for link, destination in links.items()
        if any(link.startswith(f"{target}/") for target in targets) is mounted
    ]


def _target(mount: Mount) -> str:
    return normpath("/" + mount.destination.lstrip("/"))


def mounts(spec: Spec, origins: Origins) -> list[Step]:
    """Mount in the order of the spec; the devices that every container has follow /dev."""
    steps: list[Step] = []
    for index, mount in enumerate(spec.mounts):
        origin = origins[f"mounts[{index}]"]
        target = _target(mount)
        steps += _mount(mount, target, origin)
        if target == "/dev" and mount.type == "tmpfs":
            steps += _devices(origin)
    return steps + _symlinks(spec, origins, mounted=True)


def _mount(mount: Mount, target: str, origin: str) -> list[Step]:
    options = parse_options(mount, origin)
    if mount.uid_mappings or mount.gid_mappings:
        raise SpecError("an id-mapped mount is not supported", where=origin, hint="leave out the mappings")
    if options.bind or mount.type == "bind":
        if options.data:
            raise SpecError(f'a bind mount has no option "{options.data[0]}"', where=origin)
        return [Step(_bind(mount.source, target, options), origin)]
    if mount.type in ("cgroup", "cgroup2"):
        # Where there is no cgroup v2, nothing of the host's hierarchies may show in its place.
        return [
            Step(_new("cgroup2", target, options), origin, Flag.MAY_FAIL),
            Step(Mask(target=target), origin, Flag.OTHERWISE | Flag.IF_PRESENT),
        ]
    if mount.type in ("proc", "sysfs"):
        # Refused where the host's own is partly covered, as in a container: then that one is shown.
        shown = Options(attributes=options.attributes | RDONLY, recursive=True, recursive_attributes=True)
        return [
            Step(_new(mount.type, target, options), origin, Flag.MAY_FAIL),
            Step(_bind({"proc": "/proc", "sysfs": "/sys"}[mount.type], target, shown), origin, Flag.OTHERWISE),
        ]
    if not mount.type:
        raise SpecError("a mount needs a type, or the option bind", where=origin)
    return [Step(_new(mount.type, target, options), origin)]


def _bind(source: str, target: str, options: Options) -> BindMount:
    return BindMount(
        source=source,
        target=target,
        recursive=int(options.recursive),
        set_attributes=0 if options.recursive_attributes else options.attributes,
        set_recursive=options.attributes if options.recursive_attributes else 0,
        propagation=options.propagation or PROPAGATION["private"],
    )


def _new(fstype: str, target: str, options: Options) -> NewMount:
    return NewMount(fstype=fstype, target=target, options=tuple(options.data), attributes=options.attributes)


def _devices(origin: str) -> list[Step]:
    nodes: list[Op] = [
        BindDevice(source=f"/dev/{name}", target=f"/dev/{name}", major=major, minor=minor)
        for name, major, minor in DEVICES
    ]
    nodes += [MakeSymlink(target=link, destination=destination) for link, destination in DEVICE_LINKS]
    return [Step(op, origin) for op in nodes]


def covers(spec: Spec, origins: Origins) -> list[Step]:
    """Cover what must not be seen or written."""
    assert spec.linux is not None
    masks = [
        Step(Mask(target=path), origins[f"linux.maskedPaths[{index}]"], _mask_flags(spec, path))
        for index, path in enumerate(spec.linux.masked_paths)
    ]
    read_only = [
        Step(MakeReadOnly(target=path), origins[f"linux.readonlyPaths[{index}]"], Flag.IF_PRESENT)
        for index, path in enumerate(spec.linux.readonly_paths)
    ]
    return masks + read_only


def _mask_flags(spec: Spec, path: str) -> int:
    """Let only that be absent which the sandbox has of its own; what we saw on the host has to be there still.

    Something that vanished since could come back, and not be hidden.  A root that is a directory
    brings its own tree, and need not have what the host has.
    """
    own = normpath(path).startswith(("/dev/", "/proc/", "/sys/"))
    return Flag.IF_PRESENT if own or annotation(spec, "root") != "fresh" else 0


def seal(spec: Spec, origins: Origins) -> list[Step]:
    """Make the root read-only if asked, and go there."""
    assert spec.root is not None
    steps = []
    if annotation(spec, "showCommand") == "true":
        assert spec.process is not None
        steps.append(Step(ShowCommand(directory=spec.process.cwd), origins["annotations.showCommand"]))
    if spec.root.readonly:
        steps.append(Step(SealRoot(set_attributes=RDONLY), origins["root"]))
    return [*steps, Step(PivotRoot(), origins["root"])]
