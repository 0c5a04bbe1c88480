"""The operations by which a process becomes the command; part of the instruction set (`ops.py`)."""

from __future__ import annotations

from sandbox.plan.op import PROCESS, U32, U64, Blob, Op, Text, op


@op(0x30, PROCESS)
class Credentials(Op):
    """Become uid:gid with the supplementary `groups` (little-endian u32) and exactly these capability sets."""

    uid: U32
    gid: U32
    groups: Blob = b""
    set_groups: U32 = 0  # 2: where setgroups(2) is denied, those that there are stay
    no_new_privileges: U32 = 0
    bounding: U64 = 0
    permitted: U64 = 0
    effective: U64 = 0
    inheritable: U64 = 0
    ambient: U64 = 0


@op(0x31, PROCESS)
class OpenTerminal(Op):
    """Allocate a pseudo-terminal from the new root's /dev/pts if one is wanted, and hand its master out."""


@op(0x32)
class Reaper(Op):
    """Fork: process 1 stays to reap and to pass signals; the rest of the plan happens in its child."""


@op(0x33, PROCESS)
class NewSession(Op):
    """Start a session, with the sandbox's own terminal where there is one."""


@op(0x34, PROCESS)
class SetRlimit(Op):
    """Limit `resource` (RLIMIT_*, setrlimit(2))."""

    resource: U32
    soft: U64
    hard: U64


@op(0x35, PROCESS)
class SetUmask(Op):
    """Set the file mode creation mask."""

    mask: U32


@op(0x36, PROCESS)
class SetNice(Op):
    """Set the nice value; `value` is stored as a two's complement."""

    value: U32


@op(0x37, PROCESS)
class SetOomScore(Op):
    """Write oom_score_adj; `value` is stored as a two's complement."""

    value: U32


@op(0x38, PROCESS)
class WorkingDirectory(Op):
    """Change to `path`, and refuse if that is not below the root."""

    path: Text
    again: U32 = 0  # only if that failed before


@op(0x39, PROCESS)
class SeccompFilter(Op):
    """Install the classic BPF `program` (struct sock_filter[]), seccomp(2)."""

    program: Blob
    flags: U32 = 0


@op(0x3A, PROCESS)
class JoinKeyring(Op):
    """Have a session keyring of the container's own, _ses.ID, keyctl_join_session_keyring(3)."""


@op(0x3B, PROCESS)
class OwnStreams(Op):
    """Give the standard streams that are not /dev/null to `uid`, who may have to open them again by /dev/stdout."""

    uid: U32


@op(0x3C, PROCESS)
class SetScheduler(Op):
    """Set the scheduling policy, sched_setattr(2); `nice` and `priority` are stored as two's complements."""

    policy: U32  # SCHED_*
    flags: U64 = 0  # SCHED_FLAG_*
    nice: U32 = 0
    priority: U32 = 0
    runtime: U64 = 0  # in nanoseconds, as the two that follow
    deadline: U64 = 0
    period: U64 = 0


@op(0x3D, PROCESS)
class SetIoPriority(Op):
    """Set the I/O priority, ioprio_set(2)."""

    value: U32  # class << 13 | level


@op(0x3E, PROCESS)
class SetPersonality(Op):
    """Set the execution domain, personality(2)."""

    domain: U32


@op(0x3F, PROCESS)
class SetMemoryPolicy(Op):
    """Set the NUMA memory policy, set_mempolicy(2)."""

    mode: U32  # MPOL_*, with its flags
    nodes: Blob = b""  # a bit mask of unsigned longs


@op(0x40, PROCESS)
class SetLabel(Op):
    """Let the command's execve(2) give it the label `value` (LabelKind), through a procfs that is checked to be one."""

    kind: U32
    value: Text


@op(0x41, PROCESS)
class PinCpus(Op):
    """Run on these processors alone, sched_setaffinity(2)."""

    cpus: Blob  # a bit mask of unsigned longs


@op(0x42, PROCESS)
class FindHome(Op):
    """Set HOME by the container's /etc/passwd, where the environment names none."""

    uid: U32


@op(0x43, PROCESS)
class FindCommand(Op):
    """See that the command is there and can be executed, before anybody is told that all is well."""
