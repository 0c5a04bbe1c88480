"""The command's environment, credentials, limits and filter."""

from __future__ import annotations

from struct import pack

import msgspec

from sandbox.errors import SpecError
from sandbox.lower.host import Origins
from sandbox.plan.ops import (
    Credentials,
    Environment,
    NewSession,
    OpenTerminal,
    Reaper,
    SeccompFilter,
    SetNice,
    SetOomScore,
    SetRlimit,
    SetUmask,
    Step,
    Terminal,
    TerminalMode,
    WorkingDirectory,
)
from sandbox.spec.runtime import Process, Spec, annotation

# In the order of their numbers, linux/capability.h.
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
).split()

# RLIMIT_*, asm-generic/resource.h; the numbers of x86-64 and aarch64
RLIMITS = ("CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME").split()

UINT32, UINT64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def environment(spec: Spec, origins: Origins) -> list[Step]:
    """What the monitor gives the command: variables, and a terminal where one is wanted."""
    assert spec.process is not None
    keep: list[str] = msgspec.json.decode(annotation(spec, "keep", "[]"))
    mode = getattr(TerminalMode, annotation(spec, "terminal", "never").upper())
    if spec.process.terminal:
        mode = TerminalMode.ALWAYS
    return [
        Step(Environment(keep=tuple(keep), set=tuple(spec.process.env)), origins["process.env"]),
        Step(Terminal(mode=mode), origins["process.terminal"]),
    ]


def identity(spec: Spec, origins: Origins) -> list[Step]:
    """Become who the command is.  From here on nothing may be done that needs a capability."""
    assert spec.process is not None
    process = spec.process
    steps = []
    if process.oom_score_adj is not None:
        steps.append(Step(SetOomScore(value=process.oom_score_adj & UINT32), origins["process.oomScoreAdj"]))
    if not process.no_new_privileges:
        # Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go.
        steps += _filter(spec, origins)
    steps.append(Step(_credentials(spec, process, origins), origins["process.capabilities"]))
    steps.append(Step(OpenTerminal(), origins["process.terminal"]))
    return steps


def command(spec: Spec, origins: Origins) -> list[Step]:
    """What holds for the command alone, not for the process 1 that reaps behind it."""
    assert spec.process is not None
    process = spec.process
    steps = []
    if annotation(spec, "init") == "true":
        steps.append(Step(Reaper(), origins["annotations.init"]))
    steps.append(Step(NewSession(), origins["process.terminal"]))
    for index, limit in enumerate(process.rlimits):
        where = origins[f"process.rlimits[{index}]"]
        if limit.type.removeprefix("RLIMIT_") not in RLIMITS:
            raise SpecError(f'unknown limit "{limit.type}"', where=where)
        number = RLIMITS.index(limit.type.removeprefix("RLIMIT_"))
        steps.append(Step(SetRlimit(resource=number, soft=limit.soft & UINT64, hard=limit.hard & UINT64), where))
    if process.user.umask is not None:
        steps.append(Step(SetUmask(mask=process.user.umask), origins["process.user.umask"]))
    if process.scheduler is not None:
        if process.scheduler.policy not in ("SCHED_OTHER", ""):
            raise SpecError("only SCHED_OTHER is supported", where=origins["process.scheduler"])
        steps.append(Step(SetNice(value=process.scheduler.nice & UINT32), origins["process.scheduler"]))
    if not process.cwd.startswith("/"):
        raise SpecError(f'"{process.cwd}" is not an absolute path', where=origins["process.cwd"])
    steps.append(Step(WorkingDirectory(path=process.cwd), origins["process.cwd"]))
    if process.no_new_privileges:
        steps += _filter(spec, origins)
    return steps


def _credentials(spec: Spec, process: Process, origins: Origins) -> Credentials:
    assert spec.linux is not None
    user = process.user
    mapped = spec.linux.uid_mappings
    if not any(entry.container_id <= user.uid < entry.container_id + entry.size for entry in mapped):
        raise SpecError(f"uid {user.uid} is not mapped", where=origins["process.user"], hint='use map = "range"')
    # setgroups(2) is denied for good where a process maps its own ids.
    single = len(mapped) == 1 and mapped[0].size == 1
    if single and user.additional_gids:
        raise SpecError(
            "supplementary groups need a range of ids", where=origins["process.user"], hint='use map = "range"'
        )
    sets = process.capabilities
    return Credentials(
        uid=user.uid,
        gid=user.gid,
        groups=pack(f"<{len(user.additional_gids)}I", *user.additional_gids),
        set_groups=int(not single),
        no_new_privileges=int(process.no_new_privileges),
        **{
            name: _bits(getattr(sets, name) if sets else [], origins[f"process.capabilities.{name}"])
            for name in ("bounding", "permitted", "effective", "inheritable", "ambient")
        },
    )


def _bits(names: list[str], where: str) -> int:
    bits = 0
    for name in names:
        if name.removeprefix("CAP_") not in CAPABILITIES:
            raise SpecError(f'unknown capability "{name}"', where=where)
        bits |= 1 << CAPABILITIES.index(name.removeprefix("CAP_"))
    return bits


def _filter(spec: Spec, origins: Origins) -> list[Step]:
    assert spec.linux is not None
    if spec.linux.seccomp is None:
        return []
    from sandbox.kernel import libseccomp  # late: a plan without a filter loads no library

    seccomp = spec.linux.seccomp
    if seccomp.listener_path or any(rule.action == "SCMP_ACT_NOTIFY" for rule in seccomp.syscalls):
        raise SpecError(
            "a filter that notifies a listener is not supported", where=origins["linux.seccomp"], hint="leave it out"
        )
    program = libseccomp.compile_filter(seccomp)
    flags = libseccomp.filter_flags(seccomp)
    return [Step(SeccompFilter(program=program, flags=flags), origins["linux.seccomp"])]
