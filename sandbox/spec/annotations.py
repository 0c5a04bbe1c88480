"""What a profile wants beyond OCI travels as annotations, which other runtimes pass over."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.spec.runtime import Spec

ANNOTATION = "dev.sandbox."
"""The prefix of our annotations."""


def annotation(spec: Spec, name: str, default: str = "") -> str:
    """Return the value of our annotation `name` (without the prefix)."""
    return spec.annotations.get(ANNOTATION + name, default)
