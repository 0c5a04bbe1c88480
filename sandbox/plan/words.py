"""A plan's operations in words, for `explain` and for refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.plan import ops
from sandbox.plan.ops import Op

# MOUNT_ATTR_*; the bits of the access times are one number together
_ATTRIBUTES = (
    (1, "read-only"),
    (2, "nosuid"),
    (4, "nodev"),
    (8, "noexec"),
    (0x10, "noatime"),
    (0x20, "strictatime"),
    (0x80, "nodiratime"),
    (0x200000, "nosymfollow"),
)
# RLIMIT_*, asm-generic/resource.h
_RESOURCES = (
    "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime".split()
)
_PROPAGATION = ((1 << 17, "unbindable"), (1 << 18, "private"), (1 << 19, "slave"), (1 << 20, "shared"))
_NAMESPACES = (
    (0x10000000, "user"),
    (0x00020000, "mount"),
    (0x20000000, "pid"),
    (0x08000000, "ipc"),
    (0x04000000, "uts"),
    (0x02000000, "cgroup"),
    (0x40000000, "network"),
    (0x00000080, "time"),
)
_STAGES = {0: "prestart", 1: "createRuntime", 2: "createContainer", 3: "startContainer", 4: "poststart", 5: "poststop"}
_TERMINAL = {0: "no terminal", 1: "a terminal of its own if the caller has one", 2: "a terminal of its own"}


def _join(bits: int, names: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(name for bit, name in names if bits & bit)


def _with(attributes: int) -> str:
    names = _join(attributes, _ATTRIBUTES)
    return f" ({names})" if names else ""


def _propagation(bits: int) -> str:
    # What nobody outside sees and what sees nobody outside is the rule, and not said.
    names = _join(bits & ~(1 << 18), _PROPAGATION)
    return f", {names}" if names else ""


def _maps(uid_map: str, gid_map: str) -> str:
    maps = [", ".join(text.strip().split("\n")) for text in (uid_map, gid_map)]
    return f"uids {maps[0]}; gids {maps[1]}"


def _mapped(op: ops.BindMount | ops.NewMount) -> str:
    return f", ids mapped ({_maps(op.uid_map, op.gid_map)})" if op.uid_map or op.gid_map else ""


def _bind(op: ops.BindMount) -> str:
    place = f"bind {op.source}" + (f" onto {op.target}" if op.source != op.target else "")
    attributes = op.set_attributes | op.set_recursive
    words = _with(attributes) if attributes & 1 else " (writable)"
    outwards = ", seen outside" if op.early == ops.Early.COPY else ""
    return place + words + _propagation(op.propagation) + outwards + _mapped(op)


def _mount(op: ops.NewMount) -> str:
    options = f" with {', '.join(op.options)}" if op.options else ""
    copy = ", with a copy of what lies there" if op.copy_up else ""
    words = f"mount a new {op.fstype} on {op.target}{options}{_with(op.attributes)}"
    return words + _propagation(op.propagation) + copy + _mapped(op)


def _change(op: ops.ChangeMount) -> str:
    words = [_join(op.set_attributes | op.set_recursive, _ATTRIBUTES)]
    cleared = _join(op.clear_attributes | op.clear_recursive, _ATTRIBUTES)
    words += [f"not {cleared}" if cleared else "", _join(op.propagation, _PROPAGATION)]
    return f"make the mount {op.target} {', '.join(word for word in words if word) or 'what it is'}"


def _ids(op: ops.MapIds) -> str:
    by = f" by {op.uid_helper}" if op.uid_helper else " by the monitor" if op.by_monitor else ""
    return f"map ids (inside outside count): {_maps(op.uid_map, op.gid_map)}{by}"


def _device(op: ops.BindDevice) -> str:
    place = f"bind the device {op.source}" + (f" onto {op.target}" if op.source != op.target else "")
    return f"{place} ({'block ' if op.block else ''}{op.major}:{op.minor})"


def _cgroup(op: ops.Cgroup) -> str:
    settings = f", with {', '.join(op.settings)}" if op.settings else ""
    return f"make the cgroup {op.parent}/{op.prefix}{op.name or 'ID'}{settings}"


def _hook(op: ops.Hook) -> str:
    return f"run the {_STAGES.get(op.stage, '?')} hook {op.path}"


def _scheduler(op: ops.SetScheduler) -> str:
    values = ((op.priority, "priority"), (op.nice, "nice"), (op.runtime, "runtime"), (op.deadline, "deadline"))
    words = "".join(f", {name} {_signed(value)}" for value, name in values if value)
    return f"set the scheduling policy {op.policy}{words}"


def _bits(mask: bytes) -> str:
    """Return the numbers in a bit mask of unsigned longs, as cpuset(7) writes lists."""
    number = int.from_bytes(mask, "little")
    return ",".join(str(bit) for bit in range(number.bit_length()) if number >> bit & 1) or "none"


def _credentials(op: ops.Credentials) -> str:
    held = op.bounding | op.permitted | op.ambient | op.inheritable
    capabilities = f"capabilities {held:#x}" if held else "no capability"
    return f"become uid {op.uid}, gid {op.gid}, with {capabilities}" + (
        ", and gain no privileges by execve" if op.no_new_privileges else ""
    )


_READINESS = {
    0: "tell no service manager that it is ready",
    1: "tell the service manager that it is ready when the command runs",
    2: "pass on to the service manager what the command says of its readiness",
}


# What each operation does, to be read behind "cannot" or alone.
_WORDS: dict[type[Op], Callable[[Any], str]] = {
    ops.Notice: lambda op: f"say: {op.text}",
    ops.Isolate: lambda op: f"create the namespaces {_join(op.flags, _NAMESPACES)}",
    ops.MapIds: _ids,
    ops.Container: lambda op: (
        f"keep {op.directory}/{op.id or 'ID'} {'while it runs' if op.held else 'until it is deleted'}"
    ),
    ops.JoinNamespace: lambda op: f"join the {_join(op.flag, _NAMESPACES)} namespace {op.path}",
    ops.Cgroup: _cgroup,
    ops.Scope: lambda op: (
        f"have systemd make the scope {op.unit if not op.id_at else op.unit.replace('s00000000', 'ID')}"
    ),
    ops.Hook: _hook,
    ops.Listener: lambda op: f"send the filter's notification descriptor to {op.path}",
    ops.Command: lambda op: f"execute {' '.join(op.arguments)}",
    ops.NotifySocket: lambda op: f"pass readiness on to {op.host}",
    ops.KeepAbsent: lambda op: (
        f"keep {op.path}, which is absent, out of reach, with something empty there while it runs"
    ),
    ops.Environment: lambda op: f"set {', '.join(op.set) or 'nothing'}; keep {', '.join(op.keep) or 'nothing'}",
    ops.Terminal: lambda op: f"give the command {_TERMINAL.get(op.mode, '?')}",
    ops.Report: lambda op: f"write a report to {op.path}" if op.path else "keep a report",
    ops.Readiness: lambda op: _READINESS.get(op.mode, "?"),
    ops.Keep: lambda op: (
        f"run detached, with a log of {op.log_size} bytes{', whose input comes from who is attached' if op.interactive else ''}"
        f"; {'remove' if op.remove else 'keep'} all that at the end"
    ),
    ops.MemoryLimit: lambda op: (
        f"say who reached the limit of {op.limit} bytes" if op.limit else "say who ran out of memory"
    ),
    ops.Samples: lambda op: f"write a report to {op.path}, as a page",
    ops.TimeLimit: lambda op: (
        f"ask the command to end after {op.milliseconds / 1000:g} s, and kill it {op.grace / 1000:g} s later"
    ),
    ops.Companion: lambda op: f"have a network by {op.path.rpartition('/')[2]} {' '.join(op.arguments)}",
    ops.StartCompanion: lambda op: "let what gives the network start",
    ops.AwaitCompanion: lambda op: "wait for the network",
    ops.PlaceFile: lambda op: f"write {op.target} for the inside",
    ops.FreshRoot: lambda op: "start from an empty root",
    ops.BindRoot: lambda op: f"take {op.source} as the root",
    ops.MakeSymlink: lambda op: f"make {op.target} a symlink to {op.destination}",
    ops.BindMount: _bind,
    ops.NewMount: _mount,
    ops.BindDevice: _device,
    ops.MakeFifo: lambda op: f"make the fifo {op.target}",
    ops.MakeDirectory: lambda op: f"make the directory {op.path}, unless it is there",
    ops.ChangeMount: _change,
    ops.BindConsole: lambda op: "bind the terminal onto /dev/console",
    ops.Mask: lambda op: f"hide {op.target}",
    ops.MakeReadOnly: lambda op: f"make {op.target} read-only",
    ops.SealRoot: lambda op: "make the root read-only",
    ops.PivotRoot: lambda op: "leave the host's tree for the new root",
    ops.ShowCommand: lambda op: (
        f"show the file that the command names with a /, read-only, below {op.directory} if relative"
    ),
    ops.SetHostname: lambda op: f"set the host name {op.name}",
    ops.SetDomainname: lambda op: f"set the domain name {op.name}",
    ops.LoopbackUp: lambda op: "bring lo up",
    ops.Sysctl: lambda op: f"set the sysctl {op.path.replace('/', '.')} to {op.value}",
    ops.TimeNamespace: lambda op: (
        f"enter a time namespace with the offsets {', '.join(op.offsets.strip().split(chr(10)))}"
    ),
    ops.RuntimeHooks: lambda op: "wait for the hooks prestart and createRuntime",
    ops.ContainerHooks: lambda op: f"run the {_STAGES.get(op.stage, '?')} hooks",
    ops.StartGate: lambda op: "wait to be started",
    ops.ReadinessSocket: lambda op: f"take the command's word that it is ready at {op.target}",
    ops.Credentials: _credentials,
    ops.OpenTerminal: lambda op: "open the terminal",
    ops.Reaper: lambda op: "stay as process 1 to reap, and fork for the command",
    ops.NewSession: lambda op: "start a session",
    ops.SetRlimit: lambda op: f"limit {_resource(op.resource)} to {_limit(op.soft)} (hard {_limit(op.hard)})",
    ops.SetUmask: lambda op: f"set the umask {op.mask:04o}",
    ops.SetNice: lambda op: f"set the nice value {_signed(op.value)}",
    ops.SetOomScore: lambda op: f"set oom_score_adj {_signed(op.value)}",
    ops.WorkingDirectory: lambda op: f"change to {op.path}",
    ops.JoinKeyring: lambda op: "have a session keyring of its own",
    ops.OwnStreams: lambda op: f"give the standard streams to uid {op.uid}",
    ops.SetScheduler: _scheduler,
    ops.SetIoPriority: lambda op: f"set the I/O priority {op.value >> 13}:{op.value & 0x1FFF}",
    ops.SetPersonality: lambda op: f"set the execution domain {op.domain:#x}",
    ops.SetMemoryPolicy: lambda op: f"set the memory policy {op.mode:#x} for the nodes {_bits(op.nodes)}",
    ops.SetLabel: lambda op: f"have execve give it the label {op.value}",
    ops.PinCpus: lambda op: f"run on the processors {_bits(op.cpus)}",
    ops.FindHome: lambda op: "set HOME by the container's /etc/passwd, where it is not set",
    ops.FindCommand: lambda op: "see that the command can be executed",
    ops.SeccompFilter: lambda op: f"install a seccomp filter of {len(op.program) // 8} instructions",
}


def _resource(number: int) -> str:
    return _RESOURCES[number] if number < len(_RESOURCES) else f"resource {number}"


def _limit(value: int) -> str:
    return "unlimited" if value == (1 << 64) - 1 else str(value)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def describe(op: Op) -> str:
    """Return what `op` does, as an imperative."""
    return _WORDS[type(op)](op)
