"""The instruction set of a plan, declared once.

The C structures, the tables by which nsinit checks a plan and its dispatcher are generated from
this module when the project is built (`sandbox/plan/header.py`).  An operation is dumb: it names
what to do, never whether; that was decided while lowering.  Opcodes are retired, never reused.

Operations of the *monitor* stage are read by the half of nsinit on the host's side; those of the
*init* stage are executed inside, in the order of the plan; those of the *process* stage too, and
once more by each process that joins the container later (`exec`).

Every start pays for this module: it does without enum, typing and msgspec, which cost more time
than all the rest of a compilation.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    _OpType = TypeVar("_OpType", bound="type[Op]")
else:

    def dataclass_transform(**_):
        return lambda cls: cls


# How a field is stored: `layout.py` goes by the name of the annotation.
U32 = int
U64 = int
Text = str  # without NUL; in the plan an offset into the pool of texts
Texts = tuple[str, ...]
Blob = bytes


class Flag:
    """What the dispatcher does about an operation's failure or presence (bits)."""

    IF_PRESENT = 1  # ENOENT and ENOTDIR pass
    MAY_FAIL = 2  # a refusal passes (not a lack of memory …); the next operation may be its OTHERWISE
    OTHERWISE = 4  # executed only if the operation before failed
    UNLESS_PRESENT = 8  # EEXIST passes
    JOINED = 16  # executed only by a process that joins later


class TerminalMode:
    """When the command gets a pseudo-terminal of the sandbox's own."""

    NEVER = 0
    AUTO = 1  # for each of the standard descriptors that is a terminal
    ALWAYS = 2


class HookStage:
    """When a hook is run; runtime-spec, config.md#posix-platform-hooks."""

    PRESTART = 0
    CREATE_RUNTIME = 1
    CREATE_CONTAINER = 2
    START_CONTAINER = 3
    POSTSTART = 4
    POSTSTOP = 5


class LabelKind:
    """Whose label a process gets at its next execve(2)."""

    APPARMOR = 0
    SELINUX = 1


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Op:
    """An operation; subclasses declare its fields in the order in which they are stored, and defaults where they
    have one.  Given by keyword; not to be changed afterwards."""

    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)

    def __init__(self, **values: Any) -> None:
        for name in self._fields:
            if name not in values and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__}: {name} is missing")
        if not values.keys() <= set(self._fields):
            raise TypeError(f"{type(self).__name__}: {sorted(values.keys() - set(self._fields))} are no fields")
        self.__dict__.update(values)

    def values(self) -> dict[str, Any]:
        """Return every field with its value."""
        return {name: getattr(self, name) for name in self._fields}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and type(self) is type(other) and self.values() == other.values()

    def __hash__(self) -> int:
        return hash((type(self).__name__, *self.values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.values().items())})"


MONITOR = "monitor"
INIT = "init"
PROCESS = "process"

OPS: dict[int, type[Op]] = {}
CODES: dict[type[Op], int] = {}
STAGES: dict[int, str] = {}


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
class Notice(Op):
    """Say `text` on stderr before anything happens."""

    text: Text


@op(0x02, MONITOR)
class Isolate(Op):
    """Create the namespaces `flags` (CLONE_NEW*, clone(2)) with the sandbox's first process."""

    flags: U64


@op(0x03, MONITOR)
class MapIds(Op):
    """Fill /proc/PID/{uid,gid}_map, user_namespaces(7); with a helper, let newuidmap(1) and newgidmap(1) do it.

    A map is lines `inside outside count`.  With neither helpers nor `by_monitor` the process maps itself, having
    denied setgroups(2).
    """

    uid_map: Text
    gid_map: Text
    uid_helper: Text = ""
    gid_helper: Text = ""
    by_monitor: U32 = 0  # the monitor has the right to write the maps itself (it is root of its own user namespace)
    become_root: U32 = 0  # take on id 0 of the new namespace before anything is done in it


@op(0x04, MONITOR)
class Register(Op):
    """Keep `directory`/ID while the sandbox runs; an empty id: a random one."""

    directory: Text
    id: Text = ""


@op(0x05, MONITOR)
class Environment(Op):
    """Give the command the variables `set`, and those of the caller that `keep` lets through.

    Of the patterns of `keep` (fnmatch(3)) the last that matches a name decides; one that starts with `!` keeps out.
    """

    keep: Texts
    set: Texts


@op(0x06, MONITOR)
class Terminal(Op):
    """Decide by `mode` (TerminalMode) which standard descriptors become the sandbox's own terminal."""

    mode: U32
    rows: U32 = 0  # its size, where the caller has no terminal to take it from
    columns: U32 = 0
    newlines: U32 = 1  # 0: a newline stays what it is (ONLCR is cleared), as runc has it


@op(0x07, MONITOR)
class Container(Op):
    """Keep `directory`/ID, which holds an OCI container's state, until it is deleted.

    `record` is JSON, without its opening brace: the members of state.json that are known beforehand.
    `identity` are the members of the OCI state document behind `status`, indented by two spaces, without a final
    newline.  `namespaces` (CLONE_NEW*) are those that an exec'd process joins.
    """

    directory: Text
    oci_version: Text
    identity: Text
    record: Text
    namespaces: U64


@op(0x08, MONITOR)
class JoinNamespace(Op):
    """Let the first process be a member of the namespace at `path`, of the type `flag` (CLONE_NEW*), setns(2)."""

    path: Text
    flag: U64


@op(0x09, MONITOR)
class Cgroup(Op):
    """Make the cgroup `parent`/`name` (the id, where `name` is empty), and start the first process in it.

    `parent` is a directory of a cgroup2 mount; what is missing of it is made.  A setting is `file=value`; the files of
    controllers that `controllers` names are enabled on the way down, where `top`, the first directory that is ours,
    permits it.
    """

    parent: Text
    name: Text = ""
    top: Text = ""
    controllers: Texts = ()
    settings: Texts = ()


@op(0x0A, MONITOR)
class Hook(Op):
    """Run `path` at `stage` (HookStage), the `index`th of its stage, with the container's state on stdin."""

    stage: U32
    index: U32
    path: Text
    arguments: Texts
    environment: Texts
    timeout: U32 = 0  # in seconds; 0: none
    directory: Text = ""  # where it starts; empty: where we are


@op(0x0B, MONITOR)
class Listener(Op):
    """Send the filter's notification descriptor, with the container process state, to the unix socket `path`."""

    path: Text
    metadata: Text  # a JSON string, with its quotes


@op(0x0C, MONITOR)
class Command(Op):
    """Execute `arguments`, where the caller names no command."""

    arguments: Texts


@op(0x0D, MONITOR)
class NotifySocket(Op):
    """Take the container's readiness at `directory`/notify.sock, and pass it on to the socket `host`, sd_notify(3)."""

    directory: Text
    host: Text


# --- the file system -----------------------------------------------------------------------------


@op(0x10)
class FreshRoot(Op):
    """Make an empty tmpfs the new root; it is attached at the host directory `staging` until the pivot."""

    staging: Text
    options: Texts = ("mode=0755",)


@op(0x11)
class BindRoot(Op):
    """Make the host directory `source` the new root; attached at `staging` until the pivot."""

    source: Text
    staging: Text
    set_attributes: U64 = 0
    propagation: U64 = 1 << 18  # MS_PRIVATE, MS_SLAVE …; of all


@op(0x13)
class MakeSymlink(Op):
    """Make `target` below the new root a symlink to `destination`."""

    target: Text
    destination: Text


@op(0x14)
class BindMount(Op):
    """Graft the host tree `source`, a path without symlinks, onto `target`, a path below the new root."""

    source: Text
    target: Text
    recursive: U32 = 1
    set_attributes: U64 = 0  # MOUNT_ATTR_*, mount_setattr(2): of the mount itself
    clear_attributes: U64 = 0
    set_recursive: U64 = 0  # of it and of all below it
    clear_recursive: U64 = 0
    propagation: U64 = 0  # MS_PRIVATE, MS_SLAVE …; of all
    uid_map: Text = ""  # id-mapped, as MapIds has it; empty: as it is
    gid_map: Text = ""
    map_recursive: U32 = 0


@op(0x15)
class NewMount(Op):
    """Mount a new `fstype` on `target`, with the options `key` or `key=value` of that file system."""

    fstype: Text
    target: Text
    options: Texts = ()
    attributes: U64 = 0  # MOUNT_ATTR_*, fsmount(2)
    mode: U32 = 0o755  # of the mount point, where it has to be made
    propagation: U64 = 0
    take_mode: U32 = 0  # have, as option `mode`, that of a directory that was there, unless an option says else
    copy_up: U32 = 0  # copy what lies at the target into it
    uid_map: Text = ""
    gid_map: Text = ""


@op(0x16)
class BindDevice(Op):
    """Bind the host's device `source` onto `target`, once it is known to be major:minor of that kind."""

    source: Text
    target: Text
    major: U32
    minor: U32
    block: U32 = 0


@op(0x17)
class Mask(Op):
    """Cover `target` below the new root: a directory with an empty read-only one, anything else with /dev/null."""

    target: Text


@op(0x18)
class MakeReadOnly(Op):
    """Make the tree at `target` below the new root read-only, by a bind mount over itself."""

    target: Text


@op(0x19)
class SealRoot(Op):
    """Set mount attributes on the new root's own mount (not on what is mounted in it)."""

    set_attributes: U64


@op(0x1A)
class PivotRoot(Op):
    """Make the new root the root, and let go of the host's tree, pivot_root(2)."""


@op(0x1B)
class ShowCommand(Op):
    """Bind the host's file that the command's name leads to, read-only, to the same place below the new root.

    For a name with a `/` alone; a relative one is taken from the caller's directory outside, and from `directory` inside.
    """

    directory: Text


@op(0x1C)
class MakeFifo(Op):
    """Make `target` below the new root a fifo, unless it is one."""

    target: Text
    mode: U32 = 0o666
    uid: U32 = 0xFFFFFFFF  # -1: whoever makes it
    gid: U32 = 0xFFFFFFFF


@op(0x1D)
class ChangeMount(Op):
    """Change the attributes and the propagation of what is mounted at `target` below the new root."""

    target: Text
    set_attributes: U64 = 0  # as BindMount has them
    clear_attributes: U64 = 0
    set_recursive: U64 = 0
    clear_recursive: U64 = 0
    propagation: U64 = 0
    propagation_recursive: U32 = 0


@op(0x1E)
class BindConsole(Op):
    """Bind the container's terminal, where there is one, onto /dev/console."""


@op(0x1F)
class MakeDirectory(Op):
    """Make the directory `path` below the new root, with its parents, unless it is there."""

    path: Text
    mode: U32 = 0o755


# --- identity of the machine ---------------------------------------------------------------------


@op(0x20)
class SetHostname(Op):
    """Set the host name of the UTS namespace."""

    name: Text


@op(0x21)
class SetDomainname(Op):
    """Set the NIS domain name of the UTS namespace."""

    name: Text


@op(0x22)
class LoopbackUp(Op):
    """Bring `lo` up."""


@op(0x23)
class Sysctl(Op):
    """Write `value` to `path` below /proc/sys, through a procfs that is checked to be one."""

    path: Text
    value: Text


@op(0x24)
class TimeNamespace(Op):
    """Enter a new time namespace with `offsets`, lines `clock seconds nanoseconds`, time_namespaces(7)."""

    offsets: Text


# --- the life of a container -----------------------------------------------------------------------


@op(0x28)
class RuntimeHooks(Op):
    """Let the monitor run the hooks prestart and createRuntime, and wait for it."""


@op(0x29)
class ContainerHooks(Op):
    """Run the hooks of `stage` (createContainer, startContainer) here."""

    stage: U32


@op(0x2A)
class StartGate(Op):
    """Say that the container has been created, and wait until it is started."""


# --- the process ---------------------------------------------------------------------------------


@op(0x30, PROCESS)
class Credentials(Op):
    """Become uid:gid with the supplementary `groups` (little-endian u32) and exactly these capability sets."""

    uid: U32
    gid: U32
    groups: Blob = b""
    set_groups: U32 = 0  # 2: where setgroups(2) is denied, those that there are stay
    no_new_privileges: U32 = 0
    bounding: U64 = 0
    permitted: U64 = 0
    effective: U64 = 0
    inheritable: U64 = 0
    ambient: U64 = 0


@op(0x31, PROCESS)
class OpenTerminal(Op):
    """Allocate a pseudo-terminal from the new root's /dev/pts if one is wanted, and hand its master out."""


@op(0x32)
class Reaper(Op):
    """Fork: process 1 stays to reap and to pass signals; the rest of the plan happens in its child."""


@op(0x33, PROCESS)
class NewSession(Op):
    """Start a session, with the sandbox's own terminal where there is one."""


@op(0x34, PROCESS)
class SetRlimit(Op):
    """Limit `resource` (RLIMIT_*, setrlimit(2))."""

    resource: U32
    soft: U64
    hard: U64


@op(0x35, PROCESS)
class SetUmask(Op):
    """Set the file mode creation mask."""

    mask: U32


@op(0x36, PROCESS)
class SetNice(Op):
    """Set the nice value; `value` is stored as a two's complement."""

    value: U32


@op(0x37, PROCESS)
class SetOomScore(Op):
    """Write oom_score_adj; `value` is stored as a two's complement."""

    value: U32


@op(0x38, PROCESS)
class WorkingDirectory(Op):
    """Change to `path`, and refuse if that is not below the root."""

    path: Text
    again: U32 = 0  # only if that failed before


@op(0x39, PROCESS)
class SeccompFilter(Op):
    """Install the classic BPF `program` (struct sock_filter[]), seccomp(2)."""

    program: Blob
    flags: U32 = 0


@op(0x3A, PROCESS)
class JoinKeyring(Op):
    """Have a session keyring of the container's own, _ses.ID, keyctl_join_session_keyring(3)."""


@op(0x3B, PROCESS)
class OwnStreams(Op):
    """Give the standard streams that are not /dev/null to `uid`, who may have to open them again by /dev/stdout."""

    uid: U32


@op(0x3C, PROCESS)
class SetScheduler(Op):
    """Set the scheduling policy, sched_setattr(2); `nice` and `priority` are stored as two's complements."""

    policy: U32  # SCHED_*
    flags: U64 = 0  # SCHED_FLAG_*
    nice: U32 = 0
    priority: U32 = 0
    runtime: U64 = 0  # in nanoseconds, as the two that follow
    deadline: U64 = 0
    period: U64 = 0


@op(0x3D, PROCESS)
class SetIoPriority(Op):
    """Set the I/O priority, ioprio_set(2)."""

    value: U32  # class << 13 | level


@op(0x3E, PROCESS)
class SetPersonality(Op):
    """Set the execution domain, personality(2)."""

    domain: U32


@op(0x3F, PROCESS)
class SetMemoryPolicy(Op):
    """Set the NUMA memory policy, set_mempolicy(2)."""

    mode: U32  # MPOL_*, with its flags
    nodes: Blob = b""  # a bit mask of unsigned longs


@op(0x40, PROCESS)
class SetLabel(Op):
    """Let the command's execve(2) give it the label `value` (LabelKind), through a procfs that is checked to be one."""

    kind: U32
    value: Text


@op(0x41, PROCESS)
class PinCpus(Op):
    """Run on these processors alone, sched_setaffinity(2)."""

    cpus: Blob  # a bit mask of unsigned longs


@op(0x42, PROCESS)
class FindHome(Op):
    """Set HOME by the container's /etc/passwd, where the environment names none."""

    uid: U32


@op(0x43, PROCESS)
class FindCommand(Op):
    """See that the command is there and can be executed, before anybody is told that all is well."""


class Step:
    """An operation, where it came from in the user's words, and how its failure is taken (Flag)."""

    __slots__ = ("flags", "op", "origin")

    def __init__(self, op: Op, origin: str = "", flags: int = 0) -> None:
        self.op = op
        self.origin = origin
        self.flags = flags

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Step):
            return NotImplemented
        return (self.op, self.origin, self.flags) == (other.op, other.origin, other.flags)

    def __hash__(self) -> int:
        return hash((self.op, self.origin, self.flags))

    def __repr__(self) -> str:
        return f"Step({self.op!r}, {self.origin!r}, {self.flags})"
