"""The instruction set of a plan, declared once.

The C structures, the tables by which nsinit checks a plan and its dispatcher are generated from
this module when the project is built (`sandbox/plan/header.py`).  An operation is dumb: it names
what to do, never whether; that was decided while lowering.  Opcodes are retired, never reused.

Operations of the *monitor* stage are read by the half of nsinit on the host's side; those of the
*init* stage are executed inside, in the order of the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import TypeVar

import msgspec

# How a field is stored: `layout.py` goes by the name of the annotation.
U32 = int
U64 = int
Text = str  # without NUL; in the plan an offset into the pool of texts
Texts = tuple[str, ...]
Blob = bytes


class Flag(IntFlag):
    """What the dispatcher does about an operation's failure or presence."""

    IF_PRESENT = 1  # ENOENT and ENOTDIR pass
    MAY_FAIL = 2  # a refusal passes (not a lack of memory …); the next operation may be its OTHERWISE
    OTHERWISE = 4  # executed only if the operation before failed


class TerminalMode(IntEnum):
    """When the command gets a pseudo-terminal of the sandbox's own."""

    NEVER = 0
    AUTO = 1  # for each of the standard descriptors that is a terminal
    ALWAYS = 2


class Op(msgspec.Struct, frozen=True):
    """An operation; subclasses declare its fields in the order in which they are stored."""


MONITOR = "monitor"
INIT = "init"

OPS: dict[int, type[Op]] = {}
CODES: dict[type[Op], int] = {}
STAGES: dict[int, str] = {}

_OpType = TypeVar("_OpType", bound=type[Op])


def op(code: int, stage: str = INIT) -> Callable[[_OpType], _OpType]:
    """Give a class its opcode and the stage in which it is read."""

    def register(cls: _OpType) -> _OpType:
        assert code not in OPS
        OPS[code] = cls
        CODES[cls] = code
        STAGES[code] = stage
        return cls

    return register


# --- the host's side -----------------------------------------------------------------------------


@op(0x01, MONITOR)
class Notice(Op, frozen=True):
    """Say `text` on stderr before anything happens."""

    text: Text


@op(0x02, MONITOR)
class Isolate(Op, frozen=True):
    """Create the namespaces `flags` (CLONE_NEW*, clone(2)) with the sandbox's first process."""

    flags: U64


@op(0x03, MONITOR)
class MapIds(Op, frozen=True):
    """Fill /proc/PID/{uid,gid}_map, user_namespaces(7); with a helper, let newuidmap(1) and newgidmap(1) do it.

    A map is lines `inside outside count`.  Without helpers the process maps itself, having denied setgroups(2).
    """

    uid_map: Text
    gid_map: Text
    uid_helper: Text = ""
    gid_helper: Text = ""


@op(0x04, MONITOR)
class Register(Op, frozen=True):
    """Keep `directory`/ID while the sandbox runs; an empty id: a random one."""

    directory: Text
    id: Text = ""


@op(0x05, MONITOR)
class Environment(Op, frozen=True):
    """Give the command the variables `set`, and those of the caller that `keep` lets through.

    Of the patterns of `keep` (fnmatch(3)) the last that matches a name decides; one that starts with `!` keeps out.
    """

    keep: Texts
    set: Texts


@op(0x06, MONITOR)
class Terminal(Op, frozen=True):
    """Decide by `mode` (TerminalMode) which standard descriptors become the sandbox's own terminal."""

    mode: U32


# --- the file system -----------------------------------------------------------------------------


@op(0x10)
class FreshRoot(Op, frozen=True):
    """Make an empty tmpfs the new root; it is attached at the host directory `staging` until the pivot."""

    staging: Text
    options: Texts = ("mode=0755",)


@op(0x11)
class BindRoot(Op, frozen=True):
    """Make the host directory `source` the new root; attached at `staging` until the pivot."""

    source: Text
    staging: Text
    set_attributes: U64 = 0


@op(0x13)
class MakeSymlink(Op, frozen=True):
    """Make `target` below the new root a symlink to `destination`."""

    target: Text
    destination: Text


@op(0x14)
class BindMount(Op, frozen=True):
    """Graft the host tree `source`, a path without symlinks, onto `target`, a path below the new root."""

    source: Text
    target: Text
    recursive: U32 = 1
    attributes_recursive: U32 = 1
    set_attributes: U64 = 0  # MOUNT_ATTR_*, mount_setattr(2)
    propagation: U64 = 0  # MS_PRIVATE, MS_SLAVE …


@op(0x15)
class NewMount(Op, frozen=True):
    """Mount a new `fstype` on `target`, with the options `key` or `key=value` of that file system."""

    fstype: Text
    target: Text
    options: Texts = ()
    attributes: U64 = 0  # MOUNT_ATTR_*, fsmount(2)
    mode: U32 = 0o755  # of the mount point, where it has to be made


@op(0x16)
class BindDevice(Op, frozen=True):
    """Bind the host's character device `source` onto `target`, once it is known to be major:minor."""

    source: Text
    target: Text
    major: U32
    minor: U32


@op(0x17)
class Mask(Op, frozen=True):
    """Cover `target` below the new root: a directory with an empty read-only one, anything else with /dev/null."""

    target: Text


@op(0x18)
class MakeReadOnly(Op, frozen=True):
    """Make the tree at `target` below the new root read-only, by a bind mount over itself."""

    target: Text


@op(0x19)
class SealRoot(Op, frozen=True):
    """Set mount attributes on the new root's own mount (not on what is mounted in it)."""

    set_attributes: U64


@op(0x1A)
class PivotRoot(Op, frozen=True):
    """Make the new root the root, and let go of the host's tree, pivot_root(2)."""


@op(0x1B)
class ShowCommand(Op, frozen=True):
    """Bind the host's file that the command's name leads to, read-only, to the same place below the new root.

    For a name with a `/` alone; a relative one is taken from the caller's directory outside, and from `directory` inside.
    """

    directory: Text


# --- identity of the machine ---------------------------------------------------------------------


@op(0x20)
class SetHostname(Op, frozen=True):
    """Set the host name of the UTS namespace."""

    name: Text


@op(0x21)
class SetDomainname(Op, frozen=True):
    """Set the NIS domain name of the UTS namespace."""

    name: Text


@op(0x22)
class LoopbackUp(Op, frozen=True):
    """Bring `lo` up."""


@op(0x23)
class Sysctl(Op, frozen=True):
    """Write `value` to `path` below /proc/sys, through a procfs that is checked to be one."""

    path: Text
    value: Text


# --- the process ---------------------------------------------------------------------------------


@op(0x30)
class Credentials(Op, frozen=True):
    """Become uid:gid with the supplementary `groups` (little-endian u32) and exactly these capability sets."""

    uid: U32
    gid: U32
    groups: Blob = b""
    set_groups: U32 = 0
    no_new_privileges: U32 = 0
    bounding: U64 = 0
    permitted: U64 = 0
    effective: U64 = 0
    inheritable: U64 = 0
    ambient: U64 = 0


@op(0x31)
class OpenTerminal(Op, frozen=True):
    """Allocate a pseudo-terminal from the new root's /dev/pts if one is wanted, and hand its master out."""


@op(0x32)
class Reaper(Op, frozen=True):
    """Fork: process 1 stays to reap and to pass signals; the rest of the plan happens in its child."""


@op(0x33)
class NewSession(Op, frozen=True):
    """Start a session, with the sandbox's own terminal where there is one."""


@op(0x34)
class SetRlimit(Op, frozen=True):
    """Limit `resource` (RLIMIT_*, setrlimit(2))."""

    resource: U32
    soft: U64
    hard: U64


@op(0x35)
class SetUmask(Op, frozen=True):
    """Set the file mode creation mask."""

    mask: U32


@op(0x36)
class SetNice(Op, frozen=True):
    """Set the nice value; `value` is stored as a two's complement."""

    value: U32


@op(0x37)
class SetOomScore(Op, frozen=True):
    """Write oom_score_adj; `value` is stored as a two's complement."""

    value: U32


@op(0x38)
class WorkingDirectory(Op, frozen=True):
    """Change to `path`, and refuse if that is not below the root."""

    path: Text


@op(0x39)
class SeccompFilter(Op, frozen=True):
    """Install the classic BPF `program` (struct sock_filter[]), seccomp(2)."""

    program: Blob
    flags: U32 = 0


class Step(msgspec.Struct, frozen=True):
    """An operation, where it came from in the user's words, and how its failure is taken."""

    op: Op
    origin: str = ""
    flags: Flag = Flag(0)
