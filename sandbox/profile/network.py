"""`[network]`: what may be reached from inside, and what of the inside from outside."""

from __future__ import annotations

import ipaddress
import re

from sandbox.errors import ProfileError
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import Layered

USER_MODES = ("user", "pasta", "slirp4netns")

_PUBLISHED = re.compile(
    r"(?:(?P<address>\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(?P<outside>\d+(?:-\d+)?):(?P<inside>\d+(?:-\d+)?)(?:/(?P<protocol>tcp|udp))?",
    re.ASCII,
)
_LOOPBACK = re.compile(r"(?P<outside>\d+(?:-\d+)?)(?:/(?P<protocol>tcp|udp))?", re.ASCII)
_UNPRIVILEGED = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)


def published(text: str, where: str, first: int) -> str:
    """Return "ADDRESS/8080:80 tcp" for "ADDRESS:8080:80/tcp"; `first` is the lowest port that is not root's alone.

    Raises ProfileError.
    """
    match = _PUBLISHED.fullmatch(text.strip())
    if match is None:
        raise ProfileError(
            f'"{text}" does not publish a port', where=where, hint='write "8080:80", "127.0.0.1:5353:53/udp"'
        )
    outside, inside = _ports(match["outside"], text, where), _ports(match["inside"], text, where)
    if outside[1] - outside[0] != inside[1] - inside[0]:
        raise ProfileError(f'"{text}" has {_count(outside)} ports outside and {_count(inside)} inside', where=where)
    place = f"{_address(match['address'], where)}/" if match["address"] else ""
    _check_privilege(outside[0], first, text, where)
    return f"{place}{match['outside']}:{match['inside']} {match['protocol'] or 'tcp'}"


def loopback(text: str, where: str) -> str:
    """Return "5432 tcp" for "5432".  Raises ProfileError."""
    match = _LOOPBACK.fullmatch(text.strip())
    if match is None:
        raise ProfileError(f'"{text}" is no port', where=where, hint='write "5432" or "5353/udp"')
    _ports(match["outside"], text, where)
    return f"{match['outside']} {match['protocol'] or 'tcp'}"


def _count(ports: tuple[int, int]) -> int:
    return ports[1] - ports[0] + 1


def _ports(text: str, whole: str, where: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    ports = int(first), int(last or first)
    if not 1 <= ports[0] <= ports[1] <= 65535:
        raise ProfileError(f'"{whole}": {text} are no ports', where=where, hint="a port is 1 to 65535, a range goes up")
    return ports


def _first_unprivileged(inputs: Inputs) -> int:
    """Return the lowest port that the kernel lets others than root bind, ip-sysctl.rst."""
    written = inputs.words(_UNPRIVILEGED)
    return int(written) if written.isdigit() else 1024


def _check_privilege(port: int, first: int, text: str, where: str) -> None:
    if port < first:
        raise ProfileError(
            f'"{text}": ports below {first} are root\'s alone on this host',
            where=where,
            hint=f"publish another one ({port + 8000}), or let an administrator set: "
            f"sysctl net.ipv4.ip_unprivileged_port_start={port}",
        )


def _address(text: str, where: str) -> str:
    bare = text.strip("[]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        raise ProfileError(f'"{text}" is no address', where=where, hint="write 127.0.0.1, or [::1]") from None
    return bare


def wanted(layered: Layered, inputs: Inputs) -> dict[str, tuple[object, str]]:
    """Return the annotations that the section becomes: value and where it was written.  Raises ProfileError."""
    section = layered.profile.network
    if section.mode not in USER_MODES:
        _refuse_what_needs_one(layered)
        return {}
    found: dict[str, tuple[object, str]] = {"network": (section.mode, layered.origin("network", "mode").text)}
    first = _first_unprivileged(inputs) if section.publish else 0
    for key, check in (
        ("publish", lambda text, where: published(text, where, first)),
        ("loopback", loopback),
        ("dns", _resolver),
        ("search", _domain),
    ):
        written = getattr(section, key)
        values = [check(str(text), layered.origin("network", key, index).text) for index, text in enumerate(written)]
        if values:
            found[key] = (values, layered.origin("network", key, 0).text)
    if section.hosts:
        names = {}
        for name, address in section.hosts.items():
            where = layered.origin("network", "hosts", name).text
            names[_domain(name, where)] = _server(address, where)
        found["hosts"] = (names, layered.origin("network", "hosts", next(iter(section.hosts))).text)
    if section.mtu is not None:
        where = layered.origin("network", "mtu").text
        if not 1280 <= section.mtu <= 65520:
            raise ProfileError(f"{section.mtu} is no MTU", where=where, hint="1280, which IPv6 needs, to 65520")
        found["mtu"] = (str(section.mtu), where)
    return found


# A resolver in a profile is for when it has a network; one on the command line is for now.
_WHAT = {
    "publish": ("no port is published", "the host's ports are there"),
    "loopback": ("no port of the host's loopback is shown", "the host's ports are there"),
    "dns": ("no resolver is asked of our choice", "names are resolved as on the host"),
}


def _refuse_what_needs_one(layered: Layered) -> None:
    """What a sandbox without a network of its own cannot have is not passed over."""
    section, written = layered.profile.network, layered.origin("network", "mode")
    mode = section.mode or "none"
    for key, (what, instead) in _WHAT.items():
        origin = layered.origin("network", key, 0)
        # Who takes the network away from a profile has said that there is to be none of it.
        is_taken = mode == "none" and written.layer > origin.layer
        if getattr(section, key) and not is_taken and not (key == "dns" and origin.file):
            hint = 'write mode = "user"' if origin.file else "say --network user"
            raise ProfileError(
                f'{what} with the network "{mode}"',
                where=origin.text,
                hint=hint if mode == "none" else f"leave it out: {instead}",
            )


def _resolver(text: str, where: str) -> str:
    address = _server(text, where)
    if ipaddress.ip_address(address).is_loopback:
        raise ProfileError(
            f"{address} is the sandbox's own loopback, where no resolver is",
            where=where,
            hint="leave it out: what listens there on the host is asked already, if it is the host's first resolver",
        )
    return address


def _server(text: str, where: str) -> str:
    address, percent, zone = text.partition("%")
    try:
        found = str(ipaddress.ip_address(address))
    except ValueError:
        found = ""
    # Of a zone Python takes any text, also one with a line in it for resolv.conf.
    if not found or (percent and (":" not in found or not _NAME.fullmatch(zone))):
        raise ProfileError(f'"{text}" is no address', where=where, hint='write "192.0.2.53" or "2001:db8::53"')
    return found + percent + zone


def _domain(text: str, where: str) -> str:
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise ProfileError(f'"{text}" is no name of a host or domain', where=where)
    return text
