"""A plan's operations in words, for `explain` and for refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.plan import ops
from sandbox.plan.ops import Op

_ATTRIBUTES = ((1, "read-only"), (2, "nosuid"), (4, "nodev"), (8, "noexec"))
_NAMESPACES = (
    (0x10000000, "user"),
    (0x00020000, "mount"),
    (0x20000000, "pid"),
    (0x08000000, "ipc"),
    (0x04000000, "uts"),
    (0x02000000, "cgroup"),
    (0x40000000, "network"),
)
_TERMINAL = {0: "no terminal", 1: "a terminal of its own if the caller has one", 2: "a terminal of its own"}


def _join(bits: int, names: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(name for bit, name in names if bits & bit)


def _with(attributes: int) -> str:
    names = _join(attributes, _ATTRIBUTES)
    return f" ({names})" if names else ""


def _bind(op: ops.BindMount) -> str:
    place = f"bind {op.source}" + (f" onto {op.target}" if op.source != op.target else "")
    attributes = op.set_attributes | op.set_recursive
    return place + (_with(attributes) if attributes & 1 else " (writable)")


def _mount(op: ops.NewMount) -> str:
    options = f" with {', '.join(op.options)}" if op.options else ""
    return f"mount a new {op.fstype} on {op.target}{options}{_with(op.attributes)}"


def _ids(op: ops.MapIds) -> str:
    by = f" by {op.uid_helper}" if op.uid_helper else ""
    maps = [", ".join(text.strip().split("\n")) for text in (op.uid_map, op.gid_map)]
    return f"map ids (inside outside count): uids {maps[0]}; gids {maps[1]}{by}"


def _credentials(op: ops.Credentials) -> str:
    held = op.bounding | op.permitted | op.ambient | op.inheritable
    capabilities = f"capabilities {held:#x}" if held else "no capability"
    return f"become uid {op.uid}, gid {op.gid}, with {capabilities}" + (
        ", and gain no privileges by execve" if op.no_new_privileges else ""
    )


# What each operation does, to be read behind "cannot" or alone.
_WORDS: dict[type[Op], Callable[[Any], str]] = {
    ops.Notice: lambda op: f"say: {op.text}",
    ops.Isolate: lambda op: f"create the namespaces {_join(op.flags, _NAMESPACES)}",
    ops.MapIds: _ids,
    ops.Register: lambda op: f"keep {op.directory}/{op.id or 'ID'} while it runs",
    ops.Environment: lambda op: f"set {', '.join(op.set) or 'nothing'}; keep {', '.join(op.keep) or 'nothing'}",
    ops.Terminal: lambda op: f"give the command {_TERMINAL.get(op.mode, '?')}",
    ops.FreshRoot: lambda op: "start from an empty root",
    ops.BindRoot: lambda op: f"take {op.source} as the root",
    ops.MakeSymlink: lambda op: f"make {op.target} a symlink to {op.destination}",
    ops.BindMount: _bind,
    ops.NewMount: _mount,
    ops.BindDevice: lambda op: f"bind the device {op.source} ({op.major}:{op.minor})",
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
    ops.Credentials: _credentials,
    ops.OpenTerminal: lambda op: "open the terminal",
    ops.Reaper: lambda op: "stay as process 1 to reap, and fork for the command",
    ops.NewSession: lambda op: "start a session",
    ops.SetRlimit: lambda op: f"limit resource {op.resource} to {op.soft} (hard {op.hard})",
    ops.SetUmask: lambda op: f"set the umask {op.mask:04o}",
    ops.SetNice: lambda op: f"set the nice value {_signed(op.value)}",
    ops.SetOomScore: lambda op: f"set oom_score_adj {_signed(op.value)}",
    ops.WorkingDirectory: lambda op: f"change to {op.path}",
    ops.SeccompFilter: lambda op: f"install a seccomp filter of {len(op.program) // 8} instructions",
}


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def describe(op: Op) -> str:
    """Return what `op` does, as an imperative."""
    return _WORDS[type(op)](op)
