"""Does a seccomp filter around us take a system call away?

Asked with arguments that the kernel itself refuses in another way, or takes without doing anything: where the answer
is EPERM or ENOSYS, or the end of who asked, it comes from a filter.
"""

from __future__ import annotations

import errno
import functools
import os
import signal

from sandbox.kernel.probe.attempt import MOUNT, USER, UTS, Refused, attempt, system_call
from sandbox.kernel.probe.finding import UNKNOWN, Cause, Finding, refused
from sandbox.kernel.probe.surroundings import allow, status

_CLONE_FS = 0x200
_WRONG = 0x40000000  # a flag that no call knows

# Call → arguments, first kernel that has it.  What is refused only behind may_mount() is asked inside a user namespace.
_ANYWHERE: dict[str, tuple[tuple[object, ...], tuple[int, int]]] = {
    # With CLONE_FS a user namespace is EINVAL, before any right is looked at: copy_process() in kernel/fork.c.
    "clone": ((USER | _CLONE_FS, 0, 0, 0, 0), (2, 6)),
    "clone3": ((None, 0), (5, 3)),
    "mount": ((None, None, None, 0, None), (2, 6)),
    "umount2": ((None, _WRONG), (2, 6)),
    "open_tree": ((-1, None, _WRONG), (5, 2)),
    "fsconfig": ((-1, 0, None, None, 0), (5, 2)),
    "mount_setattr": ((-1, None, _WRONG, None, 0), (5, 12)),
    "openat2": ((-1, None, None, 0), (5, 6)),
    "pidfd_open": ((-1, _WRONG), (5, 3)),
    "close_range": ((1, 0, 0), (5, 9)),
    "seccomp": ((99, 0, None), (3, 17)),
}
_INSIDE: dict[str, tuple[tuple[object, ...], tuple[int, int]]] = {
    "fsopen": ((None, _WRONG), (5, 2)),
    "fsmount": ((-1, _WRONG, 0), (5, 2)),
    "move_mount": ((-1, None, -1, None, _WRONG), (5, 2)),
    "pivot_root": ((None, None), (2, 6)),
    "sethostname": ((None, -1), (2, 6)),
}
# What only a container of an engine's, or a process that joins one, calls; nsinit goes on with clone(2) for clone3(2).
_DISPENSABLE = ("clone", "clone3", "mount", "pidfd_open")
_KILLED = -1
_FROM_A_FILTER = (errno.EPERM, errno.EACCES, errno.ENOSYS, _KILLED)


def _answers(calls: dict[str, tuple[tuple[object, ...], tuple[int, int]]]) -> dict[str, int]:
    answers = {}
    for name, (arguments, _) in calls.items():
        try:
            system_call(name, *arguments)
            answers[name] = 0
        except Refused as refusal:
            answers[name] = refusal.number
    return answers


def _ask(calls: dict[str, tuple[tuple[object, ...], tuple[int, int]]], namespaces: int) -> dict[str, int]:
    # In a child, and where a filter kills who asks, in one for each.
    outcome = attempt(lambda: _answers(calls), namespaces)
    if not outcome.ended or outcome.call:
        return dict(outcome.values)
    answers: dict[str, int] = {}
    for name, call in calls.items():
        outcome = attempt(functools.partial(_answers, {name: call}), namespaces)
        answers |= {name: _KILLED} if outcome.ended == signal.SIGSYS else outcome.values
    return answers


@functools.cache
def _outside() -> dict[str, int]:
    return _ask(_ANYWHERE, 0)


@functools.cache
def _within() -> dict[str, int]:
    return _ask(_INSIDE, USER | MOUNT | UTS)


def answer(call: str) -> int | None:
    """Return the errno that `call` answers with, 0 if it succeeds; None where it was not asked."""
    return (_outside() if call in _ANYWHERE else _within() if call in _INSIDE else {}).get(call)


def takes_away(call: str) -> bool:
    """Does a filter around us refuse `call`?"""
    number = answer(call)
    if number not in _FROM_A_FILTER:
        return False
    _, since = {**_ANYWHERE, **_INSIDE}.get(call, ((), (2, 6)))
    return number != errno.ENOSYS or kernel() >= since


def kernel() -> tuple[int, int]:
    """Return the kernel's version."""
    major, minor = os.uname().release.split(".")[:2]
    digits = "".join(character for character in minor if character.isdigit())
    return int(major), int(digits or 0)


def cause(call: str) -> Cause:
    """Return why `call` is refused if it is by a filter around us, or the kernel is too old for it."""
    if takes_away(call):
        why = f"a seccomp filter around us takes the system call {call} away"
        if answer(call) == _KILLED:
            why = f"a seccomp filter around us kills who makes the system call {call}"
        cure = allow(
            f"the system call {call}", podman="--security-opt seccomp=unconfined", profile="[security] nested = true"
        )
        return Cause(why=why, cure=cure or "start it from a process without that filter")
    _, since = {**_ANYWHERE, **_INSIDE}.get(call, ((), (2, 6)))
    if kernel() < since:
        return Cause(why=f"this kernel ({os.uname().release}) lacks {call}", cure="boot Linux 5.12 or newer")
    return UNKNOWN


def end() -> Cause:
    """Return the call for which a filter around us kills, if there is one."""
    killing = [call for call, number in {**_outside(), **_within()}.items() if number == _KILLED]
    return cause(min(killing, key=lambda call: call in _DISPENSABLE)) if killing else UNKNOWN


def probe_calls() -> Finding:
    """Ask for each system call that a run needs, and some that others need."""
    name = "system calls"
    asked = {**_outside(), **_within()}
    how = f"called with arguments that do nothing: {', '.join(asked)}"
    missing = [call for call, number in asked.items() if takes_away(call) or number == errno.ENOSYS]
    # Those first that explain why nothing works.
    missing.sort(key=lambda call: call in _DISPENSABLE)
    if missing:
        needed = missing[0] not in _DISPENSABLE
        return refused(name, f"missing: {', '.join(missing)}", cause(missing[0]), how=how, needed=needed)
    words = "all that a run needs are there" if _within() else "those that could be asked for are there"
    filtered = "; the filter around us lets them through" if status("Seccomp") == "2" else ""
    return Finding(name=name, state="ok", found=words + filtered, how=how)
