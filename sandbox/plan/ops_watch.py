"""The operations that the monitor has to do with while the command runs; part of the instruction set (`ops.py`)."""

from __future__ import annotations

from sandbox.plan.op import MONITOR, U32, U64, Blob, Op, Text, Texts, op


@op(0x50, MONITOR)
class TimeLimit(Op):
    """Ask everything inside to end after `milliseconds`, counted from the command's start, kill it `grace` later, and
    say `text`."""

    milliseconds: U64
    grace: U64
    text: Text


@op(0x51, MONITOR)
class Report(Op):
    """Write a report of the run to `path`; where that fails at the end, say `failure`.

    With an empty `path` none is written: it is for whoever keeps the result.  `record` is JSON without its braces: the
    members that are known beforehand.
    """

    path: Text
    record: Text
    failure: Text


@op(0x52, MONITOR)
class Keep(Op):
    """Run detached: hold the streams, keep a log of at most `log_size` bytes, and at the end a result, unless `remove`.

    What is in the result is in the plan as that of a report.  `failure` are the words for an end of which nobody knows.  With
    `interactive` those who are attached write to the command's stdin.
    """

    log_size: U64
    failure: Text
    interactive: U32 = 0
    remove: U32 = 0


@op(0x53, MONITOR)
class MemoryLimit(Op):
    """When memory has run out in the sandbox's cgroup, say `text`; `limit` is its memory.max, 0 without one of ours.

    `changed` is said where that is another one by then, `inside` where it was one that was set inside, `outside` where it was none
    of the sandbox's.
    """

    limit: U64
    text: Text
    changed: Text
    inside: Text
    outside: Text


@op(0x54, MONITOR)
class Samples(Op):
    """Look every `interval` milliseconds what the sandbox uses, and write a page of that and the report to `path`.

    Where that fails at the end, say `failure`.  After `most` of them every second one is dropped, and the interval doubles.
    """

    interval: U32
    most: U32
    path: Text
    failure: Text


@op(0x55, MONITOR)
class Readiness(Op):
    """Let the service manager hear of the sandbox as `mode` (ReadinessMode) says, where NOTIFY_SOCKET is set, sd_notify(3).

    Without it: START, for the process that the service manager has started itself ($SYSTEMD_EXEC_PID), and else NONE.
    """

    mode: U32


@op(0x56, MONITOR)
class Companion(Op):
    """Run `path` beside the sandbox for as long as that runs, in its user namespace, with the name `staging`/net for its
    network namespace.

    It is ready when it has written to the descriptor `ready_fd`, or, with 0, when it has gone into the background: that is
    when the process that was made ends with 0.  If it ends before the sandbox, say `lost`.
    """

    path: Text
    arguments: Texts
    staging: Text  # a host directory, over which something empty is laid for it
    covered: Texts = ()  # … as over these, so far as they are there
    ready_fd: U32 = 0
    lost: Text = ""
    # Ports that nobody may have at any address: the first and the last as u16, and as u32 whether they are UDP's.
    claimed: Blob = b""
