"""Why a document is not a profile, in words: key path, line, and the nearest thing that would do.

Loaded only where a document was refused.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from typing import Any

import msgspec
import msgspec.inspect as inspect

from sandbox.errors import ProfileError
from sandbox.profile.lines import Key, positions
from sandbox.profile.schema import Profile


def syntax_error(label: str, error: tomllib.TOMLDecodeError | UnicodeDecodeError) -> ProfileError:
    """Return the error for a document that is not TOML."""
    text = str(error)
    found = re.search(r" \(at line (\d+), column (\d+)\)$", text)
    if found is None:
        return ProfileError(f"is not TOML: {text[:1].lower()}{text[1:]}", where=label)
    reason = text[: found.start()]
    return ProfileError(f"is not TOML: {reason[:1].lower()}{reason[1:]}", where=f"{label}:{found[1]}")


def type_error(label: str, document: str, error: msgspec.ValidationError) -> ProfileError:
    """Return the error for a document in which a key is unknown or a value has the wrong type."""
    reason, _, place = str(error).partition(" - at `$")
    key = _key(place.removesuffix("`"))
    unknown = re.search(r"unknown field `(.*)`", reason)
    if unknown is not None:
        return _unknown_key(label, document, (*key, unknown[1]))
    if place.endswith("[...]`"):
        key = (*key, *_culprit(document, key))
    where = at(label, positions(document), key)
    reason = _in_words(reason.replace(" | null", ""))
    choices = _choices(_type_at(key))
    if choices and reason.startswith("Invalid enum value"):
        return ProfileError(reason[:1].lower() + reason[1:], where=where, hint="write " + " or ".join(choices))
    return ProfileError(reason[:1].lower() + reason[1:], where=where, hint=_example(key))


# TOML's types, as a person says them; the library speaks of its own.
_TYPES = {
    "array": 'a list (["a", "b"])',
    "object": "a table",
    "str": 'a text ("a")',
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}


def _in_words(reason: str) -> str:
    """expected `str | array`, got `int` → expected a text ("a") or a list (["a", "b"]), got a whole number"""

    def say(match: re.Match[str]) -> str:
        return " or ".join(_TYPES.get(name, name) for name in match[1].split(" | "))

    return re.sub(r"`([a-z| ]+)`", say, reason)


def _example(key: Key) -> str:
    """Return how the key is written, by the schema's example; "" for one that has none."""
    for length in range(len(key), 0, -1):
        examples = _examples(key[:length])
        if examples:
            return f"for example {examples[0]}"
    return ""


def _examples(key: Key) -> list[str]:
    kind: inspect.Type = inspect.type_info(Profile)
    for part in key:
        kind = _plain(kind)
        if not isinstance(kind, inspect.StructType):
            return []
        fields = {field.encode_name: field.type for field in kind.fields}
        if part not in fields:
            return []
        kind = fields[str(part)]
    extra = kind.extra_json_schema if isinstance(kind, inspect.Metadata) else None
    return list((extra or {}).get("examples", []))


def at(label: str, lines: dict[Key, int], key: Key) -> str:
    """Return where `key` stands, as `build.toml:12: filesystem.read[1]`; its table's line where it has none."""
    for length in range(len(key), 0, -1):
        if key[:length] in lines:
            return f"{label}:{lines[key[:length]]}: {dotted(key)}"
    return f"{label}: {dotted(key)}" if key else label


def dotted(key: Key) -> str:
    """Return `key` as people write it."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(name: str, known: list[str]) -> str:
    """Return a hint that names what is nearest to `name`, or all that there is."""
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known are: " + ", ".join(known) if known else ""


def _key(place: str) -> Key:
    """Read msgspec's path `.filesystem.read[1]`; of an entry of a table it says `[...]`, which names its table."""
    parts: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", place):
        if index == "...":
            break
        parts.append(name or int(index))
    return tuple(parts)


def _culprit(document: str, table: Key) -> Key:
    """Return the name of the first entry of `table` that is refused by itself: msgspec does not say it."""
    entries: Any = tomllib.loads(document) if document else {}
    for name in table:
        entries = entries[name]
    for name, value in entries.items():
        alone: Any = {name: value}
        for part in reversed(table):
            alone = {part: alone}
        try:
            msgspec.convert(alone, Profile)
        except msgspec.ValidationError:
            return (name,)
    return ()


def _unknown_key(label: str, document: str, key: Key) -> ProfileError:
    lines = positions(document)
    shown = key
    if key not in lines:  # in an entry of a table, whose name msgspec does not say
        shown = next((entry for entry in lines if entry[: len(key) - 1] == key[:-1] and entry[-1] == key[-1]), key)
    kind = _type_at(key[:-1])
    known = [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []
    return ProfileError("unknown key", where=at(label, lines, shown), hint=nearest(str(key[-1]), known))


def _type_at(key: Key) -> inspect.Type:
    kind: inspect.Type = inspect.type_info(Profile)
    for part in key:
        kind = _plain(kind)
        if isinstance(kind, inspect.StructType):
            fields = {field.encode_name: field.type for field in kind.fields}
            kind = fields.get(str(part), inspect.AnyType())
        elif isinstance(kind, inspect.ListType):
            kind = kind.item_type
        elif isinstance(kind, inspect.DictType):
            kind = kind.value_type
    kind = _plain(kind)
    if isinstance(kind, inspect.DictType):  # an error in an entry of a table is reported for the table
        return _plain(kind.value_type)
    return kind


def _plain(kind: inspect.Type) -> inspect.Type:
    """Leave out what only describes, and `None`."""
    if isinstance(kind, inspect.Metadata):
        return _plain(kind.type)
    if isinstance(kind, inspect.UnionType):
        kinds = [_plain(entry) for entry in kind.types if not isinstance(entry, inspect.NoneType)]
        structs = [entry for entry in kinds if isinstance(entry, inspect.StructType)]
        return structs[0] if structs else kinds[0] if len(kinds) == 1 else kind
    return kind


def _choices(kind: inspect.Type) -> list[str]:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    words = [
        f'"{value}"'
        for entry in kinds
        if isinstance(entry, inspect.LiteralType)
        for value in sorted(map(str, entry.values))
    ]
    if any(isinstance(entry, inspect.IntType) for entry in kinds):
        words.insert(0, "a number")
    return words
