"""All probes, in the order in which a person reads their answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandbox.kernel.probe import cgroup, confinement, ids, mounts, namespaces, place, programs, surroundings
from sandbox.kernel.probe import filter as around_us
from sandbox.kernel.probe.finding import Finding

Probe = Callable[[], Finding | list[Finding]]


@dataclass(frozen=True, slots=True)
class Group:
    """Findings that belong together, and how long they took."""

    title: str
    findings: tuple[Finding, ...]
    seconds: float


def probe_python() -> Finding:
    """Say which Python this is."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(name="Python", state="ok", found=f"{version}, {sys.executable}", how="sys.version_info")


_GROUPS: tuple[tuple[str, tuple[Probe, ...]], ...] = (
    ("This machine", (surroundings.probe_system, surroundings.probe_around, surroundings.probe_lsm, probe_python)),
    (
        "Isolation",
        (
            namespaces.probe_user,
            namespaces.probe_others,
            around_us.probe_calls,
            mounts.probe_mounts,
            confinement.probe_filter,
            confinement.probe_library,
            place.probe_place,
        ),
    ),
    ("Layers", (mounts.probe_overlay,)),
    (
        "Ranges of ids",
        (
            lambda: ids.probe_range("uid"),
            lambda: ids.probe_range("gid"),
            lambda: ids.probe_helper("newuidmap"),
            lambda: ids.probe_helper("newgidmap"),
        ),
    ),
    ("Limits", (cgroup.probe_hierarchy, cgroup.probe_delegation, cgroup.probe_granted, cgroup.probe_manager)),
    ("Networks", (programs.probe_networks,)),
    (
        "Further",
        (
            confinement.probe_notification,
            confinement.probe_landlock,
            lambda: programs.probe_program("criu"),
        ),
    ),
)


def survey() -> Iterator[Group]:
    """Try everything, group by group."""
    for title, probes in _GROUPS:
        started = time.monotonic()
        findings: list[Finding] = []
        for probe in probes:
            answer = probe()
            findings += answer if isinstance(answer, list) else [answer]
        yield Group(title, tuple(findings), time.monotonic() - started)
