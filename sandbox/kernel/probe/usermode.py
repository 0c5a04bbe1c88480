"""Why a user-mode network did not come to be: what its program said, and what this host has to say about it."""

from __future__ import annotations

import errno
import os
import socket
from itertools import pairwise

from sandbox.kernel.probe.finding import UNKNOWN, Cause
from sandbox.kernel.probe.programs import probe_tun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = {"--tcp-ports": socket.SOCK_STREAM, "--udp-ports": socket.SOCK_DGRAM}
_NOISE = ("syslog", "received tapfd", "sent tapfd")
_MOST = 256  # ports that are tried


def explain(op: Any, said: str) -> tuple[str, str, Cause]:
    """Return the program's name, its last words, and why `op` (Companion) failed."""
    name = op.path.rpartition("/")[2]
    lines = [line.strip() for line in said.splitlines() if line.strip() and not any(word in line for word in _NOISE)]
    cause = _port(op) or _tun() or _route(said)
    return name, "; ".join(lines) or "it ended without a word", cause


def _tun() -> Cause:
    found = probe_tun()
    return UNKNOWN if found.state == "ok" else Cause(why=f"{found.name} {found.found}", cure=found.cause.cure)


def _route(said: str) -> Cause:
    if "routable" not in said and "Interface" not in said and "interface" not in said:
        return UNKNOWN
    return Cause(
        why="the host has no route out, and pasta takes its addresses from where that leads",
        cure='see: ip route; without a network outside, mode = "slirp4netns" needs none',
    )


def _port(op: Any) -> Cause:
    """Find a port among the published that somebody else has."""
    words = list(op.arguments)
    for option, value in pairwise(words):
        if option not in _KINDS or value == "none":
            continue
        address, slash, ports = value.rpartition("/")
        first, _, last = ports.partition(":")[0].partition("-")
        for port in range(int(first), min(int(last or first), int(first) + _MOST) + 1):
            number = _try(_KINDS[option], address, port) if slash else _try_any(_KINDS[option], port)
            if number:
                where = f"{address or 'any address'}, port {port}"
                return Cause(why=f"{where}: {os.strerror(number)}", cure=_cure(number, port))
    return UNKNOWN


def _cure(number: int, port: int) -> str:
    if number == errno.EADDRINUSE:
        return f"who has it: ss -lntup 'sport = :{port}'; end that, or publish another port"
    if number == errno.EADDRNOTAVAIL:
        return "the host has no such address: see ip addr"
    return "publish another port"


def _try_any(kind: int, port: int) -> int:
    """Try all addresses of both kinds; of IPv6, which a host need not have, only that somebody has the port counts."""
    number = _try(kind, "", port)
    return number or (errno.EADDRINUSE if _try(kind, "::", port) == errno.EADDRINUSE else 0)


def _try(kind: int, address: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        tried = socket.socket(family, kind)
    except OSError as error:
        return error.errno or errno.EIO
    with tried:
        if family == socket.AF_INET6:
            tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # What has just been closed is no hindrance to pasta either.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, port))
            if kind == socket.SOCK_STREAM:
                tried.listen(1)
        except OSError as error:
            return error.errno or errno.EIO
    return 0
