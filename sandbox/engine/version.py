"""Which version this is, in runc's words."""

from __future__ import annotations

import importlib.metadata

from sandbox.errors import HostError
from sandbox.kernel.libseccomp import version as libseccomp_version
from sandbox.lower.features import NEWEST


def version_text() -> str:
    """Return what stands behind the program's name: its version, then lines for what it goes by."""
    lines = [importlib.metadata.version("sandbox"), f"spec: {NEWEST}"]
    try:
        lines.append(f"libseccomp: {libseccomp_version()}")
    except HostError:
        pass  # not there: runc, too, says nothing then
    return "\n".join(lines)
