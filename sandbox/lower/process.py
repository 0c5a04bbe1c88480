"""Who the process is and what it may: environment, terminal, credentials, limits."""

from __future__ import annotations

from struct import pack

from sandbox.errors import SpecError
from sandbox.lower.ids import is_mapped, is_self_mapped
from sandbox.plan.ops import (
    Credentials,
    Environment,
    Flag,
    LabelKind,
    Notice,
    SetLabel,
    SetRlimit,
    SetUmask,
    Step,
    Terminal,
    TerminalMode,
    WorkingDirectory,
)
from sandbox.spec.annotations import annotation, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case

# In the order of their numbers, linux/capability.h.
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
).split()
_SETS = ("bounding", "permitted", "effective", "inheritable", "ambient")
_NUMBERS = {name: number for number, name in enumerate(CAPABILITIES)}

# RLIMIT_*, asm-generic/resource.h; the numbers of x86-64 and aarch64
RLIMITS = ("CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME").split()
NOFILE = RLIMITS.index("NOFILE")
FEW_FILES = 64  # fewer than this, and we might not get through the start gate ourselves

UINT32, UINT64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
DEFAULT_UMASK = 0o022

_SERVICE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

KEEP_GROUPS = "run.oci.keep_original_groups"
"""crun's annotation, by which podman has a container keep the caller's supplementary groups."""


def environment(case: Case, further: tuple[str, ...] = ()) -> list[Step]:
    """What the monitor gives the command: variables, and a terminal where one is wanted."""
    process, origins = case.process, case.origins
    if case.is_container:
        variables = Environment(keep=(), set=_variables([*process.env, *further]))
        size = process.console_size
        terminal = Terminal(
            mode=TerminalMode.ALWAYS if process.terminal else TerminalMode.NEVER,
            rows=min(size.height, UINT32) if size else 0,
            columns=min(size.width, UINT32) if size else 0,
            newlines=0,
        )
    else:
        from fnmatch import fnmatchcase  # late: a container has no patterns

        # The service manager is ours to talk to: a command hears by a way of its own (`watch.readiness`).
        kept = texts(case.spec, "keep")
        never = [f"!{name}" for name in _SERVICE if any(fnmatchcase(name, pattern) for pattern in kept)]
        variables = Environment(keep=(*kept, *never), set=tuple(process.env))
        mode = getattr(TerminalMode, annotation(case.spec, "terminal", "never").upper())
        terminal = Terminal(mode=TerminalMode.ALWAYS if process.terminal else mode)
    return [Step(variables, origins["process.env"]), Step(terminal, origins["process.terminal"])]


def _variables(variables: list[str]) -> tuple[str, ...]:
    """Return each variable once: the last one counts, at its own place."""
    last = {variable.partition("=")[0]: index for index, variable in enumerate(variables)}
    return tuple(variable for index, variable in enumerate(variables) if last[variable.partition("=")[0]] == index)


def labels(case: Case) -> list[Step]:
    """Have execve(2) give the command its label.  Of a module that is not enabled nothing could be in force."""
    steps = []
    for member, kind, name, enabled in (
        ("apparmor_profile", LabelKind.APPARMOR, "AppArmor", case.host.apparmor),
        ("selinux_label", LabelKind.SELINUX, "SELinux", case.host.selinux),
    ):
        label = case.setting(member)
        where = case.origins["process.apparmorProfile" if kind == LabelKind.APPARMOR else "process.selinuxLabel"]
        if not label or (label == "unconfined" and not enabled):
            continue
        if not enabled:
            raise SpecError(f"{name} is not enabled in this kernel", where=where, hint="leave it out")
        if not case.is_container:
            raise SpecError("is not supported", where=where, hint="leave it out")
        steps.append(Step(SetLabel(kind=kind, value=label), where))
    return steps


def credentials(case: Case) -> list[Step]:
    """Become who the command is.  From here on nothing may be done that needs a capability."""
    user, origins = case.process.user, case.origins
    where = origins["process.user"]
    hint = "" if case.is_container else 'use map = "range"'
    numbers = [("uid", user.uid), *(("gid", number) for number in [user.gid, *user.additional_gids])]
    for kind, number in numbers if case.is_container else numbers[:1]:
        if not is_mapped(case, kind, number):
            raise SpecError(f"{kind} {number} is not mapped", where=where, hint=hint)
    groups = _set_groups(case)
    if user.additional_gids and not groups and not _keeps_groups(case):
        raise SpecError(
            "supplementary groups need a range of ids: who maps their own alone may call setgroups(2) no more",
            where=where,
            hint=hint or "leave out additionalGids, or map a range of ids",
        )
    sets = _capability_sets(case)
    operation = Credentials(
        uid=user.uid,
        gid=user.gid,
        groups=pack(f"<{len(user.additional_gids)}I", *user.additional_gids),
        set_groups=groups,
        no_new_privileges=int(case.setting("no_new_privileges")),
        **sets,
    )
    return [*_unknown(case), Step(operation, origins["process.capabilities"])]


def _keeps_groups(case: Case) -> bool:
    return case.is_container and case.spec.annotations.get(KEEP_GROUPS) == "1"


def _set_groups(case: Case) -> int:
    """Return whether setgroups(2) is called; 2: if it may be."""
    if is_self_mapped(case) or _keeps_groups(case):
        return 0
    if case.makes("user") or not case.is_container:
        return 1
    if case.has("user"):  # whoever made it may have denied that
        return 1 if case.process.user.additional_gids else 2
    return int(case.host.setgroups)


def _capability_sets(case: Case) -> dict[str, int]:
    given = case.setting("capabilities")
    sets = {name: _bits(case, getattr(given, name) if given else [], f"process.capabilities.{name}") for name in _SETS}
    if case.is_container:
        # What is not inheritable cannot be ambient, capabilities(7); `runc spec` writes it all the same, and neither runc
        # nor crun minds.
        sets["ambient"] &= sets["inheritable"]
    # What the kernel would refuse without a word about which.
    rules = [
        ("effective", "permitted", sets["permitted"]),
        ("ambient", "permitted", sets["permitted"]),
        ("ambient", "inheritable", sets["inheritable"]),
        ("inheritable", "bounding", sets["bounding"]),
    ]
    if not case.has("user") and case.is_container:
        rules += [(name, "those that we hold ourselves", case.host.capabilities) for name in ("permitted", "bounding")]
    for name, other, allowed in rules:
        missing = sets[name] & ~allowed
        if missing:
            names = ", ".join(f"CAP_{word}" for number, word in enumerate(CAPABILITIES) if missing >> number & 1)
            raise SpecError(f"{names} is not among {other}", where=case.origins[f"process.capabilities.{name}"])
    return sets


def _bits(case: Case, names: list[str], place: str) -> int:
    bits = 0
    for index, name in enumerate(names):
        number = _NUMBERS.get(name.removeprefix("CAP_"))
        if number is not None:
            bits |= 1 << number
        elif not case.is_container:
            from difflib import get_close_matches  # late: only where something is wrong

            near = get_close_matches(name.removeprefix("CAP_"), CAPABILITIES, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see capabilities(7)"
            raise SpecError(f'unknown capability "{name}"', where=case.origins[f"{place}[{index}]"], hint=hint)
    return bits


def _unknown(case: Case) -> list[Step]:
    """Warn of capabilities that there are not: a container is to start without them, `config.md#linux-process`."""
    given = case.setting("capabilities")
    return [
        Step(Notice(text=f'{where}: unknown capability "{name}", which is not given'), where)
        for where, names in (
            (case.origins[f"process.capabilities.{which}"], getattr(given, which) if given else []) for which in _SETS
        )
        for name in names
        if name.removeprefix("CAP_") not in _NUMBERS
    ]


def rlimits(case: Case) -> list[Step]:
    """Limit the command."""
    steps = []
    seen: set[int] = set()
    for index, limit in enumerate(case.setting("rlimits")):
        where = case.origins[f"process.rlimits[{index}]"]
        name = limit.type.removeprefix("RLIMIT_")
        if name not in RLIMITS:
            raise SpecError(f'unknown limit "{limit.type}"', where=where)
        number = RLIMITS.index(name)
        if number in seen:
            raise SpecError(f"{limit.type} is there twice", where=where)
        seen.add(number)
        steps.append(Step(SetRlimit(resource=number, soft=limit.soft & UINT64, hard=limit.hard & UINT64), where))
    return steps


def early_rlimits(steps: list[Step]) -> list[Step]:
    """Return limits as they may be while we are still at work: a small soft one of open files is left for later."""
    return [
        Step(SetRlimit(resource=NOFILE, soft=step.op.hard, hard=step.op.hard), step.origin) if _is_few(step) else step
        for step in steps
        if isinstance(step.op, SetRlimit)
    ]


def late_rlimits(steps: list[Step]) -> list[Step]:
    """Return what `early_rlimits` left."""
    return [step for step in steps if _is_few(step)]


def _is_few(step: Step) -> bool:
    return isinstance(step.op, SetRlimit) and step.op.resource == NOFILE and step.op.soft < FEW_FILES


def umask(case: Case) -> list[Step]:
    """Set the file mode creation mask; a container has one of its own, as in runc."""
    mask = case.process.user.umask
    if mask is None and case.is_container:
        assert case.spec.process is not None
        mask = case.spec.process.user.umask
        mask = DEFAULT_UMASK if mask is None else mask
    if mask is None:
        return []
    if mask > 0o777:
        raise SpecError(f"{mask:#o} is more than 0o777", where=case.origins["process.user.umask"])
    return [Step(SetUmask(mask=mask), case.origins["process.user.umask"])]


def directory(case: Case, flags: int = 0, *, again: bool = False) -> list[Step]:
    """Change to the working directory."""
    path = case.process.cwd
    if not path.startswith("/"):
        raise SpecError(f'"{path}" is not an absolute path', where=case.origins["process.cwd"])
    return [Step(WorkingDirectory(path=path, again=int(again)), case.origins["process.cwd"], flags)]


def first_directory(case: Case) -> list[Step]:
    """Try it as root of the container: what only root may enter is the command's directory all the same, as in runc."""
    return directory(case, Flag.MAY_FAIL)
