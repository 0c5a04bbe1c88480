"""Turn a spec's root and mounts into plan operations.

Decides order, flags and what covers what.  Does not look at the host: facts arrive in `Host`, so
equal inputs give equal plans and a plan may be kept.
"""

from __future__ import annotations

from posixpath import normpath

from sandbox.errors import SpecError
from sandbox.lower.devices import default_devices
from sandbox.lower.ids import has_other_root, is_mapped, lines
from sandbox.lower.mount_options import (
    PROPAGATION,
    RDONLY,
    Options,
    label_option,
    parse_options,
    refuse_filesystem_options,
    target_of,
)
from sandbox.lower.outwards import outwards
from sandbox.plan.ops import (
    BindMount,
    BindRoot,
    ChangeMount,
    Early,
    Flag,
    FreshRoot,
    KeepAbsent,
    MakeDirectory,
    MakeReadOnly,
    MakeSymlink,
    Mask,
    NewMount,
    PivotRoot,
    SealRoot,
    ShowCommand,
    Step,
)
from sandbox.spec.annotations import annotation, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case
    from sandbox.spec.runtime import Mount

# Mounted anew only by who owns the namespace that it shows; else the host's own is shown.
_KERNELS = {"proc": ("/proc", "pid"), "sysfs": ("/sys", "network")}
_NO_LABEL = ("proc", "sysfs", "cgroup", "cgroup2")


def root(case: Case) -> list[Step]:
    """Start the new root: an empty one, or the directory that the spec names."""
    assert case.spec.root is not None
    origin = case.origins["root"]
    if annotation(case.spec, "root") == "fresh":
        steps = [Step(FreshRoot(staging=case.host.state_dir), origin)]
    else:
        source = case.spec.root.path
        if case.is_container:
            source = _source(case, source, case.origins["root.path"])
        # Only a slave hears of what is mounted outside.
        slave = _propagation(case) == PROPAGATION["slave"]
        # Who is root inside may be somebody whom our state is closed to; the directory itself is open to them.
        staging = source if case.is_container else case.host.state_dir
        operation = BindRoot(
            source=source,
            staging=staging,
            propagation=PROPAGATION["slave" if slave else "private"],
            early=opening(case),
        )
        steps = [Step(operation, origin)]
    return steps + _symlinks(case, mounted=False)


def opening(case: Case) -> int:
    """Return how the source of a mount is opened (Early)."""
    return Early.OPEN if case.is_container and has_other_root(case) else Early.NO


def _propagation(case: Case) -> int:
    word = case.linux.rootfs_propagation
    if not word:
        return 0
    if word.removeprefix("r") not in PROPAGATION:
        raise SpecError(
            f'"{word}" is not supported',
            where=case.origins["linux.rootfsPropagation"],
            hint=f"one of {', '.join(PROPAGATION)}",
        )
    return PROPAGATION[word.removeprefix("r")]


def _source(case: Case, source: str, where: str) -> str:
    """Return where a path of the host's leads to."""
    found = case.host.sources.get(source)
    if found is None:
        raise SpecError(f"{source}: {case.host.absent.get(source, 'no such file or directory')}", where=where)
    return found


def _symlinks(case: Case, *, mounted: bool) -> list[Step]:
    """Make the symlinks of the root itself, on which targets may depend, or those in what is mounted there."""
    links = table(case.spec, "symlinks")
    targets = [target_of(mount) for mount in case.spec.mounts] if links else []
    return [
        Step(MakeSymlink(target=link, destination=destination), case.origins[f"annotations.symlinks.{link}"])
        for link, destination in links.items()
        if any(link.startswith(f"{target}/") for target in targets) is mounted
    ]


def absent(case: Case) -> list[Step]:
    """Let something lie on the host where a name is to stay absent, for the mounts to lie on."""
    return [
        Step(
            KeepAbsent(path=path, file=int(kind.startswith("file:")), content=kind.partition(":")[2]),
            case.origins[f"annotations.absent.{path}"],
        )
        for path, kind in table(case.spec, "absent").items()
    ]


def mounts(case: Case) -> list[Step]:
    """Mount in the order of the spec; in a sandbox the devices that every container has follow /dev."""
    steps: list[Step] = []
    late = outwards(case)
    for index, mount in enumerate(case.spec.mounts):
        if index in late:
            continue
        origin = case.origins[f"mounts[{index}]"]
        target = target_of(mount)
        if target == "/":
            raise SpecError("the root itself is no place for a mount", where=origin, hint='see "root"')
        steps += _mount(case, mount, target, origin)
        if target == "/dev" and mount.type == "tmpfs" and not case.is_container:
            steps += default_devices(case, origin)
    return steps + _symlinks(case, mounted=True)


def shared(case: Case) -> list[Step]:
    """Mount what is shared with the host: last of all."""
    steps = []
    for index, target in outwards(case).items():
        origin = case.origins[f"mounts[{index}]"]
        steps += _mount(case, case.spec.mounts[index], target, origin, early=Early.COPY)
    return steps


def _mount(case: Case, mount: Mount, target: str, origin: str, *, early: int = 0) -> list[Step]:
    options = parse_options(mount)
    if not case.is_container:
        _check_sandbox(mount, options, origin)
    if label_option(options) and not case.host.selinux:
        raise SpecError(
            f'the option "{label_option(options)}" needs SELinux, which is not enabled here',
            where=origin,
            hint="leave it out",
        )
    if options.copy_up and (options.bind or mount.type != "tmpfs"):
        raise SpecError("tmpcopyup is for a tmpfs", where=origin, hint="leave it out")
    if options.remount:
        return [_remount(target, options, origin)]
    if options.bind:
        refuse_filesystem_options(options, origin)
        if not mount.source:
            raise SpecError("a bind mount needs a source", where=origin)
        source = _source(case, mount.source, origin) if case.is_container else mount.source
        maps = _id_maps(case, mount, options, origin)
        if early:
            # What lies below has its peers too, as in runc, whether or not it is named.
            return [Step(_bind(case, source, target, options, maps, early=early), origin)]
        bind = _bind(case, source, target, options, maps, early=opening(case))
        return [Step(bind, origin), *_top(case, target, options, origin)]
    if mount.type in ("", "none"):
        raise SpecError("a mount needs a type, or the option bind", where=origin)
    if case.is_container:
        _check_ids(case, options, origin)
    operation = _new(case, mount, target, options, origin)
    if mount.type in ("cgroup", "cgroup2"):
        return _cgroup(case, operation, target, options, origin)
    if mount.type in _KERNELS:
        return _kernels(case, mount.type, operation, target, options, origin)
    steps = [Step(operation, origin)]
    if case.is_container and target == "/dev" and operation.attributes & RDONLY:
        # Its devices are bound first (`devices.closed`).
        steps = [Step(_new(case, mount, target, options, origin, but=RDONLY), origin)]
    return steps


def _check_sandbox(mount: Mount, options: Options, origin: str) -> None:
    """Refuse what no profile asks for."""
    if mount.uid_mappings or mount.gid_mappings:
        raise SpecError("an id-mapped mount is not supported", where=origin, hint="leave out the mappings")
    asked = [options.id_map, "tmpcopyup" if options.copy_up else "", "remount" if options.remount else ""]
    for word in (*asked, *options.filesystem):
        if word:
            raise SpecError(f'the option "{word}" is not supported', where=origin, hint="leave it out")
    # What the host shows read-only stays so: a profile's `write` takes nothing away, and gives nothing.
    options.clear &= ~RDONLY
    options.clear_recursive &= ~RDONLY


def _check_ids(case: Case, options: Options, origin: str) -> None:
    """Refuse an owner that is not mapped, as runc does; the kernel would only say EINVAL."""
    for option in options.data:
        kind, _, number = option.partition("=")
        if kind in ("uid", "gid") and number.isdigit() and not is_mapped(case, kind, int(number)):
            raise SpecError(
                f'the option "{option}": {kind} {number} is not mapped', where=origin, hint=f'leave out "{option}"'
            )


def _remount(target: str, options: Options, origin: str) -> Step:
    """Change what is mounted there; what no option names stays."""
    refuse_filesystem_options(options, origin)
    if options.id_map:
        raise SpecError("a mount that is there cannot be id-mapped any more", where=origin, hint="leave it out")
    operation = ChangeMount(
        target=target,
        set_attributes=options.set,
        clear_attributes=options.clear,
        set_recursive=options.set_recursive,
        clear_recursive=options.clear_recursive,
        propagation=options.propagation,
        propagation_recursive=int(options.propagation_recursive),
    )
    return Step(operation, origin)


def _id_maps(case: Case, mount: Mount, options: Options, origin: str) -> tuple[str, str]:
    uids, gids = mount.uid_mappings, mount.gid_mappings
    if not options.id_map and not uids and not gids:
        return "", ""
    if not uids and not gids and case.makes("user"):
        uids, gids = case.linux.uid_mappings, case.linux.gid_mappings
    if not uids or not gids:
        raise SpecError("an id-mapped mount needs uidMappings and gidMappings", where=origin)
    return lines(uids), lines(gids)


def _bind(
    case: Case, source: str, target: str, options: Options, maps: tuple[str, str], *, early: int = 0
) -> BindMount:
    private = PROPAGATION["private"]
    recursively = options.set_recursive
    by_top = case.is_container and _is_of_top(options)
    top = options.set
    if case.is_container and top & RDONLY and _shows_cgroups(case, source):
        # runc CVE-2023-25809: read-only is the top alone, and the hierarchy below could be written.
        top, recursively = top & ~RDONLY, recursively | RDONLY
    return BindMount(
        source=source,
        target=target,
        recursive=int(options.recursive),
        set_attributes=top,
        clear_attributes=options.clear,
        set_recursive=recursively,
        clear_recursive=options.clear_recursive,
        propagation=options.propagation or private if early == Early.COPY or not by_top else private,
        uid_map=maps[0],
        gid_map=maps[1],
        map_recursive=int(options.id_map == "ridmap"),
        early=early,
    )


def _is_of_top(options: Options) -> bool:
    """Is the propagation that of the top of a tree alone?  Only a slave cannot be told apart: the rest would lose the
    master that it may become a slave of."""
    return (
        options.recursive
        and not options.propagation_recursive
        and options.propagation in (PROPAGATION["shared"], PROPAGATION["unbindable"])
    )


def _top(case: Case, target: str, options: Options, origin: str) -> list[Step]:
    if not case.is_container or not _is_of_top(options):
        return []
    return [Step(ChangeMount(target=target, propagation=options.propagation), origin)]


def _shows_cgroups(case: Case, source: str) -> bool:
    root = case.host.cgroup_root or "/sys/fs/cgroup"
    return root == source or root.startswith(source.rstrip("/") + "/") or source.startswith(root + "/")


def _new(case: Case, mount: Mount, target: str, options: Options, origin: str, *, but: int = 0) -> NewMount:
    data = [*options.filesystem, *options.data]
    if case.is_container and mount.source:
        data.insert(0, f"source={mount.source}")  # as mountinfo shows it
    label = case.linux.mount_label
    if label and mount.type not in _NO_LABEL:
        data.append(f"context={label}")
    maps = _id_maps(case, mount, options, origin)
    return NewMount(
        fstype="cgroup2" if mount.type == "cgroup" else mount.type,
        target=target,
        options=tuple(data),
        attributes=(options.set | options.set_recursive) & ~but,
        propagation=options.propagation,
        take_mode=int(case.is_container and mount.type == "tmpfs"),
        copy_up=int(options.copy_up),
        uid_map=maps[0],
        gid_map=maps[1],
    )


def _cgroup(case: Case, operation: NewMount, target: str, options: Options, origin: str) -> list[Step]:
    tried = Step(operation, origin, Flag.MAY_FAIL)
    if case.is_container and not case.has("cgroup") and case.host.cgroup_root:
        # The hierarchy of the host's namespace: no less is to be seen, and it is the host's to mount.
        shown = _bind(case, case.host.cgroup_root, target, options, ("", ""))
        return [tried, Step(shown, origin, Flag.OTHERWISE)]
    # Where there is no cgroup v2, nothing of the host's hierarchies may show in its place.
    return [tried, Step(Mask(target=target), origin, Flag.OTHERWISE | Flag.IF_PRESENT)]


def _kernels(case: Case, kind: str, operation: NewMount, target: str, options: Options, origin: str) -> list[Step]:
    """Mount procfs or sysfs; where the host's own is all that can be had, that one, which nobody may write.

    But one who makes user namespaces writes their maps there.  Of the processes outside, which it shows too, those inside can
    then change what is no secret and lends no power (oom_score_adj upwards, coredump_filter): what needs the right to trace
    them needs it in their user namespace.
    """
    source, owner = _KERNELS[kind]
    its_own = case.is_container and kind == "proc"
    maps = kind == "proc" and annotation(case.spec, "nested") == "true"
    if its_own and case.has(owner):
        return [Step(operation, origin)]  # another one would show other processes
    shown = Options()
    shown.recursive = True
    shown.set_recursive = options.set | options.set_recursive | (0 if its_own or maps else RDONLY)
    return [
        Step(operation, origin, Flag.MAY_FAIL),
        Step(_bind(case, source, target, shown, ("", "")), origin, Flag.OTHERWISE),
    ]


def covers(case: Case) -> list[Step]:
    """Cover what must not be seen or written."""
    masks = [
        Step(Mask(target=path), case.origins[f"linux.maskedPaths[{index}]"], _mask_flags(case, path))
        for index, path in enumerate(case.linux.masked_paths)
    ]
    read_only = [
        Step(MakeReadOnly(target=path), case.origins[f"linux.readonlyPaths[{index}]"], Flag.IF_PRESENT)
        for index, path in enumerate(case.linux.readonly_paths)
    ]
    # As in runc: what is hidden in a tree that is read-only is hidden once.
    return read_only + masks if case.is_container else masks + read_only


def _mask_flags(case: Case, path: str) -> int:
    """Let only that be absent which the sandbox has of its own; what we saw on the host has to be there still.

    Something that vanished since could come back, and not be hidden.  A root that is a directory
    brings its own tree, and need not have what the host has.
    """
    own = normpath(path).startswith(("/dev/", "/proc/", "/sys/"))
    return Flag.IF_PRESENT if own or annotation(case.spec, "root") != "fresh" else 0


def seal(case: Case) -> list[Step]:
    """Make the root read-only if asked, and go there."""
    assert case.spec.root is not None
    steps = []
    cwd = case.process.cwd
    if not case.is_container and annotation(case.spec, "showCommand") == "true":
        steps.append(Step(ShowCommand(directory=cwd), case.origins["annotations.showCommand"]))
    if case.is_container and normpath(cwd) != "/":
        steps.append(Step(MakeDirectory(path=normpath(cwd)), case.origins["process.cwd"]))
    if case.spec.root.readonly:
        steps.append(Step(SealRoot(set_attributes=RDONLY), case.origins["root"]))
    steps.append(Step(PivotRoot(), case.origins["root"]))
    propagation = _propagation(case)
    if propagation in (PROPAGATION["shared"], PROPAGATION["unbindable"]):
        operation = ChangeMount(
            target="/",
            propagation=propagation,
            propagation_recursive=int(case.linux.rootfs_propagation.startswith("r")),
        )
        steps.append(Step(operation, case.origins["linux.rootfsPropagation"]))
    return steps
