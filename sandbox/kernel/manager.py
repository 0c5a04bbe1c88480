"""The door to the user's service manager, `systemd --user`, over D-Bus: org.freedesktop.systemd1(5).

A scope, systemd.scope(5), is asked for by nsinit, which knows no D-Bus: all that is to be said is put together here
(`conversation`), and nsinit fills in the numbers of processes.  jeepney costs 15 ms: it is imported by what talks, never
by a start that has a kept plan.
"""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from sandbox.plan.inputs import Inputs

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
"""Those that systemd hands down to who has `Delegate=`, if it has them itself."""

ANSWER_SECONDS = 5.0
SCOPE_SECONDS = 25.0  # as long as D-Bus waits for an answer

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
# Who we are is the socket's to say: in a user namespace our own number would be another one (sd-bus does so too).
_GREETING = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"
_ANSWER_MAX = 1 << 16


class Manager:
    """A user manager that has answered."""

    __slots__ = ("address", "cgroup")

    def __init__(self, address: str, cgroup: str) -> None:
        self.address = address  # the path of its bus's socket
        self.cgroup = cgroup  # its own, from the hierarchy's root: "/user.slice/…"


class NoManager(Exception):  # noqa: N818 (what it says)
    """There is no user manager, or it does not answer; says why, and `cure` what to do."""

    def __init__(self, why: str, cure: str = "") -> None:
        super().__init__(why)
        self.cure = cure


# --- where it is ---


def addresses(inputs: Inputs) -> Iterator[str]:
    """Yield the paths at which the socket of the user's bus may be; what is looked at is written down."""
    runtime = inputs.variable("XDG_RUNTIME_DIR")
    if runtime and runtime.startswith("/"):
        yield f"{runtime.rstrip('/')}/bus"
    yield from _paths(inputs.variable("DBUS_SESSION_BUS_ADDRESS") or "")
    yield f"/run/user/{os.geteuid()}/bus"


def _paths(addresses: str) -> Iterator[str]:
    """Yield the paths in a list of addresses; D-Bus specification, "Server Addresses"."""
    for address in addresses.split(";"):
        transport, _, rest = address.partition(":")
        for pair in rest.split(",") if transport == "unix" else ():
            key, _, value = pair.partition("=")
            if key == "path":
                from urllib.parse import unquote  # late: for what is rarely there

                yield unquote(value, errors="surrogateescape")


def find(inputs: Inputs) -> Manager:
    """Return the user's manager.  Raises NoManager."""
    reasons = []
    seen: list[str] = []
    for address in addresses(inputs):
        if address in seen:
            continue
        seen.append(address)
        try:
            node = inputs.node(address)
        except OSError as error:
            reasons.append(f"{address}: {error.strerror}")
            continue
        if node is None:
            continue
        if not stat.S_ISSOCK(node.st_mode) or node.st_uid != os.geteuid():
            reasons.append(f"{address} is no socket of yours")
            continue
        try:
            return Manager(address, _ask(address))
        except NoManager as error:
            reasons.append(str(error))
            # It may answer the next time, without anything that can be seen having changed.
            inputs.awaited(f"{address}/")
    raise NoManager("; ".join(reasons) or f"there is no {' and no '.join(seen)}", _cure(found=bool(reasons)))


def _cure(*, found: bool) -> str:
    """Return what gives the user a manager whose bus is found."""
    if not os.path.isdir("/run/systemd/system"):
        return ""
    user = f"/run/user/{os.geteuid()}"
    if found:
        return "see systemctl --user status"
    if not os.path.isdir(user):
        return "loginctl enable-linger keeps your manager running without a login (cron, services); else log in anew, not by su"
    if not os.path.exists(f"{user}/systemd/private"):
        return "log in anew (ssh, machinectl shell), not by su, or: loginctl enable-linger"
    return "install dbus-user-session, and log in anew"


# --- what it says ---


def _call(serial: int, member: str, signature: str = "", body: tuple[Any, ...] = (), *, to: str = "") -> bytes:
    """Return a method call: of the bus's own, or `to` an interface of the manager's object."""
    from jeepney import DBusAddress, new_method_call  # type: ignore[import-untyped]

    bus = "org.freedesktop.DBus"
    address = DBusAddress(_PATH, _NAME, to) if to else DBusAddress("/org/freedesktop/DBus", bus, bus)
    content: bytes = new_method_call(address, member, signature or None, body).serialise(serial=serial)
    return content


def _ask(address: str) -> str:
    """Return the cgroup of the manager behind the bus.  Raises NoManager."""
    import socket

    call = b"".join(
        (
            _call(1, "Hello"),
            _call(2, "GetConnectionUnixProcessID", "s", (_NAME,)),
            _call(3, "Get", "ss", (_MANAGER, "ControlGroup"), to="org.freedesktop.DBus.Properties"),
        )
    )
    try:
        with socket.socket(socket.AF_UNIX) as bus:
            bus.settimeout(ANSWER_SECONDS)
            bus.connect(address)
            bus.sendall(_GREETING + call)
            answers = _answers(bus, 3, time.monotonic() + ANSWER_SECONDS)
    except TimeoutError:
        raise NoManager(f"{address} does not answer") from None
    except OSError as error:
        raise NoManager(f"{address}: {error.strerror or error}") from error
    try:
        (pid,), ((_, cgroup),) = answers[2], answers[3]
    except (TypeError, ValueError) as error:
        raise NoManager(f"what {address} answers is something else than was asked for") from error
    # What we number, and where we look, has to be what it does: it may be outside of a container that we are in.
    if not isinstance(pid, int) or not isinstance(cgroup, str) or not _is_in(pid, f"{cgroup}/init.scope"):
        raise NoManager(f"the manager behind {address} numbers processes, or sees cgroups, otherwise than we do here")
    return cgroup


def _is_in(pid: int, cgroup: str) -> bool:
    try:
        with open(f"/proc/{pid}/cgroup", errors="surrogateescape") as file:
            return f"0::{cgroup}" in file.read().split("\n")
    except OSError:
        return False


def _answers(bus: Any, count: int, end: float) -> dict[int, tuple[Any, ...]]:
    """Return the bodies of the answers to the calls 1 to `count`, all of which are to be there at `end`.

    Raises NoManager, OSError; TimeoutError is one.
    """
    from jeepney import HeaderFields, MessageType, Parser

    buffer, parser = b"", Parser()
    lines = 2  # DATA, OK
    found: dict[int, tuple[Any, ...]] = {}
    size = 0
    while len(found) < count:
        bus.settimeout(max(0.001, end - time.monotonic()))  # each byte by itself would be in time for hours
        data = bus.recv(4096)
        size += len(data)
        if not data or size > _ANSWER_MAX:
            raise NoManager("the bus ended the conversation")
        buffer += data
        while lines and b"\r\n" in buffer:
            line, _, buffer = buffer.partition(b"\r\n")
            lines -= 1
            if not line.startswith((b"OK ", b"DATA")):
                raise NoManager(f"the bus does not know us: {line[:100]!r}")
        if lines:
            continue
        try:
            parser.add_data(buffer)
            buffer = b""
            while (message := parser.get_next_message()) is not None:
                serial = message.header.fields.get(HeaderFields.reply_serial, 0)
                if message.header.message_type is MessageType.error:
                    raise NoManager(f"the bus: {' '.join(map(str, message.body)) or 'an error'}")
                if message.header.message_type is MessageType.method_return:
                    found[serial] = message.body
        except (ValueError, KeyError, AssertionError, IndexError, TypeError) as error:  # as jeepney says it
            raise NoManager("what the bus says is not D-Bus") from error
    return found


# --- what is said for a scope ---


class Conversation:
    """All that is said to have a scope made; the places in it that are filled in later, 0 for one that is not there."""

    __slots__ = ("content", "id_at", "monitor_at", "pid_at", "serial")

    def __init__(self, content: bytes, serial: int, pid_at: int, monitor_at: int, id_at: int) -> None:
        self.content = content
        self.serial = serial  # of the call whose answer names the job
        self.pid_at = pid_at  # where the number of the first process goes, 4 bytes, little-endian
        self.monitor_at = monitor_at  # … that of its monitor
        self.id_at = id_at  # … a drawn id, in the unit's name


def conversation(
    unit: tuple[str, str, str], properties: Sequence[tuple[str, tuple[str, Any]]], *, with_monitor: bool
) -> Conversation:
    """Return what has the manager make the scope, of the first process, and with it of its monitor.

    The unit's name is given as what is before its drawn id, room for that, and what is behind; without one as one text.
    A property is its name, with its type and value.
    """
    before, drawn, after = unit
    pids = [0, 0] if with_monitor else [0]
    content = _scope_calls(f"{before}{drawn}{after}", properties, pids)

    def place(other: bytes) -> int:
        return next(at for at, (left, right) in enumerate(zip(content, other, strict=True)) if left != right)

    other = [_ANY] * len(pids)
    return Conversation(
        content,
        serial=3,
        pid_at=place(_scope_calls(f"{before}{drawn}{after}", properties, [_ANY, *pids[1:]])),
        monitor_at=place(_scope_calls(f"{before}{drawn}{after}", properties, [0, *other[1:]])) if with_monitor else 0,
        id_at=place(_scope_calls(f"{before}{'-' * len(drawn)}{after}", properties, pids)) if drawn else 0,
    )


_ANY = 0xFFFFFFFF


def _scope_calls(unit: str, properties: Sequence[tuple[str, tuple[str, Any]]], pids: list[int]) -> bytes:
    match = f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='JobRemoved',path='{_PATH}'"
    # "fail": a unit of that name is never taken over.
    body: tuple[Any, ...] = (unit, "fail", [*properties, ("PIDs", ("au", pids))], [])
    return b"".join(
        (
            _GREETING,
            _call(1, "Hello"),
            _call(2, "AddMatch", "s", (match,)),
            _call(3, "StartTransientUnit", "ssa(sv)a(sa(sv))", body, to=_MANAGER),
        )
    )
