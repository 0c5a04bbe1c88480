"""The OCI runtime specification 1.2 for Linux, as types.

Field names and meaning: https://github.com/opencontainers/runtime-spec, `config.md` and
`config-linux.md`.  JSON goes in and out here and nowhere else; what an unprivileged user can
have of it is decided by `sandbox.lower`.  Unknown members are refused while reading: a property
that we do not know could not be in force.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox.errors import SpecError

OCI_VERSION = "1.0.2"
"""What is written: the newest version of which all users that we know read everything that we use."""

ANNOTATION = "dev.sandbox."
"""Prefix of what a profile wants beyond OCI; other runtimes pass such annotations over."""


class Struct(msgspec.Struct, omit_defaults=True, rename="camel", forbid_unknown_fields=True):
    """A JSON object of the specification; members left out keep the default."""


class Root(Struct, kw_only=True):
    path: str
    readonly: bool = False


class IdMapping(Struct, kw_only=True):
    container_id: int = msgspec.field(name="containerID")
    host_id: int = msgspec.field(name="hostID")
    size: int


class Mount(Struct, kw_only=True):
    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []
    uid_mappings: list[IdMapping] = []
    gid_mappings: list[IdMapping] = []


class User(Struct, kw_only=True):
    uid: int = msgspec.field(name="uid", default=0)
    gid: int = msgspec.field(name="gid", default=0)
    umask: int | None = None
    additional_gids: list[int] = []
    username: str = ""


class Capabilities(Struct, kw_only=True):
    bounding: list[str] = []
    effective: list[str] = []
    inheritable: list[str] = []
    permitted: list[str] = []
    ambient: list[str] = []


class Rlimit(Struct, kw_only=True):
    type: str
    hard: int
    soft: int


class ConsoleSize(Struct, kw_only=True):
    height: int = 0
    width: int = 0


class Scheduler(Struct, kw_only=True):
    policy: str
    nice: int = 0
    priority: int = 0
    flags: list[str] = []
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class Process(Struct, kw_only=True):
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = msgspec.field(default_factory=User)
    args: list[str] = []
    env: list[str] = []
    cwd: str = ""  # required; an empty one is refused while lowering
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] = []
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: dict[str, Any] | None = msgspec.field(name="ioPriority", default=None)
    exec_cpu_affinity: dict[str, Any] | None = msgspec.field(name="execCPUAffinity", default=None)
    command_line: str = ""


class Namespace(Struct, kw_only=True):
    type: str
    path: str = ""


class Device(Struct, kw_only=True):
    type: str
    path: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class SyscallArg(Struct, kw_only=True):
    index: int
    value: int
    value_two: int = 0
    op: str


class Syscall(Struct, kw_only=True):
    names: list[str]
    action: str
    errno_ret: int | None = None
    args: list[SyscallArg] = []


class Seccomp(Struct, kw_only=True):
    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] = []
    flags: list[str] = []
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[Syscall] = []


class MemoryResources(Struct, kw_only=True):
    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = msgspec.field(name="kernelTCP", default=None)
    swappiness: int | None = None
    disable_oom_killer: bool | None = msgspec.field(name="disableOOMKiller", default=None)
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class CpuResources(Struct, kw_only=True):
    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class PidsResources(Struct, kw_only=True):
    limit: int = 0


class Resources(Struct, kw_only=True):
    memory: MemoryResources | None = None
    cpu: CpuResources | None = None
    pids: PidsResources | None = None
    devices: list[dict[str, Any]] = []
    block_io: dict[str, Any] | None = msgspec.field(name="blockIO", default=None)
    hugepage_limits: list[dict[str, Any]] = []
    network: dict[str, Any] | None = None
    rdma: dict[str, Any] | None = None
    unified: dict[str, str] = {}


class Linux(Struct, kw_only=True):
    namespaces: list[Namespace] = []
    uid_mappings: list[IdMapping] = []
    gid_mappings: list[IdMapping] = []
    time_offsets: dict[str, Any] | None = None
    devices: list[Device] = []
    cgroups_path: str = ""
    resources: Resources | None = None
    intel_rdt: dict[str, Any] | None = None
    sysctl: dict[str, str] = {}
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""
    personality: dict[str, Any] | None = None
    memory_policy: dict[str, Any] | None = None
    net_devices: dict[str, Any] | None = None


class Spec(Struct, kw_only=True):
    """A container's `config.json`."""

    oci_version: str = ""
    root: Root | None = None
    mounts: list[Mount] = []
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    hooks: dict[str, Any] | None = None
    annotations: dict[str, str] = {}
    linux: Linux | None = None


def decode(document: bytes) -> Spec:
    """Read a `config.json`.

    Raises SpecError with the JSON path of the offending member.
    """
    try:
        return msgspec.json.decode(document, type=Spec)
    except msgspec.DecodeError as error:  # ValidationError is one of these, and carries "- at `$.a.b`"
        raise SpecError(str(error), where="config.json") from error


def encode(spec: Spec) -> bytes:
    """Return `spec` as indented JSON with a final newline."""
    spec = msgspec.structs.replace(spec, oci_version=spec.oci_version or OCI_VERSION)
    return msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n"


def annotation(spec: Spec, name: str, default: str = "") -> str:
    """Return the value of our annotation `name` (without the prefix)."""
    return spec.annotations.get(ANNOTATION + name, default)
