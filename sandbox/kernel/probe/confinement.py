"""The filters of our own: seccomp with notification, and Landlock."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from sandbox.errors import HostError
from sandbox.kernel.probe import filter as around_us
from sandbox.kernel.probe.attempt import LIBC, Refused, attempt, system_call
from sandbox.kernel.probe.distribution import install
from sandbox.kernel.probe.finding import Cause, Finding, refused
from sandbox.kernel.probe.lacks import lack
from sandbox.kernel.probe.surroundings import read

_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW
_ABI_VERSION = 1


def _install(flags: int) -> dict[str, int]:
    program = ctypes.create_string_buffer(_ALLOW, len(_ALLOW))
    described = struct.pack("@HP", 1, ctypes.addressof(program))  # struct sock_fprog
    LIBC.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    system_call("seccomp", _SET_MODE_FILTER, flags, described)
    return {}


def probe_filter() -> Finding:
    """Install a filter of one instruction."""
    name, how = "seccomp filter", "seccomp(SECCOMP_SET_MODE_FILTER)"
    outcome = attempt(lambda: _install(0))
    if not outcome.succeeded:
        return refused(name, f"refused: {outcome.words}", _why_no_filter(outcome.number), how=how, needed=True)
    return Finding(name=name, state="ok", found="installed", how=how)


def probe_notification() -> Finding:
    """Install a filter that notifies."""
    name, how = "seccomp notification", "seccomp(…, SECCOMP_FILTER_FLAG_NEW_LISTENER)"
    outcome = attempt(lambda: _install(_NEW_LISTENER))
    if outcome.succeeded:
        return Finding(name=name, state="ok", found="a listener was given", how=how)
    cause = _why_no_filter(outcome.number)
    if outcome.number == errno.EBUSY:
        cause = Cause(why="a filter around us notifies already, and the kernel takes one listener")
    return refused(name, f"refused: {outcome.words}", cause, how=how, needed=False)


def _why_no_filter(number: int) -> Cause:
    cause = lack(number)
    if cause:
        return cause
    if around_us.takes_away("seccomp"):
        return around_us.cause("seccomp")
    if number in (errno.EINVAL, errno.ENOSYS) and not os.path.exists("/proc/sys/kernel/seccomp"):
        return Cause(why="this kernel was built without seccomp filters", cure="boot one with CONFIG_SECCOMP_FILTER=y")
    return Cause()


def probe_library() -> Finding:
    """Load libseccomp, which compiles the filters of profiles."""
    from sandbox.kernel.libseccomp import version

    name, how = "libseccomp", "dlopen(libseccomp.so.2)"
    try:
        return Finding(name=name, state="ok", found=version(), how=how)
    except HostError as error:
        cause = Cause(why="it compiles the filters of profiles", cure=install("libseccomp"))
        return refused(name, str(error), cause, how=how, needed=True)


def probe_landlock() -> Finding:
    """Ask for Landlock's version."""
    name, how = "Landlock", "landlock_create_ruleset(LANDLOCK_CREATE_RULESET_VERSION)"
    try:
        found = system_call("landlock_create_ruleset", None, 0, _ABI_VERSION)
    except Refused as refusal:
        why = {errno.EOPNOTSUPP: "it is switched off", errno.ENOSYS: "this kernel has none"}.get(refusal.number, "")
        modules = read("/sys/kernel/security/lsm")
        cure = ""
        if refusal.number == errno.EOPNOTSUPP:
            cure = f"boot with lsm=landlock,{modules}" if modules else "boot with landlock in the list lsm="
        return Finding(
            name=name,
            state="n/a",
            found=f"not available: {os.strerror(refusal.number)}",
            cause=Cause(why=f"{why}; no profile of ours needs it" if why else "", cure=cure),
            how=how,
        )
    return Finding(name=name, state="ok", found=f"ABI {found}", how=how)
