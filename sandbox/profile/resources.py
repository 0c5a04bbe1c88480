"""What all processes may use together: from `[limits]` to `linux.resources`, and `unified` for what that has no word for."""

from __future__ import annotations

import os
import re
from typing import Any

from sandbox.errors import HostError, ProfileError
from sandbox.kernel.block import whole_device
from sandbox.plan.inputs import Inputs
from sandbox.profile.limits import SHARED, size
from sandbox.profile.load import Layered
from sandbox.profile.paths import Vocabulary
from sandbox.spec.runtime import (
    BlockIo,
    CpuResources,
    HugepageLimit,
    MemoryResources,
    PidsResources,
    Resources,
    ThrottleDevice,
)

CPU_PERIOD = 100_000  # microseconds, the kernel's own default
LEAST = 1 << 20  # bytes: a shell and our process 1 have more
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_THROTTLES = {
    "read": ("throttle_read_bps_device", "throttleReadBpsDevice"),
    "write": ("throttle_write_bps_device", "throttleWriteBpsDevice"),
    "read_ops": ("throttle_read_iops_device", "throttleReadIOPSDevice"),
    "write_ops": ("throttle_write_iops_device", "throttleWriteIOPSDevice"),
}


class Shared:
    """The limits on all processes together, with where each was written, and which are no matter."""

    def __init__(self) -> None:
        self.resources = Resources()
        self.origins: dict[str, str] = {}  # place below linux.resources: where it was written
        self.optional: list[str] = []  # places of which nothing is said where they cannot be had


def shared(layered: Layered, vocabulary: Vocabulary, inputs: Inputs) -> Shared | None:
    """Return the limits on all processes together, None if there are none.  Raises ProfileError."""
    limits = layered.profile.limits
    if not any(getattr(limits, key) not in (None, {}) for key in SHARED):
        return None
    reader = _Reader(layered)
    reader.memory()
    reader.cpu()
    reader.counts()
    reader.io(vocabulary, inputs)
    reader.raw()
    return reader.found


# --- values, which a leading "?" makes optional ---


def plain(value: float | str) -> tuple[float | str, bool]:
    """Return a value without its "?", and whether it had one."""
    if isinstance(value, str) and value.startswith("?"):
        return value[1:].strip(), True
    return value, False


def memory_size(value: float | str, where: str) -> int:
    """Return bytes, of a share of the machine's memory too.  Raises ProfileError."""
    bare, _ = plain(value)
    match = _PERCENT.fullmatch(str(bare).strip())
    if match is None:
        return size(bare, where)  # type: ignore[arg-type]  # a float is no size, and refused
    share = float(match[1])
    if not 0 < share <= 100:
        raise ProfileError(f'"{bare}" is no share', where=where, hint='write "80%"')
    return int(os.sysconf("SC_PHYS_PAGES") * share / 100) * os.sysconf("SC_PAGE_SIZE")


def _enough(count: int, where: str) -> int:
    """Refuse what nothing runs in: more was meant.  Raises ProfileError."""
    if count < LEAST:
        raise ProfileError(f"{count} bytes are too little memory to run in", where=where, hint='write "512M" or "2G"')
    return count


def swap_size(value: float | str, where: str) -> int:
    """Return bytes, or 0.  Raises ProfileError."""
    bare, _ = plain(value)
    return 0 if str(bare).strip() == "0" else memory_size(bare, where)


def processors(value: float | str, where: str) -> float:
    """Return a number of processors.  Raises ProfileError."""
    bare, _ = plain(value)
    try:
        count = float(bare)
    except ValueError:
        count = 0.0
    if not 0.01 <= count <= 10_000:
        raise ProfileError(f"{bare} is not a number of processors", where=where, hint="write 0.5 or 2")
    return count


def weight(value: float | str, where: str) -> int:
    """Return 1 to 10000.  Raises ProfileError."""
    count = _count(value)
    if not 1 <= count <= 10_000:
        raise ProfileError(f"{value} is not a weight", where=where, hint="write 1 to 10000; others have 100")
    return count


def processes(value: float | str, where: str) -> int:
    """Return a number of processes.  Raises ProfileError."""
    count = _count(value)
    if not 1 <= count < 2**63:
        raise ProfileError(
            f"{value} is too few processes" if count == 0 else f"{value} is not a number of processes",
            where=where,
            hint="write 1 or more",
        )
    return count


def operations(value: float | str, where: str) -> int:
    """Return a number of operations per second.  Raises ProfileError."""
    count = _count(value)
    if not 1 <= count < 2**63:
        raise ProfileError(f"{value} is not a number of operations", where=where, hint="write 100")
    return count


def numbers(value: str, where: str) -> frozenset[int]:
    """Return the numbers of a list as "0-3,6".  Raises ProfileError."""
    bare = str(plain(value)[0])
    if not _CPUSET.fullmatch(bare) or len(bare) > 4000:
        raise ProfileError(f'"{bare}" is no list of numbers', where=where, hint='write "0-3,6"')
    found: set[int] = set()
    for part in bare.split(","):
        first, _, last = part.partition("-")
        if int(last or first) < int(first) or int(last or first) > 65535:
            raise ProfileError(f'"{part}" is no range', where=where, hint='write "0-3,6"')
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _count(value: float | str) -> int:
    bare = str(plain(value)[0])
    return int(bare) if bare.isascii() and bare.isdigit() and len(bare) < 20 else -1


# --- the parts ---


class _Reader:
    def __init__(self, layered: Layered) -> None:
        self.layered = layered
        self.limits = layered.profile.limits
        self.found = Shared()

    def note(self, place: str, key: str, *further: str) -> None:
        """Note where what is asked for at `place` was written."""
        self.found.origins[place] = self.layered.origin("limits", key, *further).text
        value: Any = getattr(self.limits, key)
        for name in further:
            value = value[name] if isinstance(value, dict) else getattr(value, name)
        if isinstance(value, str) and value.startswith("?"):
            self.found.optional.append(place)

    def where(self, key: str, *further: str) -> str:
        return self.layered.origin("limits", key, *further).text

    def unified(self, file: str, value: object, key: str) -> None:
        """Ask for what the specification has no word for."""
        self.found.resources.unified[file] = str(value)
        self.note(f"unified.{file}", key)

    def memory(self) -> None:
        limits, result = self.limits, self.found.resources
        memory = MemoryResources()
        if limits.memory is not None:
            memory.limit = _enough(memory_size(limits.memory, self.where("memory")), self.where("memory"))
            self.note("memory.limit", "memory")
        if limits.memory_low is not None:
            memory.reservation = memory_size(limits.memory_low, self.where("memory_low"))
            self.note("memory.reservation", "memory_low")
        for key, file in (("memory_high", "memory.high"), ("memory_min", "memory.min")):
            value = getattr(limits, key)
            if value is not None:
                self.unified(file, memory_size(value, self.where(key)), key)
        if limits.swap is not None:
            swap = swap_size(limits.swap, self.where("swap"))
            if memory.limit is None:
                self.unified("memory.swap.max", swap, "swap")
            else:
                memory.swap = memory.limit + swap  # the specification has the sum
                self.note("memory.swap", "swap")
        if memory != MemoryResources():
            result.memory = memory
        if limits.oom_group is not None:
            self.unified("memory.oom.group", int(limits.oom_group), "oom_group")
        elif limits.memory is not None:
            self.unified("memory.oom.group", 1, "memory")

    def cpu(self) -> None:
        limits = self.limits
        cpu = CpuResources()
        if limits.cpus is not None:
            cpu.quota, cpu.period = int(processors(limits.cpus, self.where("cpus")) * CPU_PERIOD), CPU_PERIOD
            self.note("cpu.quota", "cpus")
        for key, name in (("cpuset", "cpus"), ("cpuset_mems", "mems")):
            value = getattr(limits, key)
            if value is not None:
                numbers(value, self.where(key))
                setattr(cpu, name, plain(value)[0])
                self.note(f"cpu.{name}", key)
        if cpu != CpuResources():
            self.found.resources.cpu = cpu
        # The specification's shares are cgroup v1's, and runtimes differ in what they make of them.
        if limits.cpu_weight is not None:
            self.unified("cpu.weight", weight(limits.cpu_weight, self.where("cpu_weight")), "cpu_weight")

    def counts(self) -> None:
        limits, result = self.limits, self.found.resources
        if limits.pids is not None:
            result.pids = PidsResources(limit=processes(limits.pids, self.where("pids")))
            self.note("pids.limit", "pids")
        for page, value in limits.hugepages.items():
            where = self.where("hugepages", page)
            if not re.fullmatch(r"\d+[KMG]B", page):
                raise ProfileError(f'"{page}" is no size of pages', where=where, hint='write "2MB" or "1GB"')
            self.note(f"hugepageLimits[{len(result.hugepage_limits)}]", "hugepages", page)
            result.hugepage_limits.append(HugepageLimit(page_size=page, limit=swap_size(value, where)))

    def io(self, vocabulary: Vocabulary, inputs: Inputs) -> None:
        limits = self.limits
        if limits.io_weight is not None:
            self.unified("io.weight", weight(limits.io_weight, self.where("io_weight")), "io_weight")
        result = BlockIo()
        for (key, device), (rate, path) in self._rates(vocabulary, inputs).items():
            field, member = _THROTTLES[key]
            devices: list[ThrottleDevice] = getattr(result, field)
            self.note(f"blockIO.{member}[{len(devices)}]", "io", path, key)
            devices.append(ThrottleDevice(major=device[0], minor=device[1], rate=rate))
        if result != BlockIo():
            self.found.resources.block_io = result

    def _rates(self, vocabulary: Vocabulary, inputs: Inputs) -> dict[tuple[str, tuple[int, int]], tuple[int, str]]:
        """Return the rate of each kind and disk, and the path with which it was written.

        Of several paths on one disk the least counts: otherwise who adds a path, as a project may, would lift a limit.
        """
        found: dict[tuple[str, tuple[int, int]], tuple[int, str]] = {}
        for path, limit in self.limits.io.items():
            origin = self.layered.origin("limits", "io", path)
            try:
                device = whole_device(vocabulary.single(path, origin), inputs)
            except HostError as error:
                raise ProfileError(error.reason, where=origin.text, hint=error.hint) from error
            for key in _THROTTLES:
                value = getattr(limit, key)
                if value is None:
                    continue
                where = self.where("io", path, key)
                rate = operations(value, where) if key.endswith("_ops") else size(plain(value)[0], where)  # type: ignore[arg-type]
                if (key, device) not in found or rate < found[key, device][0]:
                    found[key, device] = rate, path
        return found

    def raw(self) -> None:
        for file, value in self.limits.unified.items():
            where = self.where("unified", file)
            if file in self.found.resources.unified and where != self.found.origins[f"unified.{file}"]:
                other = self.found.origins[f"unified.{file}"]
                # What follows from another key by default gives way.
                if file != "memory.oom.group" or self.limits.oom_group is not None:
                    raise ProfileError(
                        f"{file} is what {other} says already", where=where, hint="leave out one of the two"
                    )
            self.found.resources.unified[file] = value
            self.found.origins[f"unified.{file}"] = where
