"""From a container and what `exec` asks for to the plan of a process that joins it.

What the container was made from is in the key of its own plan: a bundle that was changed since does not matter.
"""

from __future__ import annotations

import os

from sandbox.errors import ContainerError, NoSuchContainer, PlanError, SpecError, UsageError
from sandbox.lower.container import lower_process
from sandbox.lower.host import Call, Origins
from sandbox.plan.encode import Plan, decode
from sandbox.plan.ops import Cgroup, JoinKeyring, MapIds, Notice, NotifySocket, Step
from sandbox.runtime.adapting import adapt, ids, is_held, number
from sandbox.runtime.bundle import Compilation, Key, look, read_spec
from sandbox.runtime.held import read_plan
from sandbox.runtime.state import Place
from sandbox.spec import quick
from sandbox.spec.check import check_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.spec.runtime import Process, User


class Wish:
    """What is asked of the process; None and empty: as the container's own."""

    __slots__ = (
        "additional_gids",
        "apparmor",
        "args",
        "caps",
        "cgroup",
        "cwd",
        "env",
        "label",
        "no_new_privs",
        "process",
        "tty",
        "user",
    )

    def __init__(
        self,
        args: Sequence[str],
        *,
        process: bytes | None = None,
        cwd: str = "",
        env: Sequence[str] = (),
        user: str = "",
        additional_gids: Sequence[int] = (),
        caps: Sequence[str] = (),
        no_new_privs: bool = False,
        apparmor: str = "",
        label: str = "",
        cgroup: Sequence[str] = (),
        tty: bool = False,
    ) -> None:
        self.args = args
        self.process = process  # a whole process object, instead of all else
        self.cwd = cwd
        self.env = env  # besides the container's
        self.user = user  # UID[:GID]
        self.additional_gids = additional_gids
        self.caps = caps
        self.no_new_privs = no_new_privs
        self.apparmor = apparmor
        self.label = label
        self.cgroup = cgroup
        self.tty = tty


class _OptionOrigins(Origins):
    """The places in the spec, by the options that they come from."""

    OPTIONS = (
        ("process.cwd", "--cwd"),
        ("process.env", "--env"),
        ("process.user", "--user"),
        ("process.capabilities", "--cap"),
        ("process.apparmorProfile", "--apparmor"),
        ("process.selinuxLabel", "--process-label"),
    )

    def __init__(self, given: set[str]) -> None:
        super().__init__()
        self.given = given

    def __getitem__(self, place: str) -> str:
        for member, option in self.OPTIONS:
            if place.startswith(member) and option in self.given:
                return option
        return super().__getitem__(place)


class _FileOrigins(Origins):
    """The places in the document of a process."""

    def __getitem__(self, place: str) -> str:
        if place.startswith("process."):
            return f"process.json: {place.removeprefix('process.')}"
        return super().__getitem__(place)


def compile_process(root: str, name: str, wish: Wish) -> Compilation:
    """Return the plan of a process that joins the container `name`.

    Raises NoSuchContainer, ContainerError for a plan that is not ours, and SpecError and UsageError for a wish that
    cannot be had.
    """
    directory = f"{root}/containers/{name}"
    own = _own_plan(directory, name)
    if is_held(own):
        return Compilation(_adapted(own, wish), [])
    key = Key(own.key)
    spec, _ = read_spec(key.config)
    assert spec.process is not None
    warnings: list[str] = []
    origins: Origins
    if wish.process is not None:
        process, warnings = _read_process(wish.process)
        origins = _FileOrigins()
    else:
        process = _wished(spec.process, wish)
        origins = _OptionOrigins(_given(wish))
    kinds = {type(step.op) for step in own.steps}
    # As the container has it: what it was made with is not ours to change.
    call = Call(keyring=JoinKeyring in kinds, notify_directory=f"{directory}/notify" if NotifySocket in kinds else "")
    host, _ = look(spec, key)
    lowered = lower_process(spec, process, host, origins, call)
    warnings += dict.fromkeys(step.op.text for step in lowered if isinstance(step.op, Notice))
    first, *steps = (step for step in lowered if not isinstance(step.op, Notice))
    joined = [first, *(step for step in own.steps if isinstance(step.op, MapIds))]
    if wish.cgroup:
        joined.append(_below(wish.cgroup, directory))
    return Compilation(Plan(b"", (), (*joined, *steps)), warnings)


def _adapted(own: Plan, wish: Wish) -> Plan:
    """Return the plan of a process that joins a sandbox, whose walls are its profile's."""
    refused = {
        "--process": wish.process,
        "--additional-gids": wish.additional_gids,
        "--cap": wish.caps,
        "--apparmor": wish.apparmor,
        "--process-label": wish.label,
        "--cgroup": wish.cgroup,
    }
    for option, value in refused.items():
        if value:
            raise UsageError(f"{option}: a process in a sandbox has what its profile gives", hint=f"leave {option} out")
    return adapt(
        own, wish.args, cwd=wish.cwd, env=wish.env, user=wish.user, tty=wish.tty, no_new_privs=wish.no_new_privs
    )


def _own_plan(directory: str, name: str) -> Plan:
    with Place(os.path.dirname(directory), name) as place:
        record = place.record()
        try:
            content = read_plan(place, record)
        except OSError as error:
            raise NoSuchContainer("container does not exist") from error
    try:
        return decode(content)
    except PlanError as error:
        raise ContainerError(
            f"the plan of container {name} cannot be read: {error}",
            hint="was it made by another version of sandbox-oci? delete it, and create it again",
        ) from error


def _read_process(content: bytes) -> tuple[Process, list[str]]:
    process = quick.process(content)
    warnings: list[str] = []
    if process is None:
        from sandbox.spec.document import decode_leniently  # late: 30 ms, for a document that needs words
        from sandbox.spec.runtime import Process as Careful

        process, warnings = decode_leniently(content, Careful, name="process.json")
    return process, warnings + check_process(process)


def _given(wish: Wish) -> set[str]:
    options = {
        "--cwd": wish.cwd,
        "--env": wish.env,
        "--user": wish.user or wish.additional_gids,
        "--cap": wish.caps,
        "--apparmor": wish.apparmor,
        "--process-label": wish.label,
    }
    return {option for option, value in options.items() if value}


def _wished(own: Process, wish: Wish) -> Process:
    """Return the container's process, changed as `exec` of runc changes it."""
    changes: dict[str, object] = {"args": list(wish.args), "env": [*own.env, *wish.env], "terminal": wish.tty}
    if wish.cwd:
        changes["cwd"] = wish.cwd
    if wish.apparmor:
        changes["apparmor_profile"] = wish.apparmor
    if wish.label:
        changes["selinux_label"] = wish.label
    if wish.no_new_privs:
        changes["no_new_privileges"] = True
    if wish.caps:
        changes["capabilities"] = _capabilities(own, wish.caps)
    changes["user"] = _user(own.user, wish)
    process: Process = quick.changed(own, **changes)
    check_process(process, "exec")
    return process


def _capabilities(own: Process, names: Sequence[str]) -> object:
    """Return the container's capabilities, with `names`; ambient ones only where some are inheritable, as in runc."""
    sets = ["bounding", "effective", "permitted"]
    if own.capabilities is not None and own.capabilities.inheritable:
        sets += ["inheritable", "ambient"]
    return quick.changed(
        own.capabilities if own.capabilities is not None else quick.empty("Capabilities"),
        **{kind: [*(getattr(own.capabilities, kind) if own.capabilities else []), *names] for kind in sets},
    )


def _user(own: User, wish: Wish) -> object:
    changes: dict[str, object] = {
        "additional_gids": [*own.additional_gids, *(number(str(n)) for n in wish.additional_gids)]
    }
    if wish.user:
        uid, gid = ids(wish.user)
        changes["uid"] = uid
        if gid is not None:
            changes["gid"] = gid
    return quick.changed(own, **changes)


def _below(names: Sequence[str], directory: str) -> Step:
    """Join a cgroup below the container's own, which has to be there."""
    if len(names) > 1 or ":" in names[0]:
        raise UsageError(
            "--cgroup: there is one hierarchy, and so one cgroup to join", hint="name it without a controller"
        )
    parent, _, name = directory.rpartition("/")
    with Place(parent, name) as place:
        own = place.record().cgroup
    path = os.path.normpath("/" + names[0])
    if not own:
        raise SpecError("the container has no cgroup of its own", where="--cgroup")
    if not os.path.isdir(own + path):
        raise SpecError(f"{own}{path} is no cgroup", where="--cgroup")
    return Step(Cgroup(parent=own, name=path.lstrip("/")), "--cgroup")
