"""What `[limits]` of a profile may say; the rest is in `sandbox.profile.schema`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class RlimitPair(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A soft and a hard limit."""

    soft: Annotated[int | Literal["unlimited"], Meta(description="In force; the command may raise it up to `hard`.")]
    hard: Annotated[int | Literal["unlimited"], Meta(description="Cannot be raised.")]


class IoLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be done with one disk, per second."""

    read: Annotated[int | str | None, Meta(description="Bytes.")] = None
    write: Annotated[int | str | None, Meta(description="Bytes.")] = None
    read_ops: Annotated[int | str | None, Meta(description="Operations.")] = None
    write_ops: Annotated[int | str | None, Meta(description="Operations.")] = None


class LimitsSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much the command may use.

    What all processes use together is counted, and held, by a cgroup of the sandbox's own; `docs/limits.md` says where that is,
    and what has to be delegated to you for it. A limit that cannot be had is a warning with cause and cure, with `strict` an
    error; one with a leading `?`, as in `"?2G"`, is put in force where it can be had, and only `strict` minds where not.
    """

    rlimits: Annotated[
        dict[str, int | Literal["unlimited"] | RlimitPair],
        Meta(
            description="Limits of each process, by their names in setrlimit(2), in lower case and without `RLIMIT_`; "
            'a number, `"unlimited"`, or `{ soft = …, hard = … }`.',
            examples=["rlimits = { nofile = 4096, core = { soft = 0, hard = 0 } }"],
        ),
    ] = {}
    memory: Annotated[
        int | str | None,
        Meta(
            description="Memory of all processes together, and of the files that they have read and written as far "
            "as it is kept in memory: bytes, or with `K`, `M`, `G`, `T` (powers of 1024), or `%` of the "
            "machine's. Where it does not suffice, the sandbox ends, with exit status 137.",
            examples=['memory = "2G"', 'memory = "?80%"'],
        ),
    ] = None
    memory_high: Annotated[
        int | str | None,
        Meta(
            description="Above this much memory the processes are slowed down while the kernel takes from them what "
            "it can; nothing is ended.",
            examples=['memory_high = "1500M"'],
        ),
    ] = None
    memory_low: Annotated[
        int | str | None,
        Meta(
            description="So much memory is taken from others first. It holds as far as the cgroups above give it.",
            examples=['memory_low = "256M"'],
        ),
    ] = None
    memory_min: Annotated[
        int | str | None,
        Meta(
            description="So much memory is never taken away, and others are ended for want of it. As far as the "
            "cgroups above give it.",
            examples=['memory_min = "64M"'],
        ),
    ] = None
    swap: Annotated[
        int | str | None,
        Meta(
            description="Swap of all processes, beside the memory; 0 for none. Without it as much as there is: then "
            "`memory` makes a program that grows slow before it ends it.",
            examples=["swap = 0", 'swap = "1G"'],
        ),
    ] = None
    oom_group: Annotated[
        bool | None,
        Meta(
            description="Where `memory` does not suffice the whole sandbox ends, rather than the one process that "
            "the kernel chooses. Default: true.",
            examples=["oom_group = false"],
        ),
    ] = None
    cpus: Annotated[
        float | str | None,
        Meta(
            description="Processors' worth of time, in each tenth of a second; who has used it up waits for the next.",
            examples=["cpus = 1.5"],
        ),
    ] = None
    cpu_weight: Annotated[
        int | str | None,
        Meta(
            description="The share of the processors where others want them too: 1 to 10000; who says nothing has 100.",
            examples=["cpu_weight = 20"],
        ),
    ] = None
    cpuset: Annotated[
        str | None,
        Meta(description="The processors that may be used.", examples=['cpuset = "0-3,6"']),
    ] = None
    cpuset_mems: Annotated[
        str | None,
        Meta(
            description="The nodes of memory that may be used, on machines with several.",
            examples=['cpuset_mems = "0"'],
        ),
    ] = None
    pids: Annotated[
        int | str | None,
        Meta(
            description="Processes and threads together; our own process 1 is one of them. More cannot be made: fork "
            "fails.",
            examples=["pids = 512"],
        ),
    ] = None
    io_weight: Annotated[
        int | str | None,
        Meta(
            description="The share of the disks where others want them too: 1 to 10000; who says nothing has 100.",
            examples=["io_weight = 20"],
        ),
    ] = None
    io: Annotated[
        dict[str, IoLimit],
        Meta(
            description="Bytes (`read`, `write`) and operations (`read_ops`, `write_ops`) per second, of the disk "
            "that the path is or lies on. What is written by way of the page cache counts when it "
            "reaches the disk.",
            examples=['io = { "/" = { read = "50M", write = "10M" }, "/dev/sdb" = { write_ops = 100 } }'],
        ),
    ] = {}
    hugepages: Annotated[
        dict[str, int | str],
        Meta(
            description="Memory in huge pages, by their size; those that are reserved count too.",
            examples=['hugepages = { "2MB" = "64M", "1GB" = 0 }'],
        ),
    ] = {}
    unified: Annotated[
        dict[str, str],
        Meta(
            description="Other files of cgroup v2, as they are written: Documentation/admin-guide/cgroup-v2.rst.",
            examples=['unified = { "memory.zswap.max" = "0" }'],
        ),
    ] = {}
    timeout: Annotated[
        int | float | str | None,
        Meta(
            description="End the command after this time, counted from its start: seconds, or with `ms`, `s`, `m`, "
            "`h`, `d`. Everything inside gets SIGTERM, and the exit status is 124. While you have "
            "stopped the sandbox (Ctrl-Z), or the machine sleeps, the clock stands.",
            examples=['timeout = "90s"'],
        ),
    ] = None
    timeout_grace: Annotated[
        int | float | str | None,
        Meta(
            description="What is left inside this time after `timeout` is killed. Default: 10 seconds.",
            examples=['timeout_grace = "2s"'],
        ),
    ] = None
    strict: Annotated[
        bool | None,
        Meta(
            description="A limit that cannot be had is an error, rather than a warning. Default: false.",
            examples=["strict = true"],
        ),
    ] = None
