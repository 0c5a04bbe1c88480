"""Why a document is not a profile, in words: key path, line, and the nearest thing that would do.

Loaded only where a document was refused.
"""

from __future__ import annotations

import errno
import os
import re
import tomllib
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import msgspec
import msgspec.inspect as inspect

from sandbox.errors import ProfileError
from sandbox.profile.lines import Key, positions
from sandbox.profile.load import key_text
from sandbox.profile.schema import Profile


def syntax_error(label: str, error: tomllib.TOMLDecodeError | UnicodeDecodeError) -> ProfileError:
    """Return the error for a document that is not TOML."""
    text = str(error)
    found = re.search(r" \(at line (\d+), column (\d+)\)$", text)
    if found is None:
        return ProfileError(f"is not TOML: {text[:1].lower()}{text[1:]}", where=label)
    reason = text[: found.start()]
    return ProfileError(f"is not TOML: {reason[:1].lower()}{reason[1:]}", where=f"{label}:{found[1]}")


def unreadable(path: str, error: OSError, where: str, home: str) -> ProfileError:
    """Return the error for a file that cannot be read."""
    cause, hint = "", "name a profile's file"
    if error.errno == errno.EACCES:
        from sandbox.kernel.diagnosis import closed_parent  # late: what it imports is of no use for other errors

        found = closed_parent(path)
        cause, hint = found.why, found.cure or f"see its permissions: ls -l {path}"
        # As after `su` and `sudo`, which keep the variable.
        if cause and path.startswith(f"{home}/") and os.stat(home).st_uid != os.geteuid():
            hint = "HOME is another user's: set it to your own, or log in anew: su - USER"
    return ProfileError(f"cannot read {path}: {error.strerror}", where=where, hint=hint, cause=cause)


def type_error(label: str, document: str, error: msgspec.ValidationError) -> ProfileError:
    """Return the error for a document in which a key is unknown or a value has the wrong type."""
    values: dict[str, Any] = tomllib.loads(document) if document else {}
    return fault(label, positions(document), values, error)[1]


def fault(
    label: str,
    lines: dict[Key, int],
    values: dict[str, Any],
    error: msgspec.ValidationError,
    written: Callable[[Key], Key] = lambda key: key,
) -> tuple[Key, ProfileError]:
    """Return which key of `values` is refused, and the error; `written`: where in the document that key stands."""
    reason, _, place = str(error).partition(" - at `$")
    key = _key(place.removesuffix("`"))
    unknown = re.search(r"unknown field `(.*)`", reason)
    if unknown is not None:
        key = _found((*key, unknown[1]), values)
        return key, _unknown_key(label, lines, written(key))
    if place.endswith("[...]`"):
        key = (*key, *_culprit(values, key))
    where = at(label, lines, written(key))
    reason = _in_words(reason.replace(" | null", ""))
    choices = _choices(_type_at(key))
    if choices and reason.startswith("Invalid enum value"):
        return key, ProfileError(reason[:1].lower() + reason[1:], where=where, hint="write " + " or ".join(choices))
    return key, ProfileError(reason[:1].lower() + reason[1:], where=where, hint=_example(key))


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
            return f"{label}:{lines[key[:length]]}: {key_text(key)}"
    return f"{label}: {key_text(key)}" if key else label


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


def _culprit(values: dict[str, Any], table: Key) -> Key:
    """Return the name of the first entry of `table` that is refused by itself: msgspec does not say it."""
    entries: Any = values
    for name in table:
        entries = entries.get(name, {})
    for name, value in entries.items():
        alone: Any = {name: value}
        for part in reversed(table):
            alone = {part: alone}
        try:
            msgspec.convert(alone, Profile)
        except msgspec.ValidationError:
            return (name,)
    return ()


def _found(key: Key, values: dict[str, Any]) -> Key:
    """Return `key` as it stands in `values`: of one in an entry of a table, msgspec does not say the entry's name."""
    tables: Any = values
    for part in key[:-1]:
        tables = tables[part]
    if key[-1] in tables:
        return key
    known = [field.encode_name for field in getattr(_type_at(key[:-1]), "fields", ())]
    for name, entry in tables.items():
        if isinstance(entry, dict) and key[-1] in entry and key[-1] not in known:
            return (*key[:-1], name, key[-1])
    return key


def _unknown_key(label: str, lines: dict[Key, int], key: Key) -> ProfileError:
    kind = _type_at(key[:-1])
    known = [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []
    return ProfileError("unknown key", where=at(label, lines, key), hint=nearest(str(key[-1]), known))


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
