"""Why systemd has made no scope, and what to do."""

from __future__ import annotations

import errno

from sandbox.kernel.probe.finding import UNKNOWN, Cause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CALL = "StartTransientUnit"
"""The call that is named where systemd itself has refused, in words of its own."""

_ANSWERS = (
    ("UnitExists", "choose another name, or end what has that one: systemctl --user stop {unit}"),
    ("LimitsExceeded", "end some of your units (systemctl --user), or restart your manager: log out and in"),
    ("AccessDenied", "log in anew; from a container around us systemd cannot be asked"),
    ("job: ", "see what it says: journalctl --user -u {unit}"),
)


def why_not(op: Any, call: str, number: int, subject: str) -> Cause:
    """Return why the scope of `op` is not there: `call` failed with errno `number`, or systemd answered `subject`."""
    if call == CALL:
        for answer, cure in _ANSWERS:
            if answer in subject:
                return Cause(cure=cure.format(unit=op.unit))
        return UNKNOWN
    if number == errno.ETIMEDOUT:
        return Cause(
            why=f"your user manager has not answered within {op.milliseconds // 1000} s",
            cure="see whether it runs: systemctl --user status",
        )
    if number in (errno.ECONNREFUSED, errno.ENOENT, errno.EPIPE, errno.ECONNRESET) and call in (
        "connect",
        "recvmsg",
        "sendmsg",
    ):
        return Cause(why="your user manager, or its bus, has ended", cure="log in anew, or: loginctl enable-linger")
    if number == errno.EPROTO:
        return Cause(why="what is behind that socket does not speak D-Bus", cure="see who listens there: ss -xlp")
    if call == "cgroup" and number == errno.ENOENT:
        return Cause(why="systemd says that it is there, and has not moved the process to it")
    return UNKNOWN
