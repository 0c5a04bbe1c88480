"""Where a container's cgroup is, and what is set in it."""

from __future__ import annotations

from posixpath import dirname, normpath

from sandbox.errors import SpecError
from sandbox.lower.resources import Setting, settings
from sandbox.plan.ops import Cgroup, Notice, Step
from sandbox.spec.annotations import annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case

# What a sandbox without a cgroup can have instead.
_CURES = {
    "memory": "limits.rlimits = { as = BYTES } limits each process",
    "cpu": "process.nice = 10 leaves the others their time",
    "pids": "limits.rlimits = { nproc = N } limits all your processes together",
}


def notices(case: Case) -> list[Step]:
    """Say of each limit of a sandbox that is asked for and not in force."""
    resources = case.linux.resources
    if resources is not None:
        for key in ("block_io", "hugepage_limits", "network", "rdma", "unified"):
            if getattr(resources, key):
                raise SpecError("is not supported", where=case.origins[f"linux.resources.{key}"], hint="leave it out")
    if case.linux.cgroups_path:
        raise SpecError("is not supported", where=case.origins["linux.cgroupsPath"], hint="leave it out")
    places = [place for place, _, _ in asked(case)]
    cures = [_CURES[place.rpartition(".")[2]] for place in places]
    if places and annotation(case.spec, "strict") == "true":
        raise SpecError(
            f"not in force yet: {', '.join(case.origins[place] for place in places)}",
            where=case.origins["annotations.strict"],
            hint="\n".join(cures),
        )
    return [
        Step(Notice(text=f"warning: {case.origins[place]}: {NOT_IN_FORCE}\n  hint: {cure}"), case.origins[place])
        for place, cure in zip(places, cures, strict=True)
    ]


NOT_IN_FORCE = "is not in force yet"


def asked(case: Case) -> list[tuple[str, str, str]]:
    """Return place in the spec, key and value of each limit of a sandbox that would need a cgroup."""
    resources = case.linux.resources
    found = []
    if resources is not None and resources.memory:
        found.append(("linux.resources.memory", "limits.memory", str(resources.memory.limit)))
    if resources is not None and resources.cpu:
        quota, period = resources.cpu.quota, resources.cpu.period
        found.append(("linux.resources.cpu", "limits.cpus", f"{quota / period:g}" if quota and period else "?"))
    if resources is not None and resources.pids:
        found.append(("linux.resources.pids", "limits.pids", str(resources.pids.limit)))
    return found


def place(path: str, own: str) -> tuple[str, str]:
    """Return where in the hierarchy `linux.cgroupsPath` is: its parent, and its name, "" for the container's id.

    `own` is the cgroup that the runtime is in.  As runc has it: an absolute path counts from the mount point of the
    hierarchy, a relative one from the parent of our own, which has processes in it and so cannot share out.
    Raises SpecError, without the place in the spec.
    """
    # It is written down as it stands, and read back: it must not be taken for another one then.
    if any(character in '"\\\x7f' or character < " " for character in path + own):
        raise SpecError(f"{path or own!a} has characters in it that no cgroup's name can have")
    if not path:
        return dirname(own) or "/", ""
    if not path.startswith("/"):
        if path.count(":") == 2:
            raise SpecError(
                f'"{path}" is a unit of systemd\'s, whose user manager is not asked for it yet',
                hint="have the engine manage cgroups by files: --cgroup-manager=cgroupfs, SystemdCgroup = false",
            )
        path = f"{dirname(own).rstrip('/')}{normpath('/' + path)}"
    path = "/" + normpath(path).lstrip("/")
    if path == "/":
        raise SpecError("is the root of the hierarchy, which belongs to all")
    return dirname(path), path.rpartition("/")[2]


def parent(path: str, own: str) -> str:
    """Return where the parent of the container's cgroup is, to be looked at; "" where `place` refuses the path."""
    try:
        return place(path, own)[0]
    except SpecError:
        return ""


def _place(case: Case) -> tuple[str, str]:
    try:
        return place(case.linux.cgroups_path, case.host.cgroup)
    except SpecError as error:
        raise SpecError(str(error), where=case.origins["linux.cgroupsPath"], hint=error.hint) from None


def wanted(case: Case) -> list[Setting]:
    """Return what the container's resources come to."""
    if case.linux.resources is None:
        return []
    return settings(case.linux.resources, lambda place: case.origins[f"linux.resources.{place}"], bfq=case.host.bfq)


def cgroup(case: Case) -> list[Step]:
    """Give the container a cgroup of its own.

    Where none can be had and nothing depends on it, there is none.
    """
    asked = wanted(case)
    above, name = _place(case)
    first = asked[0].place if asked else ""
    origin = case.origins[f"linux.resources.{first}" if first else "linux.cgroupsPath"]
    refusal = _refusal(case, above)
    if refusal:
        # A bare name says how it is to be called, not that it has to be.
        if not asked and "/" not in case.linux.cgroups_path:
            return []
        why, cure = _cause(case, "")
        raise SpecError(refusal, where=origin, cause=why, hint=cure)
    for setting in asked:
        if setting.controller and setting.controller not in case.host.controllers:
            why, cure = _cause(case, setting.controller)
            raise SpecError(
                f"the controller {setting.controller} is not delegated to you",
                where=case.origins[f"linux.resources.{setting.place}"],
                cause=why,
                hint=cure,
            )
    operation = Cgroup(
        parent=normpath(case.host.cgroup_root + above),
        name=name,
        top=case.host.cgroup_top,
        controllers=tuple(dict.fromkeys(setting.controller for setting in asked if setting.controller)),
        settings=tuple(str(setting) for setting in asked),
    )
    return [Step(operation, case.origins["linux.cgroupsPath"] if not first else origin)]


def _cause(case: Case, controller: str) -> tuple[str, str]:
    """Return why there is no cgroup, or not this controller, on the host where we are, and what to do."""
    from sandbox.kernel.probe.cgroup import why_missing, why_none  # late: for a refusal alone

    cause = why_missing(case.host.cgroup_top, [controller]) if controller else why_none()
    return cause.why, cause.cure


def _refusal(case: Case, above: str) -> str:
    """Return why there can be no cgroup below `above`, "" if there can be one."""
    host = case.host
    if not host.cgroup_root or not host.cgroup:
        return "there is no cgroup v2 hierarchy here"
    where = normpath(host.cgroup_root + above)
    if not host.cgroup_top or not f"{where}/".startswith(f"{host.cgroup_top}/"):
        return f"{where} is not yours to make cgroups in"
    return ""
