"""Which namespaces may the caller make, namespaces(7)?"""

from __future__ import annotations

import errno
import functools
import os

from sandbox.kernel.probe import filter as around_us
from sandbox.kernel.probe.attempt import (
    CGROUP,
    IPC,
    LIBC,
    MOUNT,
    NETWORK,
    PID,
    TIME,
    USER,
    UTS,
    Outcome,
    Refused,
    attempt,
    clone,
    system_call,
)
from sandbox.kernel.probe.distribution import as_root, set_sysctl
from sandbox.kernel.probe.finding import UNKNOWN, Cause, Finding, refused
from sandbox.kernel.probe.lacks import lack
from sandbox.kernel.probe.surroundings import allow, around, read, status, sysctl

# The kind as it is in /proc/PID/ns and in user.max_KIND_namespaces.
KINDS = {"mnt": MOUNT, "pid": PID, "net": NETWORK, "ipc": IPC, "uts": UTS, "cgroup": CGROUP, "time": TIME}
_NEEDED = ("mnt", "pid", "cgroup")  # without which a sandbox is none; the others are in all shipped profiles
_USUAL_LIMIT = 15000
_CAP_SETFCAP = 31
_NEST_PROFILE = "[security] nested = true"


@functools.cache
def _user() -> Outcome:
    return attempt(dict, USER)


@functools.cache
def _others() -> Outcome:
    return attempt(_each, USER)


def _each() -> dict[str, int]:
    """Return the errno that each kind is refused with, 0 for none."""
    return {kind: _one(flag) for kind, flag in KINDS.items()}


def _one(flag: int) -> int:
    import ctypes

    if flag == TIME:  # clone(2) has no room for it; nsinit, too, leaves for it alone
        return 0 if LIBC.unshare(TIME) == 0 else ctypes.get_errno()
    try:
        child = clone(flag)
    except Refused as refusal:
        return refusal.number
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return 0


def works() -> bool:
    """May the caller make a user namespace, and be root in it?"""
    return _user().succeeded


def is_made(kind: str) -> bool:
    """Was a namespace of this kind (mnt, pid …) made inside a user namespace?"""
    return works() and _others().succeeded and not _others().values[kind]


def probe_user() -> Finding:
    """Make a user namespace, and map the caller's ids in it."""
    name, how = "user namespace", "clone3(CLONE_NEWUSER), then /proc/self/uid_map"
    outcome = _user()
    if outcome.succeeded:
        return Finding(name=name, state="ok", found="made, and the caller's ids mapped", how=how)
    return refused(name, f"refused: {outcome.words}", why_no_user(outcome.number), how=how, needed=True)


def probe_others() -> list[Finding]:
    """Make each of the other namespaces inside a user namespace."""
    how = "clone3(CLONE_NEW…) inside a user namespace"
    if not works():
        return [Finding(name="other namespaces", state="n/a", found="not tried without a user namespace", how=how)]
    outcome = _others()
    if not outcome.succeeded:
        return [refused("other namespaces", outcome.words, UNKNOWN, how=how, needed=True)]
    refusals = {kind: number for kind, number in outcome.values.items() if number}
    made = [kind for kind in KINDS if kind not in refusals]
    findings = [Finding(name="other namespaces", state="ok", found=f"made: {', '.join(made)}", how=how)] if made else []
    for kind, number in refusals.items():
        words = f"refused: {os.strerror(number)}"
        cause = why_none(kind, number)
        findings.append(refused(f"{kind} namespace", words, cause, how=how, needed=kind != "time"))
    return findings


def why_not(flags: int, number: int) -> Cause:
    """Return why the namespaces `flags`, asked for together, are refused with errno `number`."""
    cause = lack(number)
    if cause:
        return cause
    if flags & USER and not works():
        return why_no_user(_user().number or number)
    kinds = [kind for kind, flag in KINDS.items() if flags & flag]
    refusals = _others().values if flags & USER else {}
    for kind in kinds:
        if refusals.get(kind):
            return why_none(kind, refusals[kind])
    return why_no_user(number) if flags & USER else UNKNOWN


def why_no_user(number: int) -> Cause:
    """Return why a user namespace is refused with errno `number`."""
    cause = lack(number)
    if cause:
        return cause
    if not os.path.exists("/proc/self/ns/user"):
        return Cause(why="this kernel was built without user namespaces", cure="boot one with CONFIG_USER_NS=y")
    # A sandbox of ours sets the limit, and its filter takes the calls away: the limit alone may be looked at.
    if sysctl("user.max_user_namespaces") == "0":
        return _limit("user", 0)
    if number == errno.ENOSPC:
        return why_none("user", number)
    if sysctl("kernel.unprivileged_userns_clone") == "0" and os.geteuid() != 0:
        return Cause(
            why="kernel.unprivileged_userns_clone is 0", cure=set_sysctl("kernel.unprivileged_userns_clone", 1)
        )
    # Where clone3 is said not to be there, clone is tried.
    for call in ("clone3", "clone"):
        if call == "clone3" and around_us.answer(call) == errno.ENOSYS:
            continue
        if _user().call != "uid_map" and around_us.takes_away(call):
            why = f"a seccomp filter around us takes user namespaces away ({call})"
            cure = allow("user namespaces", podman="--security-opt seccomp=unconfined", profile=_NEST_PROFILE)
            return Cause(why=why, cure=cure or "start it from a process without that filter")
    restriction = _apparmor()
    if restriction and number in (errno.EPERM, errno.EACCES):
        return restriction
    if number == errno.EPERM and not any(line.split()[4] == "/" for line in read("/proc/self/mountinfo").splitlines()):
        return Cause(
            why="we are in a chroot, and the kernel makes no user namespace there",
            cure="go there by a mount namespace and pivot_root(8): systemd-nspawn, or bubblewrap",
        )
    if number == errno.EPERM and not (is_mapped("uid", os.geteuid()) and is_mapped("gid", os.getegid())):
        return Cause(
            why=f"uid {os.geteuid()}, gid {os.getegid()} are not mapped in the user namespace around us",
            cure=allow("these ids"),
        )
    if number == errno.EPERM and _user().call == "uid_map" and os.geteuid() == 0 and not _may_map_root():
        return Cause(
            why="id 0 is mapped into another user namespace only by who has CAP_SETFCAP, which was taken from us",
            cure=allow("CAP_SETFCAP", podman="--cap-add=SETFCAP")
            or "be another user than root, or have that capability",
        )
    return UNKNOWN


def _may_map_root() -> bool:
    """Have we CAP_SETFCAP?  The kernel asks for it since 5.12 (verify_root_map() in kernel/user_namespace.c)."""
    return bool(int(status("CapEff") or "0", 16) >> _CAP_SETFCAP & 1)


def _apparmor() -> Cause:
    """Return AppArmor's restriction (Ubuntu since 23.10), if it is in force for us."""
    if sysctl("kernel.apparmor_restrict_unprivileged_userns") != "1" or os.geteuid() == 0:
        return UNKNOWN
    return Cause(
        why="AppArmor takes the rights in a user namespace away (kernel.apparmor_restrict_unprivileged_userns is 1)",
        cure=set_sysctl("kernel.apparmor_restrict_unprivileged_userns", 0),
    )


@functools.cache
def _has_rights() -> bool:
    """May root of a new user namespace do in it what needs a capability?"""
    return attempt(lambda: {"context": system_call("fsopen", b"tmpfs", 1)}, USER | MOUNT).succeeded


def why_no_rights(number: int) -> Cause:
    """Return why root of a user namespace may do nothing in it, though it was made."""
    return _apparmor() if number in (errno.EPERM, errno.EACCES) and not _has_rights() else UNKNOWN


def why_none(kind: str, number: int) -> Cause:
    """Return why a namespace of this kind (user, mnt, net …) is refused."""
    cause = lack(number)
    if cause:
        return cause
    limit = sysctl(f"user.max_{kind}_namespaces")
    if limit == "0":
        return _limit(kind, 0)
    if number == errno.ENOSPC:
        if around():
            return Cause(
                why=f"a limit on {kind} namespaces around us is reached",
                cure=allow(f"more {kind} namespaces", profile=_NEST_PROFILE),
            )
        return _limit(kind, int(limit) if limit.isdigit() else 0)
    if number == errno.EINVAL and not os.path.exists(f"/proc/self/ns/{kind}"):
        option = {"mnt": "NAMESPACES", "cgroup": "CGROUPS"}.get(kind, f"{kind.upper()}_NS")
        return Cause(why=f"this kernel was built without {kind} namespaces", cure=f"boot one with CONFIG_{option}=y")
    return why_no_rights(number)


def _limit(kind: str, value: int) -> Cause:
    name = f"user.max_{kind}_namespaces"
    # A limit that a container was given is not ours to raise.
    outside = allow(f"{kind} namespaces", profile=_NEST_PROFILE) if around() == "sandbox" else ""
    if value == 0:
        return Cause(why=f"{name} is 0", cure=outside or set_sysctl(name, _USUAL_LIMIT))
    return Cause(
        why=f"{name} is {value}, and as many are in use",
        cure=f"end other sandboxes, or {as_root(f'sysctl {name}={max(2 * value, _USUAL_LIMIT)}')}",
    )


def is_whole(kind: str) -> bool:
    """Has the user namespace that we are in all ids, as the first one has?"""
    return read(f"/proc/self/{kind}_map").split() == ["0", "0", "4294967295"]


def is_mapped(kind: str, number: int) -> bool:
    """Is `number` an id of the user namespace that we are in?"""
    for line in read(f"/proc/self/{kind}_map").splitlines():
        start, _, count = (int(word) for word in line.split())
        if start <= number < start + count:
            return True
    return False
