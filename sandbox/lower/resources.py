"""From `linux.resources`, whose words are those of cgroup v1, to the files of cgroup v2.

The conversions are those that crun documents, crun(1), "CGROUP v2".  Zero counts as not given, as engines
write it.  Source: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from sandbox.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.spec.runtime import BlockIo, CpuResources, MemoryResources, Resources, ThrottleDevice

CONTROLLERS = ("cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma")
"""Those that the properties of the specification are of; `unified` may name others."""

_PERIOD = 100_000  # the kernel's own, in microseconds
_SHARES = 2, 262_144
_WEIGHTS = 10, 1000  # of block devices, cgroup v1
_UNITS = ("KB", "MB", "GB")
# Of the cgroup itself; the others are what a container's life is managed by.
_UNIFIED_CGROUP = ("cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure")


class Setting:
    """A value for a file of a cgroup, and what asked for it."""

    __slots__ = ("file", "place", "value")

    def __init__(self, file: str, value: object, place: str) -> None:
        self.file = file
        self.value = str(value)
        self.place = place  # below linux.resources: "memory.limit"

    @property
    def controller(self) -> str:
        """Whose file it is; "" for the cgroup's own."""
        name = self.file.partition(".")[0]
        return "" if name == "cgroup" else name

    def __str__(self) -> str:
        return f"{self.file}={self.value}"


def settings(resources: Resources, place_of: Callable[[str], str], *, bfq: bool = False) -> list[Setting]:
    """Return what to write, in this order.

    `place_of` words a place below linux.resources; `bfq`: the weight of a block device is its scheduler's.
    Raises SpecError for what cgroup v2 has not, and for what does not go together.
    """
    found = []
    if resources.memory is not None:
        found += _memory(resources.memory, place_of)
    if resources.cpu is not None:
        found += _cpu(resources.cpu, place_of)
    if resources.pids is not None and resources.pids.limit:
        found.append(Setting("pids.max", _limit(resources.pids.limit), "pids.limit"))
    if resources.block_io is not None:
        found += _block_io(resources.block_io, place_of, bfq=bfq)
    for index, limit in enumerate(resources.hugepage_limits):
        place = f"hugepageLimits[{index}]"
        if not limit.page_size[:-2].isdigit() or limit.page_size[-2:] not in _UNITS:
            raise SpecError(
                f'"{limit.page_size}" is no size of pages', where=place_of(f"{place}.pageSize"), hint='as "2MB"'
            )
        # What is reserved is limited too: a program then sees mmap(2) fail, and is not killed.
        for file in ("max", "rsvd.max"):
            found.append(Setting(f"hugetlb.{limit.page_size}.{file}", limit.limit, place))
    network = resources.network
    if network is not None and (network.class_id or network.priorities):
        raise SpecError("cgroup v2 has no such controller", where=place_of("network"), hint="leave it out")
    for device, rdma in resources.rdma.items():
        counts = (("hca_handle", rdma.hca_handles), ("hca_object", rdma.hca_objects))
        words = [f"{key}={value}" for key, value in counts if value is not None]
        if not words:
            raise SpecError("needs hcaHandles or hcaObjects", where=place_of(f"rdma.{device}"))
        found.append(Setting("rdma.max", " ".join([device, *words]), f"rdma.{device}"))
    return found + _unified(resources.unified, place_of)


def _limit(value: int) -> object:
    return "max" if value < 0 else value


def _memory(memory: MemoryResources, place_of: Callable[[str], str]) -> list[Setting]:
    for name, value in (("kernel", memory.kernel), ("kernelTCP", memory.kernel_tcp)):
        if value is not None and value > 0:
            raise SpecError(
                "cgroup v2 counts the kernel's memory with the rest",
                where=place_of(f"memory.{name}"),
                hint="leave it out, and set limit",
            )
    for name, asked in (
        ("swappiness", memory.swappiness is not None),
        ("disableOOMKiller", memory.disable_oom_killer),
        ("useHierarchy", memory.use_hierarchy is False),
    ):
        if asked:
            raise SpecError("cannot be set with cgroup v2", where=place_of(f"memory.{name}"), hint="leave it out")
    found = []
    limit, swap = memory.limit or 0, memory.swap or 0
    if swap > 0 and limit <= 0:
        raise SpecError(
            "needs a limit of the memory, of which it is the sum with the swap", where=place_of("memory.swap")
        )
    if swap > 0 and swap < limit:
        raise SpecError(f"{swap} is less than the memory's limit, {limit}", where=place_of("memory.swap"))
    # The swap first: where a limit is lowered, it then has its room.
    if swap > 0:
        found.append(Setting("memory.swap.max", swap - limit, "memory.swap"))
    elif swap < 0 or limit < 0:
        found.append(Setting("memory.swap.max", "max", "memory.swap" if swap else "memory.limit"))
    if limit:
        found.append(Setting("memory.max", _limit(limit), "memory.limit"))
    if memory.reservation:
        found.append(Setting("memory.low", _limit(memory.reservation), "memory.reservation"))
    return found


def cpu_weight(shares: int) -> int:
    """Convert cpu.shares, 2 to 262144, to cpu.weight, 1 to 10000."""
    low, high = _SHARES
    return 1 + (min(max(shares, low), high) - low) * 9999 // (high - low)


def _cpu(cpu: CpuResources, place_of: Callable[[str], str]) -> list[Setting]:
    for name, value in (("realtimeRuntime", cpu.realtime_runtime), ("realtimePeriod", cpu.realtime_period)):
        if value:
            raise SpecError("cgroup v2 does not divide real time", where=place_of(f"cpu.{name}"), hint="leave it out")
    if cpu.idle not in (None, 0, 1):
        raise SpecError(f"{cpu.idle} is not 0 or 1", where=place_of("cpu.idle"))
    if cpu.idle and cpu.shares:
        raise SpecError("who is idle has no shares", where=place_of("cpu.idle"), hint="leave out one of the two")
    quota = cpu.quota or 0
    if cpu.burst and 0 < quota < cpu.burst:
        raise SpecError(f"{cpu.burst} is more than the quota, {quota}", where=place_of("cpu.burst"))
    found = []
    if cpu.shares:
        found.append(Setting("cpu.weight", cpu_weight(cpu.shares), "cpu.shares"))
    if cpu.idle is not None:
        found.append(Setting("cpu.idle", cpu.idle, "cpu.idle"))
    if quota or cpu.period:
        words = f"{quota if quota > 0 else 'max'} {cpu.period or _PERIOD}"
        found.append(Setting("cpu.max", words, "cpu.quota" if quota else "cpu.period"))
    if cpu.burst:
        found.append(Setting("cpu.max.burst", cpu.burst, "cpu.burst"))
    for name, numbers in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if numbers:
            found.append(Setting(f"cpuset.{name}", numbers, f"cpu.{name}"))
    return found


def io_weight(weight: int) -> int:
    """Convert a weight of a block device, 10 to 1000, to io.weight, 1 to 10000."""
    return 1 + (weight - 10) * 9999 // 990


def _block_io(io: BlockIo, place_of: Callable[[str], str], *, bfq: bool) -> list[Setting]:
    found = []
    weights = [("", io.weight, io.leaf_weight, "blockIO")]
    for index, device in enumerate(io.weight_device):
        number = f"{device.major}:{device.minor} "
        weights.append((number, device.weight, device.leaf_weight, f"blockIO.weightDevice[{index}]"))
    for number, weight, leaf_weight, place in weights:
        if leaf_weight:
            raise SpecError("cgroup v2 has none", where=place_of(f"{place}.leafWeight"), hint="leave it out")
        if not weight:
            continue
        if not _WEIGHTS[0] <= weight <= _WEIGHTS[1]:
            raise SpecError(f"{weight} is not {_WEIGHTS[0]} to {_WEIGHTS[1]}", where=place_of(f"{place}.weight"))
        file, value = ("io.bfq.weight", weight) if bfq else ("io.weight", io_weight(weight))
        found.append(Setting(file, f"{number}{value}", f"{place}.weight"))
    throttles: tuple[tuple[str, str, list[ThrottleDevice]], ...] = (
        ("rbps", "throttleReadBpsDevice", io.throttle_read_bps_device),
        ("wbps", "throttleWriteBpsDevice", io.throttle_write_bps_device),
        ("riops", "throttleReadIOPSDevice", io.throttle_read_iops_device),
        ("wiops", "throttleWriteIOPSDevice", io.throttle_write_iops_device),
    )
    for key, name, devices in throttles:
        for index, entry in enumerate(devices):
            words = f"{entry.major}:{entry.minor} {key}={entry.rate or 'max'}"
            found.append(Setting("io.max", words, f"blockIO.{name}[{index}]"))
    return found


def _unified(unified: dict[str, str], place_of: Callable[[str], str]) -> list[Setting]:
    """Return the settings as they are; a value of several lines is written line by line."""
    found = []
    for file, value in unified.items():
        where = place_of(f"unified.{file}")
        controller, dot, rest = file.partition(".")
        if not (controller and dot and rest) or not file.replace(".", "").replace("_", "").replace("-", "").isalnum():
            raise SpecError("is no file of a controller", where=where, hint='as "memory.high"')
        if controller == "cgroup" and file not in _UNIFIED_CGROUP:
            raise SpecError(
                "is what the container itself is managed by", where=where, hint=f"of those {', '.join(_UNIFIED_CGROUP)}"
            )
        found += [Setting(file, line, f"unified.{file}") for line in value.split("\n") if line]
    return found
