"""Why did this host refuse, and what can be done?

Called when a step of a plan has failed: the host is tried here and now, by the probes of
`sandbox doctor`, and nothing is hinted at that was not found to be so.
"""

from __future__ import annotations

import errno
import os
import signal

from sandbox.kernel.probe import filter as around_us
from sandbox.kernel.probe import ids, lacks, mounts, namespaces, place
from sandbox.kernel.probe.finding import UNKNOWN, Cause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS)
_BINDS = ("BindMount", "BindRoot", "BindDevice")
_MOUNTS = (
    *_BINDS,
    "FreshRoot",
    "NewMount",
    "Mask",
    "MakeReadOnly",
    "ChangeMount",
    "SealRoot",
    "PivotRoot",
    "BindConsole",
)


def diagnose(op: Any, call: str, number: int, subject: str) -> Cause:
    """Return why errno `number` came from `call` on `subject` in `op`, and what to do; UNKNOWN if we do not know."""
    kind = type(op).__name__
    if call == "F_DUPFD" and number == errno.EINVAL:
        return lacks.lack(errno.EMFILE)  # fcntl(2): a number above the limit is refused so
    if kind == "Isolate" and call == "cgroup.procs":
        return _no_entry(number)
    if kind == "Isolate":
        return namespaces.why_not(getattr(op, "flags", 0), number)
    cause = lacks.lack(number)
    if cause:
        return cause
    if kind == "Scope":
        from sandbox.kernel.probe.scope import why_not as no_scope  # late: for few

        return no_scope(op, call, number, subject)
    if kind == "MapIds":
        return ids.why_no_map(op.uid_helper, op.gid_helper, call, number)
    if kind == "Container":
        return _no_state(op, call, number, subject)
    if number in _REFUSALS:
        cause = around_us.cause(call)
        if cause:
            return cause
    if number in (errno.EDQUOT, errno.ENOSPC) and kind == "JoinKeyring":
        return lacks.no_keys()
    return _of_the_operation(op, kind, call, number, subject)


def end(words: str) -> Cause:
    """Return why a process came to an end that strsignal(3) has these `words` for."""
    return around_us.end() if words == signal.strsignal(signal.SIGSYS) else UNKNOWN


def _of_the_operation(op: Any, kind: str, call: str, number: int, subject: str) -> Cause:
    if kind in _MOUNTS:
        return _no_mount(op, kind, call, number, subject)
    if kind == "WorkingDirectory":
        return Cause(cure="let sandbox run show the directory (--read, --write), or choose another by --cwd")
    if kind == "KeepAbsent" and number == errno.ETIMEDOUT:
        return Cause(
            why="another sandbox, which is about to start or to end, does not let go of the list of such names",
            cure="see whether it is stopped (ps -C sandbox -o pid,stat,args), and let it go on (kill -CONT PID)",
        )
    if kind in ("Report", "Samples") and number == errno.ELOOP:
        return Cause(why="it is a symlink, through which no report is written", cure="name the file that it leads to")
    if kind == "Cgroup":
        return _no_cgroup(number, subject)
    if kind == "SetHostname" and number == errno.EINVAL:
        return Cause(cure="use at most 64 bytes")
    if kind == "SetRlimit" and number == errno.EPERM:
        return Cause(cure="a limit above the caller's own hard limit (ulimit -H -a) cannot be had without root")
    if kind == "SetNice" and number in (errno.EPERM, errno.EACCES):
        return Cause(cure="a nice value below the caller's own cannot be had without root")
    if number in (errno.EPERM, errno.EACCES):
        return namespaces.why_no_rights(number)
    return UNKNOWN


def _no_entry(number: int) -> Cause:
    """Return why who joins could not enter the cgroup of those that it joins."""
    if number not in (errno.EPERM, errno.EACCES):
        return UNKNOWN
    return Cause(
        why="between the cgroup that we are in and that of the sandbox, under whose limits it would be, is one that is not yours: "
        "a session of ssh's, or of cron's, is not below your service manager, and what that has made is",
        cure="systemd-run --user --scope --quiet sandbox exec … has the manager call it",
    )


def _no_cgroup(number: int, subject: str) -> Cause:
    if number == errno.EBUSY and subject.startswith("/"):
        return Cause(
            why="there are processes in a cgroup of that name, which another sandbox may have made",
            cure=f"give the sandbox another name, or end what is in there: echo 1 >{subject}/cgroup.kill",
        )
    if number in (errno.ENOENT, errno.EACCES):
        return Cause(why="what is delegated to you has changed", cure="start it again")
    return UNKNOWN


def _no_mount(op: Any, kind: str, call: str, number: int, subject: str) -> Cause:
    if call == "openat2" and kind in _BINDS:
        cause = _no_source(subject, number)
        if cause:
            return cause
    if number == errno.EROFS:
        return Cause(
            cure=f"{subject} does not exist below a tree that is read-only inside: create it on the host first"
        )
    if number in (errno.ENOTDIR, errno.EISDIR) and kind == "BindMount":
        return Cause(cure="a file is bound onto a file, a directory onto a directory: see what is there already")
    if number in (errno.ENOSPC, errno.EDQUOT) and call in ("mkdirat", "openat", "symlinkat", "openat2", "write"):
        return Cause(cure="the tmpfs that it is made in is full: give it more room, or less to hold")
    return mounts.why_not(getattr(op, "fstype", ""), call, number)


def _no_source(path: str, number: int) -> Cause:
    """Return why the host's `path` cannot be opened."""
    if number == errno.ENOENT:
        return Cause(cure=f'create {path}, or mark it optional with "?{path}"')
    if number == errno.ELOOP:
        return Cause(cure=f"{path} has become a symlink; name what it points to")
    if number == errno.EACCES:
        return closed_parent(path)
    return UNKNOWN


def closed_parent(path: str) -> Cause:
    """Return which directory on the way to `path` is closed to the caller."""
    directories = [path]
    while directories[-1] not in ("", "/"):
        directories.append(os.path.dirname(directories[-1]))
    for parent in directories[:0:-1]:
        if parent and not os.access(parent, os.X_OK):
            about = os.stat(parent)
            whose = "yours" if about.st_uid == os.geteuid() else f"uid {about.st_uid}'s"
            mode = f"{about.st_mode & 0o7777:04o}"
            cure = f"chmod u+x {parent}" if about.st_uid == os.geteuid() else f"ask its owner for: chmod o+x {parent}"
            return Cause(why=f"{parent} is closed to you: it is {whose}, with mode {mode}", cure=cure)
    return UNKNOWN


def _no_state(op: Any, call: str, number: int, subject: str) -> Cause:
    if call == "flock" and number == errno.EEXIST:
        if not (subject and os.path.isdir(f"{op.directory}/{subject}")):
            return UNKNOWN  # it has just ended
        if os.path.exists(f"{op.directory}/{subject}/result.json"):
            why = f"a sandbox named {subject} has ended and is kept"
            return Cause(
                why=why, cure=f"sandbox rm {subject}, or take its name: sandbox run --replace --name {subject}"
            )
        # One that was detached is kept when it has ended, and its name with it.
        end = "rm --force" if os.path.exists(f"{op.directory}/{subject}/log") else "kill"
        cure = f"a sandbox named {subject} is running; choose another name, or end it: sandbox {end} {subject}"
        return Cause(cure=cure)
    return place.why_not(str(op.directory), number)
