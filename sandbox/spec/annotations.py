"""What a profile wants beyond OCI travels as annotations, which other runtimes pass over."""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.spec.quick import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.spec.runtime import Spec

ANNOTATION = "dev.sandbox."
"""The prefix of our annotations."""


def annotation(spec: Spec, name: str, default: str = "") -> str:
    """Return the value of our annotation `name` (without the prefix)."""
    return spec.annotations.get(ANNOTATION + name, default)


def texts(spec: Spec, name: str) -> list[str]:
    """Return the JSON array of texts in our annotation `name`, [] without one.  Raises SpecError."""
    found = _read(spec, name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise _malformed(name, "an array of texts")
    return found


def table(spec: Spec, name: str) -> dict[str, str]:
    """Return the JSON object of texts in our annotation `name`, {} without one.  Raises SpecError."""
    found = _read(spec, name, {})
    if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
        raise _malformed(name, "an object of texts")
    return found


def _read(spec: Spec, name: str, default: object) -> object:
    text = annotation(spec, name)
    if not text:
        return default
    try:
        return value(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(name, "JSON") from error


def _malformed(name: str, what: str) -> SpecError:
    return SpecError(f"is not {what}", where=f"config.json: annotations.{ANNOTATION}{name}")
