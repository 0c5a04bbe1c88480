"""From JSON text to the types of the specification, by msgspec: the careful way, which finds words for all that is wrong.

`sandbox.spec.quick` is the way of a document in which nothing is.  Beyond what msgspec refuses, refused are members that
are there twice, of which readers take one or the other, and NUL in a text, which no call of the kernel takes.

Members that the specification does not have: it asks runtimes to pass over them (`config.md#extensibility`), and runc
and crun do so without a word.  Here they are passed over with a warning, or refused, as the caller chooses.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from sandbox.errors import SpecError

T = TypeVar("T", bound=msgspec.Struct)

MOST = "most"
"""Key in a field's Meta(extra=…): a bound that msgspec cannot hold."""

# msgspec's names of types, in JSON's.
_WORDS = {
    "`str`": "a string",
    "`int`": "an integer",
    "`float`": "a number with a fraction",
    "`bool`": "true or false",
    "`array`": "an array",
    "`object`": "an object",
    "`null`": "null",
}


def decode(content: bytes, kind: type[T], *, name: str = "config.json") -> T:
    """Return `content` as a `kind`.  Raises SpecError, which names the document and the place in it."""
    return _Reader(name, lenient=False).read(content, kind)


def decode_leniently(content: bytes, kind: type[T], *, name: str = "config.json") -> tuple[T, list[str]]:
    """Return `content` as a `kind`, and a warning for each member of it that is unknown, and so not in force.

    A member that is null counts as absent, as in runc and crun.  Raises SpecError as `decode` does.
    """
    reader = _Reader(name, lenient=True)
    return reader.read(content, kind), reader.warnings


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object in their order, so that one that is there twice is seen."""


class _Reader:
    def __init__(self, name: str, *, lenient: bool) -> None:
        self.name = name
        self.lenient = lenient
        self.warnings: list[str] = []

    def read(self, content: bytes, kind: type[T]) -> T:
        try:
            msgspec.json.decode(content)  # says best what is no JSON
            tree = json.loads(content, object_pairs_hook=_Members)
            return msgspec.convert(self.clean(tree, inspect.type_info(kind), ""), kind)
        except RecursionError as error:
            raise SpecError("is nested too deeply", where=self.name) from error
        except UnicodeDecodeError as error:
            raise SpecError(f"is not UTF-8: {error.reason}", where=self.name) from error
        except msgspec.DecodeError as error:
            raise self.worded(str(error), content) from error

    def error(self, message: str, place: str) -> SpecError:
        return SpecError(message, where=f"{self.name}: {place}" if place else self.name)

    def worded(self, message: str, content: bytes) -> SpecError:
        """Return the error for what msgspec says: `REASON - at `$.place``, or `REASON (byte N)`."""
        reason, _, place = message.partition(" - at `$")
        # It does not name members of a map; those of ours have been seen one by one before (`members`).
        place = place.rstrip("`").lstrip(".").replace("[...]", "")
        if at := re.search(r" \(byte (\d+)\)$", reason):
            line = content.count(b"\n", 0, int(at[1])) + 1
            reason = f"{reason.removeprefix('JSON is malformed: ')[: -len(at[0])]} (line {line}, byte {at[1]})"
            return SpecError(f"is not JSON: {reason}", where=self.name)
        if reason == "Input data was truncated":
            return SpecError("is not JSON: it ends too early" if content else "is empty", where=self.name)
        if field := re.fullmatch(r"Object missing required field `(.*)`", reason):
            return self.error("is missing", f"{place}.{field[1]}".lstrip("."))
        reason = reason.replace(" | null`", "`")
        for theirs, ours in _WORDS.items():
            reason = reason.replace(theirs, ours)
        return self.error(reason[:1].lower() + reason[1:], place)

    def clean(self, value: Any, kind: inspect.Type, place: str) -> Any:
        """Return `value` as msgspec takes it, without what is passed over."""
        most = None
        if isinstance(kind, inspect.Metadata):
            most = (kind.extra or {}).get(MOST)
            kind = kind.type
        if isinstance(kind, inspect.UnionType):
            (kind,) = (entry for entry in kind.types if not isinstance(entry, inspect.NoneType))
            return self.clean(value, kind, place)
        if isinstance(value, _Members):
            return self.members(value, kind, place)
        if isinstance(value, list):
            item = kind.item_type if isinstance(kind, inspect.ListType) else inspect.AnyType()
            return [self.clean(entry, item, f"{place}[{index}]") for index, entry in enumerate(value)]
        if isinstance(value, str) and "\0" in value:
            raise self.error("holds a NUL character", place)
        if isinstance(value, int) and most is not None and value > most:
            raise self.error(f"expected an integer <= {most}", place)
        return value

    def members(self, members: _Members, kind: inspect.Type, place: str) -> dict[str, Any]:
        fields = (
            {field.encode_name: field.type for field in kind.fields} if isinstance(kind, inspect.StructType) else {}
        )
        foreign = isinstance(kind, inspect.StructType) and not kind.forbid_unknown_fields
        kept: dict[str, Any] = {}
        seen: set[str] = set()
        for name, value in members:
            where = f"{place}.{name}".lstrip(".")
            if name in seen:
                raise self.error("is there twice", where)
            seen.add(name)
            if "\0" in name:
                raise self.error("a name holds a NUL character", place)
            if isinstance(kind, inspect.DictType):
                kept[name] = self.entry(value, kind.value_type, where)
            elif name in fields:
                if value is not None or not self.lenient:
                    kept[name] = self.clean(value, fields[name], where)
            elif not foreign:
                self.unknown(where)
        return kept

    def entry(self, value: Any, kind: inspect.Type, place: str) -> Any:
        """Return the `value` of a map's member once msgspec has taken it."""
        cleaned = self.clean(value, kind, place)
        try:
            msgspec.convert(cleaned, kind.cls if isinstance(kind, inspect.StructType) else str)
        except msgspec.ValidationError as error:
            reason, _, below = str(error).partition(" - at `$")
            raise self.worded(f"{reason} - at `${place}{below}", b"") from error
        return cleaned

    def unknown(self, place: str) -> None:
        if not self.lenient:
            raise self.error("is no property of the specification", place)
        self.warnings.append(f"{self.name}: {place}: is no property of the specification, and not in force")
