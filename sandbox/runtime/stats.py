"""What a container uses: the files of its cgroup in the shape of runc's `events --stats`.

That shape is of cgroup v1; what cgroup v2 has no number for is absent or 0, as with runc.
"""

from __future__ import annotations

import os

from sandbox.kernel import cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NotRequired, TypedDict

    class Pressure(TypedDict):
        """A line of a pressure file, accounting/psi.rst: per cent of the last 10, 60 and 300 s, and microseconds."""

        avg10: float
        avg60: float
        avg300: float
        total: int

    class Psi(TypedDict):
        some: NotRequired[Pressure]
        full: NotRequired[Pressure]

    class CpuUsage(TypedDict):
        """In nanoseconds."""

        total: NotRequired[int]
        kernel: int
        user: int

    class Throttling(TypedDict):
        periods: NotRequired[int]
        throttledPeriods: NotRequired[int]
        throttledTime: NotRequired[int]  # in nanoseconds

    class Cpu(TypedDict):
        usage: CpuUsage
        throttling: Throttling
        psi: NotRequired[Psi]

    class MemoryEntry(TypedDict):
        """In bytes; no limit is 2^64-1."""

        limit: int
        usage: NotRequired[int]
        max: NotRequired[int]
        failcnt: int

    class Memory(TypedDict):
        cache: NotRequired[int]
        usage: MemoryEntry
        swap: MemoryEntry  # with the memory, as in cgroup v1
        kernel: MemoryEntry
        kernelTCP: MemoryEntry
        raw: NotRequired[dict[str, int]]  # memory.stat
        psi: NotRequired[Psi]

    class Pids(TypedDict):
        current: NotRequired[int]
        limit: NotRequired[int]

    class BlkioEntry(TypedDict):
        major: NotRequired[int]
        minor: NotRequired[int]
        op: NotRequired[str]
        value: NotRequired[int]

    class Blkio(TypedDict):
        ioServiceBytesRecursive: NotRequired[list[BlkioEntry]]
        ioServicedRecursive: NotRequired[list[BlkioEntry]]
        psi: NotRequired[Psi]

    class Hugetlb(TypedDict):
        usage: NotRequired[int]
        max: NotRequired[int]
        failcnt: int

    class Stats(TypedDict):
        """What a container uses; `data` of runc's events of the type "stats"."""

        cpu: Cpu
        cpuset: dict[str, int]
        memory: Memory
        pids: Pids
        blkio: Blkio
        hugetlb: dict[str, Hugetlb]
        intel_rdt: dict[str, Any]
        network_interfaces: None


if not TYPE_CHECKING:
    Stats = dict  # of the shape above

_UNLIMITED = 2**64 - 1
_CPUSET = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)
_IO = {"rbytes": (0, "Read"), "wbytes": (0, "Write"), "rios": (1, "Read"), "wios": (1, "Write")}


def read_stats(directory: str) -> Stats:
    """Return what the cgroup at `directory` uses; a controller that is not there counts nothing."""
    cpu = cgroup.table(directory, "cpu.stat")
    return {
        "cpu": _with_psi(
            {
                "usage": {
                    **_present(total=cpu.get("usage_usec", 0) * 1000),
                    "kernel": cpu.get("system_usec", 0) * 1000,
                    "user": cpu.get("user_usec", 0) * 1000,
                },
                "throttling": _present(
                    periods=cpu.get("nr_periods", 0),
                    throttledPeriods=cpu.get("nr_throttled", 0),
                    throttledTime=cpu.get("throttled_usec", 0) * 1000,
                ),
            },
            directory,
            "cpu.pressure",
        ),
        "cpuset": dict.fromkeys(_CPUSET, 0),
        "memory": _memory(directory),
        "pids": _pids(directory),
        "blkio": _blkio(directory),
        "hugetlb": _hugetlb(directory),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _present(**members: Any) -> Any:
    """Return the members that are not 0 or empty: Go's `omitempty`."""
    return {name: value for name, value in members.items() if value}


def _number(directory: str, name: str) -> int:
    """Return the number in a file, 2^64-1 for "max", 0 where it is absent."""
    try:
        text = cgroup.read(directory, name).strip()
    except OSError:
        return 0
    if text == "max":
        return _UNLIMITED
    return int(text) if text.isdigit() else 0


def _entry(limit: int = 0, usage: int = 0, largest: int = 0, failures: int = 0) -> MemoryEntry:
    entry: Any = {"limit": limit, **_present(usage=usage, max=largest), "failcnt": failures}
    return entry  # type: ignore[no-any-return]


def _memory(directory: str) -> Memory:
    raw = cgroup.table(directory, "memory.stat")
    usage, limit = _number(directory, "memory.current"), _number(directory, "memory.max")
    swap_usage, swap_limit = _number(directory, "memory.swap.current"), _number(directory, "memory.swap.max")
    if swap_limit != _UNLIMITED:
        swap_limit = min(swap_limit + limit, _UNLIMITED)
    events = cgroup.table(directory, "memory.events")
    memory: Any = {
        **_present(cache=raw.get("file", 0)),
        "usage": _entry(limit, usage, _number(directory, "memory.peak"), events.get("max", 0)),
        "swap": _entry(swap_limit, usage + swap_usage if raw else 0, _number(directory, "memory.swap.peak")),
        "kernel": _entry(),
        "kernelTCP": _entry(),
        **_present(raw=raw),
    }
    return _with_psi(memory, directory, "memory.pressure")  # type: ignore[no-any-return]


def _pids(directory: str) -> Pids:
    current = _number(directory, "pids.current")
    if not os.path.exists(f"{directory}/pids.current"):
        current = len(cgroup.processes(directory))
    limit = _number(directory, "pids.max")
    return _present(current=current, limit=0 if limit == _UNLIMITED else limit)  # type: ignore[no-any-return]


def _blkio(directory: str) -> Blkio:
    tables: tuple[list[BlkioEntry], list[BlkioEntry]] = ([], [])
    try:
        lines = cgroup.read(directory, "io.stat").splitlines()
    except OSError:
        lines = []
    for line in lines:
        device, *items = line.split()
        major, _, minor = device.partition(":")
        if not major.isdigit() or not minor.isdigit():
            continue
        for item in items:
            key, _, value = item.partition("=")
            if key in _IO and value.isdigit():
                number, operation = _IO[key]
                tables[number].append(_present(major=int(major), minor=int(minor), op=operation, value=int(value)))
    blkio = _present(ioServiceBytesRecursive=tables[0], ioServicedRecursive=tables[1])
    return _with_psi(blkio, directory, "io.pressure")  # type: ignore[no-any-return]


def _hugetlb(directory: str) -> dict[str, Hugetlb]:
    try:
        names = os.listdir(directory)
    except OSError:
        return {}
    sizes = sorted(
        name.split(".")[1]
        for name in names
        if name.startswith("hugetlb.") and name.endswith(".current") and name.count(".") == 2
    )
    counted: Any = {
        size: {
            **_present(usage=_number(directory, f"hugetlb.{size}.current")),
            "failcnt": cgroup.table(directory, f"hugetlb.{size}.events").get("max", 0),
        }
        for size in sizes
    }
    return counted  # type: ignore[no-any-return]


def _with_psi(part: Any, directory: str, name: str) -> Any:
    """Add what a pressure file says, where the kernel keeps one."""
    try:
        lines = cgroup.read(directory, name).splitlines()
    except OSError:
        return part
    psi: dict[str, dict[str, float]] = {}
    for line in lines:
        kind, *pairs = line.split()
        values = dict(pair.split("=") for pair in pairs)
        psi[kind] = {key: _shortest(value) for key, value in values.items()}
    if psi:
        part["psi"] = psi
    return part


def _shortest(text: str) -> float:
    """Return a number as Go prints it: without a fraction of 0."""
    number = float(text)
    return int(number) if number.is_integer() else number
