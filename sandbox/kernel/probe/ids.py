"""Ranges of subordinate ids, and the programs that map them: subuid(5), subgid(5), newuidmap(1), newgidmap(1)."""

from __future__ import annotations

import errno
import functools
import os
import stat

from sandbox.errors import HostError
from sandbox.kernel.ids import Range, account, free_range, subordinate
from sandbox.kernel.probe.attempt import USER, Refused, Said, clone, find, run
from sandbox.kernel.probe.distribution import as_root, install
from sandbox.kernel.probe.finding import UNKNOWN, Cause, Finding, refused
from sandbox.kernel.probe.lacks import lack
from sandbox.kernel.probe.namespaces import is_mapped, is_whole, why_no_rights, works
from sandbox.kernel.probe.surroundings import allow, mount_of, no_new_privileges, sysctl
from sandbox.plan.inputs import Inputs

_CAP_SETID = {"newuidmap": "cap_setuid", "newgidmap": "cap_setgid"}


def _user() -> str:
    entry = account(os.geteuid(), Inputs())
    return entry.name if entry else ""


def _range(kind: str) -> Range:
    return subordinate("uid" if kind == "uid" else "gid", os.geteuid(), _user(), Inputs())[0]


def probe_range(kind: str) -> Finding:
    """Look for the caller's range in /etc/subuid or /etc/subgid."""
    name, how = f"sub{kind} range", f"/etc/sub{kind}"
    try:
        found = _range(kind)
    except HostError:
        return refused(name, "none that can be used", no_range(kind), how=how, needed=False)
    words = f"{found.size} {kind}s from {found.start}"
    if found.size < 1 << 16:
        cause = Cause(why=f"images and systems use {kind}s up to 65535", cure=give(kind, _user() or str(os.geteuid())))
        return refused(name, words, cause, how=how, needed=False)
    return Finding(name=name, state="ok", found=words, how=how)


def no_range(kind: str) -> Cause:
    """Return why the caller has no range, if so."""
    try:
        _range(kind)
    except HostError as error:
        # A line that cannot be read is mended by hand; a missing one is a command's matter.
        wrong = error.hint.startswith("correct")
        return Cause(why=str(error), cure=error.hint if wrong else give(kind, _user() or str(os.geteuid())))
    return UNKNOWN


def give(kind: str, user: str) -> str:
    """Return how `user` gets a range of ids."""
    ids = free_range()
    if not is_mapped(kind, int(ids.partition("-")[2])):  # in a container, which has no such ids to give
        return allow(f"65536 more {kind}s")
    return as_root(f"usermod --add-sub{kind}s {ids} {user}")


def helper_fault(path: str) -> Cause:
    """Return what is wrong with newuidmap or newgidmap at `path` ("" or a name: where it is found)."""
    name = os.path.basename(path)
    found = path if "/" in path else find(path)
    try:
        about = os.stat(found)
    except OSError:
        return Cause(why=f"{name} is not installed", cure=install("newuidmap"))
    if about.st_uid == _overflow() and not is_whole("uid"):
        return Cause(
            why=f"{found} belongs to an id that is not mapped in the user namespace around us",
            cure=allow("ids of the system"),
        )
    if about.st_uid != 0 or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Cause(why=f"{found} is not root's own, and is not trusted", cure=install("newuidmap", again=True))
    if not os.access(found, os.X_OK):
        return Cause(why=f"{found} is not executable for you", cure=as_root(f"chmod a+rx {found}"))
    try:
        has_capability = "security.capability" in os.listxattr(found)
    except OSError:  # a file system without
        has_capability = False
    if not about.st_mode & stat.S_ISUID and not has_capability:
        return Cause(
            why=f"{found} is neither setuid nor has the capability {_CAP_SETID.get(name, '')}",
            cure=as_root(f"chmod u+s {found}"),
        )
    if os.statvfs(found).f_flag & os.ST_NOSUID:
        place = mount_of(found)
        return Cause(
            why=f"{found} lies on a file system mounted nosuid ({place})",
            cure=as_root(f"mount -o remount,suid {place}"),
        )
    return no_new_privileges()


def _overflow() -> int:
    text = sysctl("kernel.overflowuid")
    return int(text) if text.isdigit() else 65534


@functools.cache
def _map(name: str) -> Said:
    """Let the helper map a range for a process in a new user namespace.

    Raises Refused, and HostError where there is no range.
    """
    kind = name[3:6]
    found = _range(kind)
    own = os.geteuid() if kind == "uid" else os.getegid()
    reading, writing = os.pipe()
    child = clone(USER)
    if child == 0:
        # Until the other end is closed: by the parent, or by its end.
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        return run([find(name) or name, str(child), "0", str(own), "1", "1", str(found.start), "1"])
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def probe_helper(name: str) -> Finding:
    """Let newuidmap or newgidmap map a range in a new user namespace."""
    how = f"{name} on a process in a new user namespace"
    path = find(name)
    if not path:
        return refused(name, "not installed", helper_fault(name), how=how, needed=False)
    fault = helper_fault(path)
    try:
        said = _map(name)
    except HostError:
        if fault:
            return refused(name, f"{path} would not work", fault, how=how, needed=False)
        return Finding(name=name, state="n/a", found=f"{path}; not tried without a range", how=how)
    except Refused:
        return Finding(name=name, state="n/a", found=f"{path}; not tried without a user namespace", how=how)
    if said.status == 0:
        return Finding(name=name, state="ok", found=f"{path} maps the range", how=how)
    return refused(name, f"{path}: {_last(said)}", fault or lack(said.number), how=how, needed=False)


def _last(said: Said) -> str:
    return said.words.splitlines()[-1] if said.words else said.end


def why_no_map(uid_helper: str, gid_helper: str, call: str, number: int) -> Cause:
    """Return why ids cannot be mapped, by the helpers or, where there are none, by ourselves."""
    if uid_helper or gid_helper or call in ("newuidmap", "newgidmap"):
        for kind, path in (("uid", uid_helper or "newuidmap"), ("gid", gid_helper or "newgidmap")):
            if call != f"new{kind}map" and call in ("newuidmap", "newgidmap"):
                continue
            cause = helper_fault(path) or no_range(kind)
            if cause:
                return cause
    if not works():
        from sandbox.kernel.probe.namespaces import why_no_user

        return why_no_user(number)
    return why_no_rights(number) if number in (errno.EPERM, errno.EACCES) else UNKNOWN
