"""`linux.resources` becomes files of cgroup v2, by the conversions that crun(1) documents."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sandbox.errors import SpecError
from sandbox.lower.resources import CONTROLLERS, cpu_weight, io_weight, settings
from sandbox.spec.runtime import Resources


def written(document: dict[str, Any], *, bfq: bool = False) -> list[str]:
    resources = msgspec.convert(document, Resources)
    return [str(setting) for setting in settings(resources, lambda place: f"resources.{place}", bfq=bfq)]


WRITTEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "nulls of engines": (
        {"memory": {"limit": 0, "swap": 0, "kernel": -1, "disableOOMKiller": False}, "cpu": {"shares": 0, "period": 0}},
        [],
    ),
    "a network that says nothing": ({"network": {}, "pids": {"limit": 0}}, []),
    "memory": ({"memory": {"limit": 100, "reservation": 50}}, ["memory.max=100", "memory.low=50"]),
    "memory and swap": ({"memory": {"limit": 100, "swap": 300}}, ["memory.swap.max=200", "memory.max=100"]),
    "no swap": ({"memory": {"limit": 100, "swap": 100}}, ["memory.swap.max=0", "memory.max=100"]),
    "swap without end": ({"memory": {"limit": 100, "swap": -1}}, ["memory.swap.max=max", "memory.max=100"]),
    "no limit at all": ({"memory": {"limit": -1}}, ["memory.swap.max=max", "memory.max=max"]),
    "a hierarchy, as always": ({"memory": {"useHierarchy": True}}, []),
    "processors": (
        {"cpu": {"shares": 1024, "quota": 50000, "period": 200000, "burst": 10, "cpus": "0-1", "mems": "0"}},
        ["cpu.weight=39", "cpu.max=50000 200000", "cpu.max.burst=10", "cpuset.cpus=0-1", "cpuset.mems=0"],
    ),
    "a quota alone": ({"cpu": {"quota": 50000}}, ["cpu.max=50000 100000"]),
    "no quota": ({"cpu": {"quota": -1, "period": 1000}}, ["cpu.max=max 1000"]),
    "idle": ({"cpu": {"idle": 1}}, ["cpu.idle=1"]),
    "not idle": ({"cpu": {"idle": 0, "shares": 2}}, ["cpu.weight=1", "cpu.idle=0"]),
    "processes": ({"pids": {"limit": 7}}, ["pids.max=7"]),
    "any processes": ({"pids": {"limit": -1}}, ["pids.max=max"]),
    "block devices": (
        {
            "blockIO": {
                "weight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 16, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
            }
        },
        [
            "io.weight=1",
            "io.weight=8:0 10000",
            "io.max=8:0 rbps=1",
            "io.max=8:0 wbps=2",
            "io.max=8:16 riops=3",
            "io.max=8:16 wiops=max",
        ],
    ),
    "huge pages": (
        {"hugepageLimits": [{"pageSize": "1GB", "limit": 2**63}]},
        [f"hugetlb.1GB.max={2**63}", f"hugetlb.1GB.rsvd.max={2**63}"],
    ),
    "RDMA": (
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "rxe3": {"hcaObjects": 0}}},
        ["rdma.max=mlx5_1 hca_handle=3 hca_object=10", "rdma.max=rxe3 hca_object=0"],
    ),
    "files of their own": (
        {"unified": {"memory.high": "5", "io.max": "8:0 wbps=1\n8:16 wbps=2\n", "cgroup.max.depth": "3"}},
        ["memory.high=5", "io.max=8:0 wbps=1", "io.max=8:16 wbps=2", "cgroup.max.depth=3"],
    ),
    "files come last": ({"unified": {"pids.max": "1"}, "pids": {"limit": 9}}, ["pids.max=9", "pids.max=1"]),
}


@pytest.mark.parametrize("document, expected", WRITTEN.values(), ids=WRITTEN.keys())
def test_what_is_written(document: dict[str, Any], expected: list[str]) -> None:
    assert written(document) == expected


def test_a_weight_may_be_the_scheduler_s() -> None:
    weights = {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 20}]}

    assert written({"blockIO": weights}, bfq=True) == ["io.bfq.weight=500", "io.bfq.weight=8:0 20"]


def test_the_scales() -> None:
    assert [cpu_weight(shares) for shares in (1, 2, 1024, 262144, 10**9)] == [1, 1, 39, 10000, 10000]
    assert [io_weight(weight) for weight in (10, 100, 1000)] == [1, 910, 10000]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "swap without memory": ({"memory": {"swap": 5}}, r"resources\.memory\.swap: needs a limit"),
    "less swap than memory": ({"memory": {"limit": 5, "swap": 4}}, r"resources\.memory\.swap: 4 is less"),
    "the kernel's memory": ({"memory": {"kernel": 5}}, r"resources\.memory\.kernel:"),
    "the kernel's TCP memory": ({"memory": {"kernelTCP": 5}}, r"resources\.memory\.kernelTCP:"),
    "swappiness": ({"memory": {"swappiness": 0}}, r"resources\.memory\.swappiness:"),
    "no OOM killer": ({"memory": {"disableOOMKiller": True}}, r"resources\.memory\.disableOOMKiller:"),
    "no hierarchy": ({"memory": {"useHierarchy": False}}, r"resources\.memory\.useHierarchy:"),
    "real time": ({"cpu": {"realtimeRuntime": 5}}, r"resources\.cpu\.realtimeRuntime:"),
    "a period of real time": ({"cpu": {"realtimePeriod": 5}}, r"resources\.cpu\.realtimePeriod:"),
    "idle with shares": ({"cpu": {"idle": 1, "shares": 5}}, r"resources\.cpu\.idle: who is idle"),
    "idle as what": ({"cpu": {"idle": 2}}, r"resources\.cpu\.idle: 2"),
    "a burst beyond the quota": ({"cpu": {"quota": 5, "burst": 6}}, r"resources\.cpu\.burst:"),
    "a weight": ({"blockIO": {"weight": 5}}, r"resources\.blockIO\.weight: 5 is not 10 to 1000"),
    "a leaf's weight": ({"blockIO": {"leafWeight": 50}}, r"resources\.blockIO\.leafWeight:"),
    "a leaf's weight of a device": (
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 50}]}},
        r"resources\.blockIO\.weightDevice\[0\]\.leafWeight:",
    ),
    "a size of pages": ({"hugepageLimits": [{"pageSize": "2mb", "limit": 1}]}, r"hugepageLimits\[0\]\.pageSize"),
    "a path of pages": ({"hugepageLimits": [{"pageSize": "/../2MB", "limit": 1}]}, r"hugepageLimits\[0\]\.pageSize"),
    "a class of packets": ({"network": {"classID": 1}}, r"resources\.network:"),
    "priorities of packets": ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, r"resources\.network:"),
    "RDMA of nothing": ({"rdma": {"mlx5_1": {}}}, r"resources\.rdma\.mlx5_1:"),
    "a file elsewhere": ({"unified": {"../x.y": "1"}}, "is no file of a controller"),
    "a file with a value in its name": ({"unified": {"memory.max=1": "1"}}, "is no file of a controller"),
    "a file without a controller": ({"unified": {"memory": "1"}}, "is no file of a controller"),
    "processes into it": ({"unified": {"cgroup.procs": "1"}}, r"unified\.cgroup\.procs: is what the container"),
    "frozen": ({"unified": {"cgroup.freeze": "1"}}, r"unified\.cgroup\.freeze: is what the container"),
}


@pytest.mark.parametrize("document, names", REFUSED.values(), ids=REFUSED.keys())
def test_what_cgroup_v2_has_not_is_refused_by_name(document: dict[str, Any], names: str) -> None:
    with pytest.raises(SpecError, match=names):
        written(document)


def test_every_setting_is_a_known_controller_s() -> None:
    settings_of_all = [line for document, lines in WRITTEN.values() for line in lines]

    assert {line.partition(".")[0] for line in settings_of_all} == {*CONTROLLERS, "cgroup"}
