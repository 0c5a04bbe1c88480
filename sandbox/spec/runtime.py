"""The OCI runtime specification 1.3 for Linux, as types.

Field names and meaning: https://github.com/opencontainers/runtime-spec, `config.md` and `config-linux.md`; the width of
each number is that of its Go type in `specs-go/config.go`.  What belongs together is checked by `sandbox.spec.check`,
what an unprivileged user can have is decided by `sandbox.lower`.

This is the one declaration.  Nothing here is imported while a well-formed `config.json` is compiled: msgspec costs more
time than all the rest.  `sandbox.spec.quick` then goes by `sandbox.spec.table`, which is generated from this module; so
other modules of the start path import these types for the type checker alone.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from sandbox.spec import document
from sandbox.spec.annotations import ANNOTATION, annotation

__all__ = ["ANNOTATION", "OCI_VERSION", "annotation"]

OCI_VERSION = "1.0.2"
"""What is written: the newest version of which all users that we know read everything that we use."""

U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
I32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# msgspec takes no bound that does not fit into 64 bits with sign: `document` looks at this one.
U64 = Annotated[int, Meta(ge=0, extra={document.MOST: 2**64 - 1})]


class Struct(msgspec.Struct, omit_defaults=True, rename="camel", forbid_unknown_fields=True):
    """A JSON object of the specification; members left out keep the default."""


class Foreign(Struct, forbid_unknown_fields=False):
    """A section for another platform.  That it is there is refused; what it says is not read."""


class Root(Struct, kw_only=True):
    path: str
    readonly: bool = False


class IdMapping(Struct, kw_only=True):
    container_id: U32 = msgspec.field(name="containerID")
    host_id: U32 = msgspec.field(name="hostID")
    size: U32


class Mount(Struct, kw_only=True):
    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []
    uid_mappings: list[IdMapping] = []
    gid_mappings: list[IdMapping] = []


class User(Struct, kw_only=True):
    uid: U32 = 0
    gid: U32 = 0
    umask: U32 | None = None
    additional_gids: list[U32] = []
    username: str = ""  # for Windows


class Capabilities(Struct, kw_only=True):
    bounding: list[str] = []
    effective: list[str] = []
    inheritable: list[str] = []
    permitted: list[str] = []
    ambient: list[str] = []


class Rlimit(Struct, kw_only=True):
    type: str
    hard: U64
    soft: U64


class ConsoleSize(Struct, kw_only=True):
    """In characters."""

    height: U64 = 0
    width: U64 = 0


class Scheduler(Struct, kw_only=True):
    policy: str
    nice: I32 = 0
    priority: I32 = 0
    flags: list[str] = []
    runtime: U64 = 0  # in nanoseconds, as the two that follow
    deadline: U64 = 0
    period: U64 = 0


class IoPriority(Struct, kw_only=True):
    io_class: str = msgspec.field(name="class")
    priority: I64 = 0


class CpuAffinity(Struct, kw_only=True):
    """Lists of processors, "0-3,7", of an exec'd process: while it is set up, and from then on."""

    initial: str = ""
    final: str = ""


class Process(Struct, kw_only=True):
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = msgspec.field(default_factory=User)
    args: list[str] = []
    env: list[str] = []
    cwd: str = ""
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] = []
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: I64 | None = None
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    exec_cpu_affinity: CpuAffinity | None = msgspec.field(name="execCPUAffinity", default=None)
    command_line: str = ""  # for Windows


class Hook(Struct, kw_only=True):
    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: I64 | None = None  # in seconds


class Hooks(Struct, kw_only=True):
    prestart: list[Hook] = []
    create_runtime: list[Hook] = []
    create_container: list[Hook] = []
    start_container: list[Hook] = []
    poststart: list[Hook] = []
    poststop: list[Hook] = []


class Namespace(Struct, kw_only=True):
    type: str
    path: str = ""


class TimeOffset(Struct, kw_only=True):
    secs: I64 = 0
    nanosecs: U32 = 0


class Device(Struct, kw_only=True):
    type: str
    path: str
    major: I64 = 0
    minor: I64 = 0
    file_mode: U32 | None = None
    uid: U32 | None = None
    gid: U32 | None = None


class NetDevice(Struct, kw_only=True):
    name: str = ""  # inside; empty: as outside


class SyscallArg(Struct, kw_only=True):
    index: U64
    value: U64
    value_two: U64 = 0
    op: str


class Syscall(Struct, kw_only=True):
    names: list[str]
    action: str
    errno_ret: U64 | None = None
    args: list[SyscallArg] = []


class Seccomp(Struct, kw_only=True):
    default_action: str
    default_errno_ret: U64 | None = None
    architectures: list[str] = []
    flags: list[str] = []
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[Syscall] = []


class DeviceRule(Struct, kw_only=True):
    """Of the device cgroup; None is any number."""

    allow: bool
    type: str = ""
    major: I64 | None = None
    minor: I64 | None = None
    access: str = ""


class MemoryResources(Struct, kw_only=True):
    """In bytes, -1 for no limit."""

    limit: I64 | None = None
    reservation: I64 | None = None
    swap: I64 | None = None  # with the memory itself
    kernel: I64 | None = None
    kernel_tcp: I64 | None = msgspec.field(name="kernelTCP", default=None)
    swappiness: U64 | None = None
    disable_oom_killer: bool | None = msgspec.field(name="disableOOMKiller", default=None)
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class CpuResources(Struct, kw_only=True):
    """Times in microseconds."""

    shares: U64 | None = None
    quota: I64 | None = None
    burst: U64 | None = None
    period: U64 | None = None
    realtime_runtime: I64 | None = None
    realtime_period: U64 | None = None
    cpus: str = ""
    mems: str = ""
    idle: I64 | None = None


class PidsResources(Struct, kw_only=True):
    limit: I64 | None = None


class WeightDevice(Struct, kw_only=True):
    major: I64
    minor: I64
    weight: U16 | None = None
    leaf_weight: U16 | None = None


class ThrottleDevice(Struct, kw_only=True):
    major: I64
    minor: I64
    rate: U64


class BlockIo(Struct, kw_only=True):
    weight: U16 | None = None
    leaf_weight: U16 | None = None
    weight_device: list[WeightDevice] = []
    throttle_read_bps_device: list[ThrottleDevice] = []
    throttle_write_bps_device: list[ThrottleDevice] = []
    throttle_read_iops_device: list[ThrottleDevice] = msgspec.field(name="throttleReadIOPSDevice", default=[])
    throttle_write_iops_device: list[ThrottleDevice] = msgspec.field(name="throttleWriteIOPSDevice", default=[])


class HugepageLimit(Struct, kw_only=True):
    page_size: str  # "2MB"
    limit: U64  # in bytes


class InterfacePriority(Struct, kw_only=True):
    name: str
    priority: U32


class NetworkResources(Struct, kw_only=True):
    class_id: U32 | None = msgspec.field(name="classID", default=None)
    priorities: list[InterfacePriority] = []


class Rdma(Struct, kw_only=True):
    hca_handles: U32 | None = None
    hca_objects: U32 | None = None


class Resources(Struct, kw_only=True):
    memory: MemoryResources | None = None
    cpu: CpuResources | None = None
    pids: PidsResources | None = None
    devices: list[DeviceRule] = []
    block_io: BlockIo | None = msgspec.field(name="blockIO", default=None)
    hugepage_limits: list[HugepageLimit] = []
    network: NetworkResources | None = None
    rdma: dict[str, Rdma] = {}
    unified: dict[str, str] = {}


class IntelRdt(Struct, kw_only=True):
    clos_id: str = msgspec.field(name="closID", default="")
    schemata: list[str] = []
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_monitoring: bool = False
    enable_cmt: bool = msgspec.field(name="enableCMT", default=False)  # until 1.2, as the next
    enable_mbm: bool = msgspec.field(name="enableMBM", default=False)


class Personality(Struct, kw_only=True):
    domain: str
    flags: list[str] = []


class MemoryPolicy(Struct, kw_only=True):
    mode: str
    nodes: str = ""
    flags: list[str] = []


class Linux(Struct, kw_only=True):
    namespaces: list[Namespace] = []
    uid_mappings: list[IdMapping] = []
    gid_mappings: list[IdMapping] = []
    time_offsets: dict[str, TimeOffset] = {}
    devices: list[Device] = []
    net_devices: dict[str, NetDevice] = {}
    cgroups_path: str = ""
    resources: Resources | None = None
    intel_rdt: IntelRdt | None = None
    sysctl: dict[str, str] = {}
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""
    personality: Personality | None = None
    memory_policy: MemoryPolicy | None = None


class Spec(Struct, kw_only=True):
    """A container's `config.json`."""

    oci_version: str = ""
    root: Root | None = None
    mounts: list[Mount] = []
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    hooks: Hooks | None = None
    annotations: dict[str, str] = {}
    linux: Linux | None = None
    vm: Foreign | None = None
    windows: Foreign | None = None
    solaris: Foreign | None = None
    zos: Foreign | None = None
    freebsd: Foreign | None = None


def decode(content: bytes) -> Spec:
    """Read a `config.json`, of which every member has to be known.

    Raises SpecError with the JSON path of the offending member.
    """
    return document.decode(content, Spec)


def encode(spec: Spec) -> bytes:
    """Return `spec` as indented JSON with a final newline."""
    spec = msgspec.structs.replace(spec, oci_version=spec.oci_version or OCI_VERSION)
    return msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n"
