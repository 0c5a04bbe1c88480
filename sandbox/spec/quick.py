"""From JSON text to the objects of the specification, quickly, for a document in which nothing is wrong.

Accepts only what is plainly right, and then gives what `sandbox.spec.runtime` does, attribute for attribute.  Of anything
else it says nothing: the caller asks `sandbox.spec.document`, which finds the words.  It does so without msgspec and
without json, which cost more time than the compilation of a container: by the scanner in C that is behind json.loads().
"""

from __future__ import annotations

from _json import make_scanner

from sandbox.spec.table import FLAG, LIST, MAP, NUMBER, TABLE, TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from sandbox.spec.runtime import Process, Resources, Spec


class Record:
    """An object of the specification, with the attributes of the type in `sandbox.spec.runtime`."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__ = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def spec(content: bytes) -> Spec | None:
    """Return the container's `config.json` in `content`, None where it needs a closer look."""
    return _read(content, "Spec")  # type: ignore[return-value]


def process(content: bytes) -> Process | None:
    """Return the process in `content`, None where it needs a closer look."""
    return _read(content, "Process")  # type: ignore[return-value]


def resources(content: bytes) -> Resources | None:
    """Return the resources in `content`, None where they need a closer look."""
    return _read(content, "Resources")  # type: ignore[return-value]


def changed(own: Any, **changes: object) -> Any:
    """Return an object, of whichever reader, with some attributes changed; what is not, is shared."""
    names = getattr(own, "__struct_fields__", None) or vars(own)
    return Record({name: getattr(own, name) for name in names} | changes)


def empty(name: str) -> Any:
    """Return the object of a type of which nothing is required."""
    return _object({}, name)


def value(text: str) -> Any:
    """Return the JSON value in `text`.  Raises ValueError if it is none that is plainly right."""
    # Lone surrogates and NUL come by such an escape alone; "\\ud" may be a backslash and a "u", but is rare.
    if "\\ud" in text or "\\uD" in text or "\\u0000" in text:
        raise ValueError("an escape that needs a closer look")
    text = text.strip(" \t\n\r")
    try:
        found, end = _scan(text, 0)
    except (StopIteration, SystemError):
        # The scanner takes its exception from json.decoder; where that is not imported it fails without one (3.11).
        raise ValueError("no JSON") from None
    if end != len(text):
        raise ValueError("something behind the value")
    return found


def _read(content: bytes, name: str) -> Record | None:
    try:
        return _object(value(content.decode()), name)
    except (ValueError, RecursionError):
        return None


def _object(members: object, name: Any) -> Record:
    if type(members) is not dict:
        raise ValueError("not an object")
    fields, required, defaults, lists, maps, objects = TABLE[name]
    values = dict(defaults)
    for attribute in lists:
        values[attribute] = []
    for attribute in maps:
        values[attribute] = {}
    for member, found in members.items():
        if member not in fields:
            raise ValueError("an unknown member")
        attribute, kind, detail = fields[member]
        values[attribute] = _value(found, kind, detail)
    for attribute in required:
        if attribute not in values:
            raise ValueError("a member is missing")
    for attribute, own in objects:
        if attribute not in values:
            values[attribute] = _object({}, own)
    return Record(values)


def _value(found: object, kind: int, detail: Any) -> object:
    """Return what is `found` if it is of that kind.  None of the types here may be a subtype: a bool is an int."""
    if kind == TEXT:
        if type(found) is str:
            return found
    elif kind == NUMBER:
        if type(found) is int and detail[0] <= found <= detail[1]:
            return found
    elif kind == FLAG:
        if type(found) is bool:
            return found
    elif kind == LIST:
        if type(found) is list:
            return [_value(item, *detail) for item in found]
    elif kind == MAP:
        if type(found) is dict:
            return {key: _value(item, *detail) for key, item in found.items()}
    else:
        return _object(found, detail)
    raise ValueError("not of the type")


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member that is there twice")
    return members


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


class _Context:
    """How the scanner is to read."""

    strict = True
    object_hook = None
    object_pairs_hook = _members
    parse_float = _refuse
    parse_int = int
    parse_constant = _refuse


_scan = make_scanner(_Context)  # type: ignore[arg-type] # only its attributes are read
