"""How the kernel is to treat the process: scheduling, I/O priority, memory policy, personality."""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.plan.ops import (
    Flag,
    PinCpus,
    SetIoPriority,
    SetMemoryPolicy,
    SetNice,
    SetOomScore,
    SetPersonality,
    SetScheduler,
    Step,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case

UINT32 = 0xFFFFFFFF

# linux/sched.h; SCHED_ISO, which the specification knows, was never in the kernel
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}  # linux/ioprio.h
DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}  # linux/personality.h

# linux/mempolicy.h
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
_NO_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
_BALANCED = ("MPOL_BIND", "MPOL_PREFERRED_MANY")
_MOST_NODES, _MOST_CPUS = 4096, 8192


def oom_score(case: Case) -> list[Step]:
    """Set oom_score_adj, which the command itself may no longer be allowed to."""
    score = case.setting("oom_score_adj")
    if score is None:
        return []
    if not -1000 <= score <= 1000:
        raise SpecError(f"{score} is not -1000 to 1000", where=case.origins["process.oomScoreAdj"])
    return [Step(SetOomScore(value=score & UINT32), case.origins["process.oomScoreAdj"])]


def nice(case: Case) -> list[Step]:
    """Set the nice value, which is all that a profile asks of the scheduler."""
    scheduler = case.process.scheduler
    if scheduler is None:
        return []
    if scheduler.policy not in ("SCHED_OTHER", ""):
        raise SpecError("only SCHED_OTHER is supported", where=case.origins["process.scheduler"])
    return [Step(SetNice(value=scheduler.nice & UINT32), case.origins["process.scheduler"])]


def scheduling(case: Case) -> list[Step]:
    """Set policy, I/O priority, personality and memory policy of a container's process."""
    return [*_cpus(case), *_scheduler(case), *_io_priority(case), *_personality(case), *_memory_policy(case)]


def _word(words: dict[str, int], word: str, where: str) -> int:
    if word not in words:
        raise SpecError(f'"{word}" is unknown', where=where, hint=f"one of {', '.join(words)}")
    return words[word]


def _cpus(case: Case) -> list[Step]:
    """Pin a process that joins.  `initial` is for the time before it is in the container's cgroup: there is none, it is
    born in it."""
    affinity = case.setting("exec_cpu_affinity")
    if affinity is None:
        return []
    where = case.origins["process.execCPUAffinity"]
    for name, value in (("initial", affinity.initial), ("final", affinity.final)):
        if value:
            bit_mask(value, _MOST_CPUS, f"{where}.{name}")
    if not affinity.final:
        return []
    return [Step(PinCpus(cpus=bit_mask(affinity.final, _MOST_CPUS, where)), where, Flag.JOINED)]


def _scheduler(case: Case) -> list[Step]:
    scheduler = case.setting("scheduler")
    if scheduler is None:
        return []
    where = case.origins["process.scheduler"]
    flags = 0
    for index, flag in enumerate(scheduler.flags):
        flags |= _word(SCHEDULER_FLAGS, flag, f"{where}.flags[{index}]")
    operation = SetScheduler(
        policy=_word(POLICIES, scheduler.policy, f"{where}.policy"),
        flags=flags,
        nice=scheduler.nice & UINT32,
        priority=scheduler.priority & UINT32,
        runtime=scheduler.runtime,
        deadline=scheduler.deadline,
        period=scheduler.period,
    )
    return [Step(operation, where)]


def _io_priority(case: Case) -> list[Step]:
    priority = case.setting("io_priority")
    if priority is None:
        return []
    where = case.origins["process.ioPriority"]
    number = _word(IO_CLASSES, priority.io_class, f"{where}.class")
    if not 0 <= priority.priority <= 7:
        raise SpecError(f"{priority.priority} is not 0 to 7", where=f"{where}.priority")
    return [Step(SetIoPriority(value=number << 13 | priority.priority), where)]


def _personality(case: Case) -> list[Step]:
    personality = case.linux.personality
    if personality is None:
        return []
    where = case.origins["linux.personality"]
    if personality.flags:
        raise SpecError("there are none", where=f"{where}.flags", hint="leave it out")
    return [Step(SetPersonality(domain=_word(DOMAINS, personality.domain, f"{where}.domain")), where)]


def _memory_policy(case: Case) -> list[Step]:
    policy = case.linux.memory_policy
    if policy is None:
        return []
    where = case.origins["linux.memoryPolicy"]
    mode = _word(MEMORY_MODES, policy.mode, f"{where}.mode")
    for index, flag in enumerate(policy.flags):
        mode |= _word(MEMORY_FLAGS, flag, f"{where}.flags[{index}]")
    if policy.mode in _NO_NODES:
        if policy.nodes or policy.flags:
            raise SpecError(f"{policy.mode} has no nodes and no flags", where=where, hint="leave them out")
        return [Step(SetMemoryPolicy(mode=mode), where)]
    if {"MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"} <= {*policy.flags}:
        raise SpecError("nodes are relative or static, not both", where=f"{where}.flags")
    if "MPOL_F_NUMA_BALANCING" in policy.flags and policy.mode not in _BALANCED:
        raise SpecError(f"MPOL_F_NUMA_BALANCING is for {' and '.join(_BALANCED)} alone", where=f"{where}.flags")
    if not policy.nodes:
        raise SpecError(f"{policy.mode} needs nodes", where=f"{where}.nodes")
    return [Step(SetMemoryPolicy(mode=mode, nodes=bit_mask(policy.nodes, _MOST_NODES, f"{where}.nodes")), where)]


def bit_mask(text: str, most: int, where: str) -> bytes:
    """Return a list of numbers, "0-3,7", as a mask of unsigned longs, little-endian.  Raises SpecError."""
    mask = 0
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not all(number.isascii() and number.isdigit() and len(number) < 6 for number in (first, last)):
            raise SpecError(f'"{text}" is no list of numbers', where=where, hint='as "0-3,7"')
        if int(last) < int(first) or int(last) >= most:
            raise SpecError(f'"{part.strip()}" is no range of numbers below {most}', where=where)
        mask |= (1 << int(last) + 1) - (1 << int(first))
    return mask.to_bytes(-(-mask.bit_length() // 64) * 8, "little")
