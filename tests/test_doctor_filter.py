"""`sandbox doctor`, and refusals, under a seccomp filter of somebody else's."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from broken_world import BrokenHost, filtered, host, refuse, top
from needs import needs

from sandbox.kernel.probe.attempt import attempt

__all__ = ["host", "top"]

pytestmark = needs("userns", "newuidmap")

MAIN_JOB = "sandbox run"

# As the filters of podman and docker; then one call each that a run cannot do without.
FILTERS: dict[str, tuple[tuple[tuple[str, int], ...], str, str]] = {
    "user namespaces": (
        (("clone3", errno.ENOSYS), ("clone", errno.EPERM), ("unshare", errno.EPERM)),
        "user namespace",
        "a seccomp filter around us takes user namespaces away (clone)",
    ),
    "user namespaces, ENOSYS": (
        (("clone3", errno.ENOSYS), ("clone", errno.ENOSYS)),
        "user namespace",
        "a seccomp filter around us takes user namespaces away (clone)",
    ),
    "clone3": (
        refuse("clone3"),
        "user namespace",
        "a seccomp filter around us takes user namespaces away (clone3)",
    ),
    "fsopen": (refuse("fsopen"), "system calls", "a seccomp filter around us takes the system call fsopen away"),
    "open_tree": (
        (("open_tree", errno.ENOSYS),),
        "system calls",
        "a seccomp filter around us takes the system call open_tree away",
    ),
    "mount_setattr": (
        (("mount_setattr", errno.ENOSYS),),
        "system calls",
        "a seccomp filter around us takes the system call mount_setattr away",
    ),
    "pivot_root": (
        refuse("pivot_root"),
        "system calls",
        "a seccomp filter around us takes the system call pivot_root away",
    ),
}


@pytest.mark.parametrize("rules, name, why", FILTERS.values(), ids=FILTERS.keys())
def test_a_filter_around_is_found_by_what_it_takes_away(
    host: BrokenHost, top: Path, rules: tuple[tuple[str, int], ...], name: str, why: str
) -> None:
    around = filtered(top / "filter", *rules)
    status, found = host.doctor(around=around)
    result = host("run", "true", around=around)

    assert status == 1
    assert found[name]["state"] == "fail"
    assert found[name]["why"] == why
    assert "a seccomp filter is in force" in found["surroundings"]["found"]
    assert result.returncode == 125
    assert f"\n  cause: {why}\n  hint: whoever started " in result.stderr


def test_a_filter_that_kills_is_found_by_who_it_kills(host: BrokenHost, top: Path) -> None:
    around = filtered(top / "filter", ("pivot_root", 0), ("mount", 0))
    status, found = host.doctor(around=around)
    result = host("run", "true", around=around)

    why = "a seccomp filter around us kills who makes the system call pivot_root"
    assert status == 1
    assert found["system calls"]["state"] == "fail"
    assert found["system calls"]["found"] == "missing: pivot_root, mount"
    assert found["system calls"]["why"] == found[MAIN_JOB]["why"] == why
    assert result.returncode == 125
    assert f"ended without a report: Bad system call\n  cause: {why}\n" in result.stderr


def test_a_filter_that_kills_for_namespaces_does_not_kill_the_doctor(host: BrokenHost, top: Path) -> None:
    status, found = host.doctor(around=filtered(top / "filter", ("clone3", 0)))

    assert status == 1
    assert found["user namespace"]["found"] == "refused: killed by SIGSYS (clone3)"
    assert found["user namespace"]["why"] == "a seccomp filter around us takes user namespaces away (clone3)"


def test_a_filter_that_takes_away_what_only_engines_need_is_a_warning(host: BrokenHost, top: Path) -> None:
    around = filtered(top / "filter", *refuse("mount", "pidfd_open"))
    status, found = host.doctor(around=around)

    assert status == 0
    assert found["system calls"]["state"] == "warn"
    assert found["system calls"]["found"] == "missing: mount, pidfd_open"
    assert host("run", "echo", "ran", around=around).stdout == "ran\n"


def test_a_filter_that_refuses_nothing_of_ours_is_no_cause(host: BrokenHost, top: Path) -> None:
    status, found = host.doctor(
        setup="echo 0 >/proc/sys/user/max_user_namespaces\n", around=filtered(top / "filter", *refuse("swapon"))
    )

    assert status == 1
    assert found["user namespace"]["why"] == "user.max_user_namespaces is 0"
    assert found["system calls"]["state"] == "ok"


def test_without_a_filter_no_call_is_missing_where_namespaces_are(host: BrokenHost) -> None:
    _, found = host.doctor(setup="echo 0 >/proc/sys/user/max_user_namespaces\n")

    assert found["system calls"]["state"] == "ok"
    assert found["mounts"]["state"] == "n/a"


def test_a_mistake_of_ours_in_a_trial_is_no_success() -> None:
    def trial() -> dict[str, object]:
        raise KeyError("ours")

    assert attempt(trial).words == "Input/output error (trial)"
