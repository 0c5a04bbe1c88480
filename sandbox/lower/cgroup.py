"""Where a container's, or a sandbox's, cgroup is, and what is set in it.

A container's settings are in force, or it does not start.  Of a sandbox, a limit that cannot be had is said, and an error
only where it is asked to be strict.
"""

from __future__ import annotations

from posixpath import dirname, normpath

from sandbox.errors import SpecError
from sandbox.lower.resources import Setting, settings
from sandbox.plan.ops import Cgroup, Notice, Step
from sandbox.spec.annotations import annotation, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case, Host, Origins
    from sandbox.spec.runtime import Spec

PREFIX = "sandbox-"
"""A sandbox's cgroup is called this, and its id."""

WATCHED = ("cpu", "io", "memory", "pids")
"""What is counted, where it can be, of a sandbox that is looked after."""


class Verdict:
    """A setting of a sandbox, and why it is not in force; `why` is empty where it is."""

    __slots__ = ("cause", "cure", "setting", "why")

    def __init__(self, setting: Setting, why: str = "", cause: str = "", cure: str = "") -> None:
        self.setting = setting
        self.why = why
        self.cause = cause
        self.cure = cure


# --- where ---


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
                f'"{path}" is a unit of systemd\'s, which is asked for it with --systemd-cgroup alone',
                hint="give that, or have the engine manage cgroups by files: --cgroup-manager=cgroupfs, SystemdCgroup = false",
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


def parent_of_sandbox(own: str) -> str:
    """Return where that of a sandbox is, which stands beside our own."""
    return parent("", own) if own else ""


def way(host: Host) -> str:
    """Return how a sandbox comes to its cgroup: "direct", by a "scope" of systemd's, or "none" where it has none."""
    if host.bus:
        return "scope"
    return "direct" if host.cgroup_root and host.cgroup and host.cgroup_top and host.unmanaged else "none"


def _place(case: Case) -> tuple[str, str]:
    try:
        return place(case.linux.cgroups_path, case.host.cgroup)
    except SpecError as error:
        raise SpecError(str(error), where=case.origins["linux.cgroupsPath"], hint=error.hint) from None


# --- what ---


def wanted(case: Case) -> list[Setting]:
    """Return what the resources come to."""
    return _settings(case.spec, case.origins, bfq=case.host.bfq)


def _settings(spec: Spec, origins: Origins, *, bfq: bool) -> list[Setting]:
    resources = spec.linux.resources if spec.linux is not None else None
    if resources is None:
        return []
    return settings(resources, lambda place: origins[f"linux.resources.{place}"], bfq=bfq)


def needs_cgroup(spec: Spec, origins: Origins) -> bool:
    """Is a sandbox one that has a cgroup, where it can have one?  Without limits, for what can be counted in it."""
    return bool(watcher(spec)) or bool(_settings(spec, origins, bfq=False))


def watcher(spec: Spec) -> str:
    """Return the annotation for which somebody will ask how much it uses, "" if nobody will."""
    asked = next((name for name in ("report", "reportPage") if annotation(spec, name)), "")
    return asked or ("detached" if annotation(spec, "detached") == "true" else "")


# --- a sandbox's ---


def sandbox(case: Case) -> list[Step]:
    """Give the sandbox a cgroup of its own, if it needs one; say of each limit that it cannot have.

    Raises SpecError for such a limit where it is to be strict.
    """
    if case.linux.cgroups_path:
        raise SpecError("is not supported", where=case.origins["linux.cgroupsPath"], hint="leave it out")
    if not needs_cgroup(case.spec, case.origins):
        return []
    unmet = [verdict for verdict in verdicts(case) if verdict.why]
    strict = annotation(case.spec, "strict") == "true"
    if not strict:
        optional = texts(case.spec, "optional")
        unmet = [verdict for verdict in unmet if verdict.setting.place not in optional]
    if unmet and strict:
        raise SpecError(
            f"not in force: {', '.join(dict.fromkeys(_origin(case, verdict.setting) for verdict in unmet))}",
            where=case.origins["annotations.strict"],
            cause="; ".join(dict.fromkeys(verdict.cause or verdict.why for verdict in unmet)),
            hint="\n".join(dict.fromkeys(verdict.cure for verdict in unmet if verdict.cure)),
        )
    return [*_notices(case, unmet), *_made(case)]


def verdicts(case: Case) -> list[Verdict]:
    """Return what is asked for, each with why it is not in force."""
    if case.verdicts is None:
        case.verdicts = [_judge(case, _fitting(case.host, setting)) for setting in wanted(case)]
    return case.verdicts


def _fitting(host: Host, setting: Setting) -> Setting:
    """Return the weight for input and output as the disk's scheduler has it, where there is no other.

    It goes to 1000, with the same 100 in the middle; the conversion is systemd's.
    """
    if setting.file != "io.weight" or setting.file in host.files or "io.bfq.weight" not in host.files:
        return setting
    weight = int(setting.value) if setting.value.isdigit() else 0
    if not weight:
        return setting
    return Setting("io.bfq.weight", weight if weight <= 100 else 100 + (weight - 100) * 900 // 9900, setting.place)


def _judge(case: Case, setting: Setting) -> Verdict:
    host, controller = case.host, setting.controller
    if way(host) == "none":
        return Verdict(setting, "there is no cgroup for it", *_cause(case, ""))
    if controller and controller not in host.controllers:
        return Verdict(setting, _withheld(case, controller), *_cause(case, controller))
    if controller in host.enabled and setting.file not in host.files:
        return Verdict(setting, f"this kernel has no {setting.file}", "", "leave it out, or boot a kernel that has it")
    return Verdict(setting)


def _origin(case: Case, setting: Setting) -> str:
    return case.origins[f"linux.resources.{setting.place}"]


def _notices(case: Case, unmet: list[Verdict]) -> list[Step]:
    """Say each limit once; of several with one reason, that stands with the last."""
    said = {_origin(case, verdict.setting): verdict for verdict in unmet}
    last = {(verdict.cause, verdict.cure): verdict for verdict in said.values()}
    found = []
    for origin, verdict in said.items():
        text = f"warning: {origin}: is not in force: {verdict.why}"
        if last[verdict.cause, verdict.cure] is verdict:
            text += f"\n  cause: {verdict.cause}" if verdict.cause else ""
            text += "".join(f"\n  hint: {line}" for line in verdict.cure.splitlines())
        found.append(Step(Notice(text=text), origin))
    return found


def _made(case: Case) -> list[Step]:
    host = case.host
    met = [verdict.setting for verdict in verdicts(case) if not verdict.why]
    watched = watcher(case.spec)
    if way(host) == "none" or not (met or watched):
        return []
    counted = [name for name in WATCHED if name in host.controllers] if watched else []
    controllers = tuple(dict.fromkeys([*(setting.controller for setting in met if setting.controller), *counted]))
    origin = _origin(case, met[0]) if met else case.origins[f"annotations.{watched}"]
    if way(host) == "scope":
        from sandbox.lower.scope import sandbox as scope  # late: for few

        return scope(case, met, controllers, origin)
    operation = Cgroup(
        parent=normpath(host.cgroup_root + parent_of_sandbox(host.cgroup)),
        prefix=PREFIX,
        top=host.cgroup_top,
        controllers=controllers,
        settings=tuple(str(setting) for setting in met),
    )
    return [Step(operation, origin)]


# --- a container's ---


def cgroup(case: Case) -> list[Step]:
    """Give the container a cgroup of its own.

    Where none can be had and nothing depends on it, there is none.
    """
    asked = wanted(case)
    first = asked[0].place if asked else ""
    origin = case.origins[f"linux.resources.{first}" if first else "linux.cgroupsPath"]
    if case.call.systemd:
        return _scope(case, asked, origin)
    above, name = _place(case)
    refusal = _refusal(case, above)
    if refusal:
        # A bare name says how it is to be called, not that it has to be.
        if not asked and "/" not in case.linux.cgroups_path:
            return []
        why, cure = _cause(case, "")
        raise SpecError(refusal, where=origin, cause=why, hint=cure)
    _check_controllers(case, asked)
    operation = Cgroup(
        parent=normpath(case.host.cgroup_root + above),
        name=name,
        top=case.host.cgroup_top,
        controllers=tuple(dict.fromkeys(setting.controller for setting in asked if setting.controller)),
        settings=tuple(str(setting) for setting in asked),
    )
    return [Step(operation, case.origins["linux.cgroupsPath"] if not first else origin)]


def _check_controllers(case: Case, asked: list[Setting]) -> None:
    for setting in asked:
        if setting.controller and setting.controller not in case.host.controllers:
            why, cure = _cause(case, setting.controller)
            raise SpecError(
                _withheld(case, setting.controller),
                where=_origin(case, setting),
                cause=why,
                hint=cure,
            )


def _scope(case: Case, asked: list[Setting], origin: str) -> list[Step]:
    """Have systemd make the cgroup, as the engine wants it."""
    from sandbox.lower.scope import container  # late: for engines that use systemd

    if not case.host.bus:
        why, cure = case.host.no_bus
        raise SpecError("your systemd cannot be asked for a scope", where="--systemd-cgroup", cause=why, hint=cure)
    steps = container(case, asked, origin)
    _check_controllers(case, asked)
    return steps


def _withheld(case: Case, controller: str) -> str:
    """Say that the controller cannot be had."""
    if controller in case.host.offered:
        return f"the controller {controller} cannot be enabled in {case.host.obstacle}"
    return f"the controller {controller} is not delegated to you"


def _cause(case: Case, controller: str) -> tuple[str, str]:
    """Return why there is no cgroup, or not this controller, on the host where we are, and what to do."""
    from sandbox.kernel.probe import cgroup as probe  # late: for a refusal alone

    if not controller and case.host.no_bus[1]:
        return case.host.no_bus
    if not controller:
        cause = probe.why_none()
    elif controller in case.host.offered:
        cause = probe.why_not_enabled(case.host.obstacle)
    else:
        cause = probe.why_missing(case.host.cgroup_top, [controller])
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
