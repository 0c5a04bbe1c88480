"""What of the host a user-mode network is made from: the program, and how names are resolved here."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.plan.inputs import Inputs

PROGRAMS = ("pasta", "slirp4netns")
"""The first that is installed is taken."""

_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")


def look_at(wanted: str, inputs: Inputs) -> dict[str, Any]:
    """Return the facts network_program, nameservers, search and nsswitch of `sandbox.lower.host.Host`.

    `wanted` is one of PROGRAMS, or "user" for any of them.
    """
    names = PROGRAMS if wanted == "user" else (wanted,)
    servers, search = _resolvers(inputs)
    return {
        "network_program": next((path for name in names if (path := _find(name, inputs))), ""),
        "nameservers": servers,
        "search": search,
        "nsswitch": _text("/etc/nsswitch.conf", inputs),
    }


def _find(name: str, inputs: Inputs) -> str:
    for directory in _DIRECTORIES:
        path = f"{directory}/{name}"
        if inputs.node(path) is not None and os.access(path, os.X_OK):
            return path
    return ""


def _text(path: str, inputs: Inputs) -> str:
    try:
        return inputs.read(path).decode(errors="replace").replace("\0", "")
    except OSError:
        return ""


def _resolvers(inputs: Inputs) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the nameservers and the search list of resolv.conf(5)."""
    servers: list[str] = []
    search: list[str] = []
    for line in _text("/etc/resolv.conf", inputs).splitlines():
        keyword, *values = line.split()[:32] or [""]
        if keyword == "nameserver" and values:
            servers.append(values[0])
        elif keyword in ("search", "domain"):
            search = values if keyword == "search" else values[:1]
    return tuple(servers), tuple(search)
