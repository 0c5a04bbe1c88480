"""What lowering may know of the host, and of the call."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of the host.  They arrive as values: equal inputs give equal plans."""

    uid: int
    gid: int
    state_dir: str  # the state tree, an absolute path; also where the new root is staged
    newuidmap: str = ""  # absolute path, empty where it is not installed
    newgidmap: str = ""


class Origins:
    """From a place in the spec ("mounts[3]") to the user's words for it ("build.toml:12: filesystem.write[0]")."""

    def __init__(self, origins: Mapping[str, str] | None = None) -> None:
        self._origins = origins or {}

    def __getitem__(self, place: str) -> str:
        return self._origins.get(place) or f"config.json: {place}"
