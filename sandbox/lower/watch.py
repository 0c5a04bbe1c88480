"""What the monitor watches over while the command runs: its time, and what there is to report."""

from __future__ import annotations

from sandbox.lower.cgroup import verdicts, watcher, way
from sandbox.lower.record import json_value
from sandbox.plan.ops import (
    Keep,
    MemoryLimit,
    Readiness,
    ReadinessMode,
    ReadinessSocket,
    Report,
    Samples,
    Step,
    TimeLimit,
)
from sandbox.quantities import size
from sandbox.spec.annotations import annotation, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.lower.host import Case

UNLIMITED = 2**64 - 1

INTERVAL, MOST_SAMPLES = 50, 480
"""Milliseconds between two samples at first, and how many are kept: of a run of 24 s or more, half as many at least."""


def time_limit(case: Case) -> list[Step]:
    """End the command when its time is over."""
    seconds = annotation(case.spec, "timeout")
    if not seconds:
        return []
    where = case.origins["annotations.timeout"]
    operation = TimeLimit(
        milliseconds=_milliseconds(seconds),
        grace=_milliseconds(annotation(case.spec, "timeoutGrace", "0")),
        text=f"the time limit of {seconds} s ({where}) was reached",
    )
    return [Step(operation, where)]


def _milliseconds(seconds: str) -> int:
    return max(0, round(float(seconds) * 1000))


def readiness(case: Case) -> list[Step]:
    """Tell the service manager, where there is one that wants to know."""
    mode = annotation(case.spec, "notify")
    if not mode:
        return []
    return [Step(Readiness(mode=getattr(ReadinessMode, mode.upper())), case.origins["annotations.notify"])]


def readiness_socket(case: Case) -> list[Step]:
    """Let the command say itself that it is ready.  In a file system that every sandbox has of its own."""
    if annotation(case.spec, "notify") != "command":
        return []
    return [Step(ReadinessSocket(target="/dev/notify"), case.origins["annotations.notify"])]


def keep(case: Case) -> list[Step]:
    """Let a keeper wait for the command."""
    if annotation(case.spec, "detached") != "true":
        return []
    operation = Keep(
        log_size=int(annotation(case.spec, "logSize", "0")),
        failure="the sandbox's first process ended without a report",
        interactive=int(annotation(case.spec, "interactive") == "true"),
        remove=int(annotation(case.spec, "remove") == "true"),
    )
    return [Step(operation, case.origins["annotations.detached"])]


def memory_limit(case: Case) -> list[Step]:
    """Say whose memory it was, when that has run out in the sandbox's cgroup, and by which limit."""
    if way(case.host) == "none":
        return []
    for verdict in verdicts(case):
        if verdict.setting.file == "memory.max" and verdict.setting.value.isdigit() and not verdict.why:
            where = case.origins[f"linux.resources.{verdict.setting.place}"]
            limit = int(verdict.setting.value)
            return [Step(_memory_limit(limit, f"the limit of {size(limit)} ({where}) was reached", where), where)]
    watched = watcher(case.spec)
    if not watched:
        return []
    return [Step(_memory_limit(0, "the limit was reached", ""), case.origins[f"annotations.{watched}"])]


def _memory_limit(limit: int, reached: str, where: str) -> MemoryLimit:
    return MemoryLimit(
        limit=limit,
        text=f"out of memory: {reached}",
        changed=f"out of memory: the limit ({where}, changed since) was reached" if limit else "",
        inside="out of memory: a limit that was set inside was reached",
        outside="out of memory: a limit above the sandbox's own was reached, or the machine's memory is used up",
    )


def report(case: Case) -> list[Step]:
    """Say at the end how it went, and what was in force; of a detached sandbox, to whoever asks, without a file too."""
    path, page, watched = annotation(case.spec, "report"), annotation(case.spec, "reportPage"), watcher(case.spec)
    if not watched:
        return []
    record = {
        "profiles": texts(case.spec, "profiles"),
        "cwd": case.process.cwd,
        "settings": [dict(zip(_MEMBERS, row, strict=True)) for row in _settings(case)],
    }
    document = Report(path=path, record=_unicode(json_value(record)[1:-1]), failure=_failure(path))
    steps = [Step(document, case.origins[f"annotations.{watched}"])]
    if page:
        samples = Samples(interval=INTERVAL, most=MOST_SAMPLES, path=page, failure=_failure(page))
        steps.append(Step(samples, case.origins["annotations.reportPage"]))
    return steps


def _failure(path: str) -> str:
    return f"the report cannot be written to {path}"


def _unicode(text: str) -> str:
    """Return `text` as JSON may have it; a name can hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_MEMBERS = ("name", "asked", "origin", "enforced", "why")


def _network(case: Case) -> str:
    return (annotation(case.spec, "network") or "none") if case.has("network") else "host"


def _settings(case: Case) -> Iterator[tuple[str, str, str, bool, str]]:
    """Yield name, value, origin, whether it is in force and, if not, why.

    What isolates is in force, or nothing is started.
    """
    process, origins = case.process, case.origins
    user = process.user
    granted = process.capabilities.bounding if process.capabilities else []
    namespaces = [entry.type for entry in case.linux.namespaces]
    rows = [
        ("user", f"{user.uid}:{user.gid}", origins["process.user"]),
        ("network.mode", _network(case), origins["linux.namespaces"]),
        ("namespaces", " ".join(namespaces), "every sandbox has them"),
        ("security.seccomp", annotation(case.spec, "seccomp", "off"), origins["linux.seccomp"]),
        ("security.no_new_privs", json_value(bool(process.no_new_privileges)), origins["process.noNewPrivileges"]),
        ("security.capabilities", " ".join(granted), origins["process.capabilities"]),
        ("security.nested", annotation(case.spec, "nested", "false"), origins["annotations.nested"]),
        ("process.init", annotation(case.spec, "init", "false"), origins["annotations.init"]),
    ]
    for index, limit in enumerate(process.rlimits):
        name = limit.type.removeprefix("RLIMIT_").lower()
        values = ["unlimited" if value == UNLIMITED else str(value) for value in (limit.soft, limit.hard)]
        rows.append((f"limits.rlimits.{name}", ":".join(values), origins[f"process.rlimits[{index}]"]))
    if annotation(case.spec, "timeout"):
        rows.append(("limits.timeout", annotation(case.spec, "timeout"), origins["annotations.timeout"]))
        rows.append(
            ("limits.timeout_grace", annotation(case.spec, "timeoutGrace"), origins["annotations.timeoutGrace"])
        )
    for row in rows:
        yield (*row, True, "")
    yield from _limits(case)


# The word of a profile for what is asked for in a place below linux.resources.
_KEYS = {
    "memory.limit": "memory",
    "memory.reservation": "memory_low",
    "memory.swap": "swap",
    "unified.memory.high": "memory_high",
    "unified.memory.min": "memory_min",
    "unified.memory.swap.max": "swap",
    "unified.memory.oom.group": "oom_group",
    "cpu.quota": "cpus",
    "cpu.cpus": "cpuset",
    "cpu.mems": "cpuset_mems",
    "unified.cpu.weight": "cpu_weight",
    "pids.limit": "pids",
    "unified.io.weight": "io_weight",
    "hugepageLimits": "hugepages",
    "blockIO": "io",
}


def _limits(case: Case) -> Iterator[tuple[str, str, str, bool, str]]:
    # One limit may be several settings.
    rows = {verdict.setting.place: verdict for verdict in verdicts(case)}
    for place, verdict in rows.items():
        where = case.origins[f"linux.resources.{place}"]
        asked = verdict.setting.value
        if place == "cpu.quota":
            quota, _, period = asked.partition(" ")
            asked = f"{int(quota) / int(period):g}" if quota.isdigit() else quota
        key = _KEYS.get(place) or _KEYS.get(place.partition("[")[0].partition(".throttle")[0])
        yield (f"limits.{key}" if key else f"linux.resources.{place}", asked, where, not verdict.why, verdict.why)
