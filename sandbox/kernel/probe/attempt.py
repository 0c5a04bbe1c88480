"""Try something in a child that is gone afterwards, with all that it made, and that is not waited for long."""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from sandbox.kernel.aside import SYSTEM_PATH

SECONDS = 2.0
"""As long as a probe may take: what hangs is an answer, too."""

# CLONE_NEW*, sched.h
MOUNT, CGROUP, UTS, IPC, USER, PID, NETWORK, TIME = (
    *(0x00020000, 0x02000000, 0x04000000, 0x08000000),
    *(0x10000000, 0x20000000, 0x40000000, 0x00000080),
)

_PR_SET_PDEATHSIG = 1
_MACHINE = os.uname().machine
# From 424 on all machines count alike; asm/unistd.h.
_OLD_NUMBERS = {
    "clone": (56, 220),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "pivot_root": (155, 41),
    "seccomp": (317, 277),
    "sethostname": (170, 161),
    "umount2": (166, 39),
}
_NUMBERS: dict[str, int] = {name: pair[_MACHINE != "x86_64"] for name, pair in _OLD_NUMBERS.items()}
_NUMBERS |= {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
}

# The lock of the interpreter is kept: a child made by a bare call has nobody to give it back to it.
LIBC = ctypes.PyDLL(None, use_errno=True)


class Refused(Exception):  # noqa: N818 (what happened)
    """The kernel refused `call` with errno `number`."""

    def __init__(self, call: str, number: int) -> None:
        super().__init__(f"{call}: {os.strerror(number)}")
        self.call = call
        self.number = number


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt returned, or which call was refused with which errno; `ended` by which signal; `late`: it was not
    done in time."""

    values: Mapping[str, Any] = field(default_factory=dict)
    call: str = ""
    number: int = 0
    ended: int = 0
    late: bool = False

    @property
    def succeeded(self) -> bool:
        """Was nothing refused?"""
        return not self.call and not self.ended and not self.late

    @property
    def words(self) -> str:
        """What went wrong, "" if nothing did."""
        if self.late:
            return f"no answer within {SECONDS:g} s"
        if self.ended:
            return f"killed by {signal.Signals(self.ended).name}" + (f" ({self.call})" if self.call else "")
        return f"{os.strerror(self.number)} ({self.call})" if self.call else ""


def system_call(name: str, *arguments: object) -> int:
    """Do a system call by its number.  Raises Refused."""
    # A bare number would be passed as an int, and the kernel would see half of a -1.
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = LIBC.syscall(ctypes.c_long(_NUMBERS[name]), *words)
    if result < 0:
        raise Refused(name, ctypes.get_errno())
    return result


def clone(namespaces: int) -> int:
    """Fork into new namespaces as nsinit does (`sys_clone`): return the child, or 0 in it.  Raises Refused."""
    if not namespaces:  # no filter can tell it from fork(2)
        return system_call("clone", signal.SIGCHLD, 0, 0, 0, 0)
    if _clone3_ends():
        raise Refused("clone3", errno.EPERM)
    arguments = (ctypes.c_uint64 * 8)(namespaces, 0, 0, 0, signal.SIGCHLD)  # struct clone_args
    try:
        return system_call("clone3", ctypes.byref(arguments), 64)
    except Refused as refusal:
        if refusal.number != errno.ENOSYS:
            raise
    return system_call("clone", namespaces | signal.SIGCHLD, 0, 0, 0, 0)


def attempt(
    trial: Callable[[], Mapping[str, Any]], namespaces: int = 0, *, map_ids: bool = True, seconds: float = SECONDS
) -> Outcome:
    """Call `trial` in a child in new namespaces, and return what it did; with a new user namespace, as its root."""
    ids = (os.geteuid(), os.getegid())
    if namespaces and (ended := _clone3_ends()):
        return Outcome(call="clone3", ended=ended)
    reading, writing = os.pipe()
    try:
        child = clone(namespaces)
    except Refused as refusal:
        os.close(reading)
        os.close(writing)
        return Outcome(call=refusal.call, number=refusal.number)
    if child == 0:
        _try_and_end(trial, writing, ids if namespaces & USER and map_ids else None)
    os.close(writing)
    try:
        data = _read_all(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if data is None:
        return Outcome(late=True)
    if not data:  # by a filter that kills, or for lack of memory
        return Outcome(ended=os.WTERMSIG(status) or signal.SIGKILL)
    call, number, values = json.loads(data)
    return Outcome(values, call, number)


@functools.cache
def _clone3_ends() -> int:
    """Return the signal by which a filter ends who calls clone3(2), 0 if none does."""

    def call() -> dict[str, Any]:
        try:
            system_call("clone3", None, 0)
        except Refused:  # as it has to be
            pass
        return {}

    return attempt(call).ended


def _try_and_end(trial: Callable[[], Mapping[str, Any]], writing: int, ids: tuple[int, int] | None) -> NoReturn:
    """Do the child's part."""
    values: Mapping[str, Any] = {}
    call, number = "trial", errno.EIO  # a mistake of ours is no success
    try:
        LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if ids:
            _map_ids(*ids)
        values = trial()
        call, number = "", 0
    except Refused as refusal:
        call, number = refusal.call, refusal.number
    except OSError as error:
        call, number = str(error.filename or "call"), error.errno or errno.EIO
    finally:
        # Whatever happens, this process must not go on as the caller's twin.
        os.write(writing, json.dumps([call, number, values]).encode())
        os._exit(0)


def _map_ids(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            raise Refused(name, error.errno or errno.EIO) from error


def _read_all(descriptor: int, end: float) -> bytes | None:
    """Return what is written until the other end is closed, None where that is not in time."""
    data = b""
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return data
        data += piece
        if data.endswith(b"}]"):  # all is said; a process that it left behind may still hold the pipe
            return data


class Said(NamedTuple):
    """How a program ended: its status, negative for a signal, what it said; or which errno kept it from starting."""

    status: int
    words: str
    number: int = 0
    late: bool = False

    @property
    def end(self) -> str:
        """The end in words, for a program that said nothing."""
        if self.status >= 0:
            return f"exit status {self.status}"
        return f"killed by {signal.Signals(-self.status).name}"


def find(name: str) -> str:
    """Return the path of a program of the system's, "" if it is not installed."""
    return shutil.which(name, path=SYSTEM_PATH) or ""


def run(
    command: Sequence[str], *, program: str | None = None, seconds: float = SECONDS, descriptors: Sequence[int] = ()
) -> Said:
    """Run a program and return what became of it."""
    try:
        # In a session of its own: what it has started may hang in its place, and is ended with it.
        process = subprocess.Popen(
            command,
            executable=program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Said(1, f"cannot be executed: {error.strerror}", error.errno or errno.EIO)
    with process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Said(1, f"no answer within {seconds:g} s", late=True)
    return Said(process.returncode, said.strip())
