"""The instruction set of a plan, declared once.

The C structures, the tables by which nsinit checks a plan and its dispatcher are generated from
this module when the project is built (`sandbox/plan/header.py`).  An operation is dumb: it names
what to do, never whether; that was decided while lowering.  Opcodes are retired, never reused.

What an operation is stands in `op.py`, those that build the new root in `ops_root.py`, those by
which a process becomes the command in `ops_process.py`, and what the monitor has to do meanwhile in
`ops_watch.py`; everybody takes all of them from here.
"""

from __future__ import annotations

from sandbox.plan.op import (
    CODES,
    MONITOR,
    OPS,
    STAGES,
    U32,
    U64,
    Blob,
    Early,
    Flag,
    HookStage,
    LabelKind,
    Op,
    ReadinessMode,
    Step,
    TerminalMode,
    Text,
    Texts,
    op,
)
from sandbox.plan.ops_process import (
    Credentials,
    FindCommand,
    FindHome,
    JoinKeyring,
    NewSession,
    OpenTerminal,
    OwnStreams,
    PinCpus,
    Reaper,
    SeccompFilter,
    SetIoPriority,
    SetLabel,
    SetMemoryPolicy,
    SetNice,
    SetOomScore,
    SetPersonality,
    SetRlimit,
    SetScheduler,
    SetUmask,
    WorkingDirectory,
)
from sandbox.plan.ops_root import (
    BindConsole,
    BindDevice,
    BindMount,
    BindRoot,
    ChangeMount,
    FreshRoot,
    MakeDirectory,
    MakeFifo,
    MakeReadOnly,
    MakeSymlink,
    Mask,
    NewMount,
    PivotRoot,
    SealRoot,
    ShowCommand,
)
from sandbox.plan.ops_watch import (
    Companion,
    Keep,
    MemoryLimit,
    Readiness,
    Report,
    Samples,
    TimeLimit,
)

# Of the other modules.
__all__ = [
    "CODES", "OPS", "STAGES", "BindConsole", "BindDevice", "BindMount", "BindRoot", "ChangeMount", "Companion",
    "Credentials", "Early", "FindCommand", "FindHome", "Flag", "FreshRoot", "HookStage", "JoinKeyring", "Keep",
    "LabelKind", "MakeDirectory", "MakeFifo", "MakeReadOnly", "MakeSymlink", "Mask", "MemoryLimit", "NewMount",
    "NewSession", "Op", "OpenTerminal", "OwnStreams", "PinCpus", "PivotRoot", "Readiness", "ReadinessMode", "Reaper",
    "Report", "Samples", "SealRoot", "SeccompFilter", "SetIoPriority", "SetLabel", "SetMemoryPolicy", "SetNice",
    "SetOomScore", "SetPersonality", "SetRlimit", "SetScheduler", "SetUmask", "ShowCommand", "Step", "TerminalMode",
    "TimeLimit", "WorkingDirectory",
]  # fmt: skip

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
class Scope(Op):
    """Have the user's manager, whose bus is at the socket `address`, make the scope `unit` of the first process; in that,
    the cgroup `container`, with Cgroup's controllers and settings, is where it goes.

    `conversation` is all that is said (`sandbox.kernel.manager`), and `serial` that of the call that names the job.  Places
    in it that are filled in, 0 for one that is not there: the number of the first process, that of its monitor, which goes
    to the cgroup `keeper`, and a drawn id, which is also in `unit`.  `root` is where the hierarchy is mounted.
    """

    address: Text
    unit: Text
    conversation: Blob
    serial: U32
    pid_at: U32
    root: Text
    monitor_at: U32 = 0
    id_at: U32 = 0
    id_in_unit: U32 = 0
    limits: U32 = 0  # the settings are written to the scope, too: whoever asks an engine looks there
    milliseconds: U32 = 25000  # so long is waited for an answer


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
    """Keep `directory`/ID, which holds a container's state, until that is deleted; one that is `held`: while it runs.

    Of a held one the monitor has the lock, and `id` is its name, an empty one: one that is drawn.

    `record` is JSON, without its opening brace: the members of state.json that are known beforehand.
    `identity` are the members of the OCI state document behind `status`, indented by two spaces, without a final
    newline.  `namespaces` (CLONE_NEW*) are those that an exec'd process joins.
    """

    directory: Text
    oci_version: Text
    identity: Text
    record: Text
    namespaces: U64
    id: Text = ""
    held: U32 = 0
    replace: U32 = 0  # take the name from one that has ended and is kept


@op(0x08, MONITOR)
class JoinNamespace(Op):
    """Let the first process be a member of the namespace at `path`, of the type `flag` (CLONE_NEW*), setns(2)."""

    path: Text
    flag: U64


@op(0x09, MONITOR)
class Cgroup(Op):
    """Make the cgroup `parent`/`prefix``name` (the id, where `name` is empty), and start the first process in it.

    `parent` is a directory of a cgroup2 mount; what is missing of it is made.  A setting is `file=value`; the files of
    controllers that `controllers` names are enabled on the way down, where `top`, the first directory that is ours,
    permits it.
    """

    parent: Text
    name: Text = ""
    prefix: Text = ""
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


@op(0x0F, MONITOR)
class KeepAbsent(Op):
    """Let an empty directory, or with `file` a file that holds `content`, lie at `path`, which is absent, while it runs.

    On it something read-only can be mounted inside, so that nobody there can make it.  It is removed when the last
    sandbox that has it ends, or when another one starts after its monitor was killed.
    """

    path: Text
    file: U32 = 0
    content: Text = ""


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


@op(0x2C)
class StartCompanion(Op):
    """Let the monitor start the companion: the namespaces that it serves are there."""


@op(0x2D)
class AwaitCompanion(Op):
    """Wait until the companion is ready."""


@op(0x2E)
class PlaceFile(Op):
    """Let a read-only file with `content` be at `target` below the new root, whatever was there.

    It comes from a tmpfs that lies over the host directory `staging` while it is made.
    """

    target: Text
    content: Text
    staging: Text


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


@op(0x2B)
class ReadinessSocket(Op):
    """Bind the socket to which the command says that it is ready, at `target`, and hand it out; where anybody wants to know."""

    target: Text
