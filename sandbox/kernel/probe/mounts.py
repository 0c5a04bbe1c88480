"""What may be mounted inside: each file system is made as nsinit makes it, and attached nowhere."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable

from sandbox.kernel.probe import filter as around_us
from sandbox.kernel.probe.attempt import (
    LIBC,
    MOUNT,
    USER,
    Outcome,
    Refused,
    attempt,
    system_call,
)
from sandbox.kernel.probe.finding import UNKNOWN, Cause, Finding, refused
from sandbox.kernel.probe.lacks import lack, no_mount
from sandbox.kernel.probe.namespaces import KINDS, is_made, why_no_rights, works
from sandbox.kernel.probe.surroundings import allow, around

_CREATE, _SET_FLAG, _SET_STRING = 6, 0, 1  # FSCONFIG_*
_CLONE_TREE, _EMPTY_PATH, _RECURSIVE, _HERE = 1, 0x1000, 0x8000, -100
_FROM_EMPTY, _TO_EMPTY = 0x4, 0x40  # MOVE_MOUNT_*
_RDONLY = 1  # MOUNT_ATTR_RDONLY
_DETACH = 2

_NEW: dict[str, tuple[str, ...]] = {
    "tmpfs": ("mode=755",),
    "proc": (),
    "devpts": ("newinstance", "ptmxmode=0666", "mode=0620"),
    "mqueue": (),
    "sysfs": (),
    "cgroup2": (),
}
_READ_ONLY = ("sysfs", "cgroup2")
# Whose mount it is: a new one is for root of the user namespace that owns this namespace.
_OWNERS = {"proc": "pid", "mqueue": "ipc", "sysfs": "net", "cgroup2": "cgroup"}
_NEEDED = ("tmpfs", "devpts", "mqueue")
# In whose place the host's own is shown, or nothing.
_INSTEAD = {
    "proc": "the one that is here is shown instead, read-only",
    "sysfs": "the one that is here is shown instead, read-only",
    "cgroup2": "/sys/fs/cgroup is hidden instead",
}
# What the kernel lets root of a user namespace mount (FS_USERNS_MOUNT).
FOR_USERS = (*_NEW, "cgroup", "overlay", "ramfs", "fuse", "binfmt_misc")


@functools.cache
def trial() -> Outcome:
    """Try everything, once; `values` are (call, errno) by what was tried, ("", 0) where it worked."""
    return attempt(_trial, USER | MOUNT | sum(KINDS[kind] for kind in _OWNERS.values() if is_made(kind)))


def _trial() -> dict[str, tuple[str, int]]:
    # A private copy: nothing of what is attached here is seen outside.
    tries: dict[str, Callable[[], object]] = {fstype: functools.partial(_new, fstype) for fstype in _NEW}
    tries |= {"attributes": _attributes, "attach": _attach}
    # Both on the tmpfs that `attach` has left; the last lets go of all the rest.
    tries |= {"overlay": _overlay, "overlay userxattr": functools.partial(_overlay, "userxattr,"), "pivot": _pivot}
    return {name: _refusal_of(function) for name, function in tries.items()}


def _refusal_of(function: Callable[[], object]) -> tuple[str, int]:
    try:
        function()
    except Refused as refusal:
        return refusal.call, refusal.number
    except OSError as error:
        return "open", error.errno or errno.EIO
    return "", 0


def _new(fstype: str) -> None:
    os.close(_made(fstype))


def _made(fstype: str) -> int:
    """Return a descriptor of a detached mount."""
    context = system_call("fsopen", fstype.encode(), 1)
    try:
        for option in _NEW[fstype]:
            key, _, value = option.partition("=")
            command, text = (_SET_STRING, value.encode()) if value else (_SET_FLAG, None)
            system_call("fsconfig", context, command, key.encode(), text, 0)
        system_call("fsconfig", context, _CREATE, None, None, 0)
        return system_call("fsmount", context, 1, _RDONLY if fstype in _READ_ONLY else 0)
    finally:
        os.close(context)


def _attributes() -> None:
    """Make a detached copy of a tree read-only."""
    tree = system_call("open_tree", _HERE, b"/usr" if os.path.isdir("/usr") else b"/", _CLONE_TREE | _RECURSIVE)
    change = (ctypes.c_uint64 * 4)(_RDONLY, 0, 0, 0)  # struct mount_attr
    try:
        system_call("mount_setattr", tree, b"", _EMPTY_PATH | _RECURSIVE, ctypes.byref(change), 32)
    finally:
        os.close(tree)


def _attach() -> None:
    tmpfs = _made("tmpfs")
    try:
        system_call("move_mount", tmpfs, b"", _HERE, _place().encode(), _FROM_EMPTY)
    finally:
        os.close(tmpfs)


def _place() -> str:
    return next(path for path in ("/tmp", "/mnt", "/usr", "/proc") if os.path.isdir(path))


def _overlay(options: str = "") -> None:
    top = f"{_place()}/overlay{options[:-1]}"
    for name in ("", "/lower", "/upper", "/work", "/merged"):
        os.mkdir(top + name)
    words = f"{options}lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work"
    if LIBC.mount(b"overlay", f"{top}/merged".encode(), b"overlay", 0, words.encode()) < 0:
        raise Refused("mount", ctypes.get_errno())


def _pivot() -> None:
    os.chdir(_place())
    system_call("pivot_root", b".", b".")
    system_call("umount2", b".", _DETACH)


def _nothing(name: str, kind: str, how: str) -> Finding:
    return Finding(name=name, state="n/a", found=f"not tried without a {kind} namespace", how=how)


def probe_mounts() -> list[Finding]:
    """Mount each file system that a sandbox has; attach one, and leave the host's tree for it."""
    how = "fsopen, fsconfig, fsmount in new namespaces, attached nowhere"
    outcome = trial()
    if not is_made("mnt"):
        return [_nothing("mounts", "mnt" if works() else "user", how)]
    if not outcome.succeeded:
        cause = why_no_rights(outcome.number) or lack(outcome.number)
        return [refused("mounts", outcome.words, cause, how=how, needed=True)]
    findings = []
    good = [name for name in _NEW if not outcome.values[name][0]]
    if good:
        findings.append(Finding(name="mounts", state="ok", found=f"new: {', '.join(good)}", how=how))
    for name in _NEW:
        call, number = outcome.values[name]
        if call and not is_made(_OWNERS.get(name, "mnt")):
            findings.append(_nothing(f"new {name}", _OWNERS[name], how))
        elif call:
            words = f"refused: {os.strerror(number)} ({call})"
            words += f"; {_INSTEAD[name]}" if name in _INSTEAD else ""
            findings.append(refused(f"new {name}", words, why_not(name, call, number), how=how, needed=name in _NEEDED))
    findings.append(_done("attributes", "read-only binds", "open_tree, mount_setattr", needed=True))
    findings.append(_done("attach", "attaching", "move_mount", needed=True))
    if not outcome.values["attach"][0]:
        findings.append(_done("pivot", "leaving the root", "pivot_root, umount2", needed=True))
    return findings


def probe_overlay() -> list[Finding]:
    """Mount an overlay as root of a user namespace, without and with userxattr."""
    how = "mount(2) of overlay on a tmpfs in new namespaces"
    outcome = trial()
    if not is_made("mnt"):
        return [_nothing("overlay", "mnt" if works() else "user", how)]
    if not outcome.succeeded or outcome.values["attach"][0]:
        return [Finding(name="overlay", state="n/a", found="not tried: there is no tmpfs to try it on", how=how)]
    findings = []
    for key in ("overlay", "overlay userxattr"):
        call, number = outcome.values[key]
        if not call:
            findings.append(Finding(name=key, state="ok", found="mounted", how=how))
            continue
        cause = why_not("overlay", call, number)
        if number == errno.ENODEV:
            cause = Cause(why="this kernel has no overlay file system", cure="load it: modprobe overlay")
        findings.append(refused(key, f"refused: {os.strerror(number)} ({call})", cause, how=how, needed=False))
    return findings


def _done(key: str, name: str, how: str, *, needed: bool) -> Finding:
    call, number = trial().values[key]
    if not call:
        return Finding(name=name, state="ok", found=f"works ({how})", how=how)
    return refused(name, f"refused: {os.strerror(number)} ({call})", why_not("", call, number), how=how, needed=needed)


def why_not(fstype: str, call: str, number: int) -> Cause:
    """Return why `call` for a mount (of `fstype`, if it is a new one) is refused."""
    cause = lack(number)
    if cause:
        return cause
    if number in (errno.EPERM, errno.EACCES, errno.ENOSYS) and around_us.takes_away(call):
        return around_us.cause(call)
    if number == errno.ENOSYS:
        return around_us.cause(call)
    if number == errno.ENOSPC:
        return no_mount()
    if number == errno.ENODEV and fstype:
        return Cause(why=f"this kernel has no file system {fstype}")
    if number not in (errno.EPERM, errno.EACCES):
        return UNKNOWN
    if fstype and fstype not in FOR_USERS:
        return Cause(
            why=f"the kernel lets an ordinary user mount no {fstype}",
            cure="let root mount it, and bind it into the sandbox",
        )
    restriction = why_no_rights(number)
    if restriction:
        return restriction
    return why_covered(fstype) if fstype in ("proc", "sysfs") else UNKNOWN


def why_covered(fstype: str) -> Cause:
    """Return what covers the host's own proc or sysfs, as no new one may show more (mount_too_revealing())."""
    place = {"proc": "/proc", "sysfs": "/sys"}[fstype]
    tops, points = [], []
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            words = fields.split(" ")
            points.append(words[4])
            if rest.split(" ")[0] == fstype and words[3] == "/":
                tops.append((words[4], words[5].split(",")))
    if not tops:
        return Cause(why=f"there is no whole {fstype} here, and a new one may show no more than is seen already")
    for top, options in tops:
        covered = sorted({point for point in points if point.startswith(f"{top}/") and not _is_meant(point)})
        if covered:
            names = ", ".join(covered[:3]) + (f" and {len(covered) - 3} more" if len(covered) > 3 else "")
            return Cause(
                why=f"{names} covered: the kernel makes no new {fstype} that would show more than {place} does",
                cure=_uncover(),
            )
        if "ro" in options and fstype not in _READ_ONLY:
            return Cause(
                why=f"{top} is mounted read-only, and the kernel makes no new {fstype} that would be writable",
                cure=_uncover(),
            )
    return UNKNOWN


def _is_meant(point: str) -> bool:
    """Is `point` one of the empty directories that the kernel has for mounts?"""
    meant = ("/proc/sys/fs/binfmt_misc", "/sys/fs/", "/sys/kernel/", "/sys/firmware/efi/efivars")
    return point.startswith(meant)


def _uncover() -> str:
    kind = around()
    return allow(
        "a whole /proc and /sys",
        podman="--security-opt unmask=ALL",
        docker="--security-opt systempaths=unconfined",
    ) or (f"start {kind} without masks" if kind else "unmount what covers it")
