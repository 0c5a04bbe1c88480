"""Properties of a unit of systemd's that annotations name, as runc has them (docs/systemd.md, "Auxiliary properties"):

    "org.systemd.property.TimeoutStopUSec": "uint64 15000000"

A value is in GVariant's text format, of which this is what properties of a scope are made of: truth values, numbers,
strings, and arrays of one of these.  What stands there is the engine's, and whoever writes a config.json may call systemd
anyway; a profile has no way to it.
"""

from __future__ import annotations

from sandbox.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PREFIX = "org.systemd.property."

_KEYWORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
    "signature": "g",
}
_RANGES = {
    "y": (0, 1 << 8),
    "n": (-(1 << 15), 1 << 15),
    "q": (0, 1 << 16),
    "i": (-(1 << 31), 1 << 31),
    "u": (0, 1 << 32),
    "x": (-(1 << 63), 1 << 63),
    "t": (0, 1 << 64),
}
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def properties(annotations: Mapping[str, str]) -> list[tuple[str, tuple[str, Any]]]:
    """Return the properties that annotations name, each with its type and value.  Raises SpecError."""
    found = []
    for key, text in sorted(annotations.items()):
        if not key.startswith(PREFIX):
            continue
        name = key[len(PREFIX) :]
        where = f"config.json: annotations.{key}"
        if len(name) < 3:
            raise SpecError(f"annotation {key} name incorrect: too short", where=where)
        if not (name.isascii() and name.isalpha()):
            raise SpecError(f"annotation {key} name incorrect: contains non-alphabetic character", where=where)
        try:
            kind, value = parse(text)
            if name.endswith("Sec") and not name.endswith("USec"):
                # As in a unit's file; systemd is told microseconds.
                name, kind, value = f"{name[:-3]}USec", "t", _microseconds(kind, value)
        except ValueError as error:
            raise SpecError(f"annotation {key}={text} value parse error: {error}", where=where) from None
        found.append((name, (kind, value)))
    return found


def _microseconds(kind: str, value: Any) -> int:
    if kind not in (*_RANGES, "d") or value < 0 or value >= 1 << 44:
        raise ValueError("not a number of seconds")
    return int(value * 1_000_000)


def parse(text: str) -> tuple[str, Any]:
    """Return the type (a D-Bus signature) and the value of a text.  Raises ValueError."""
    reader = _Reader(text)
    kind, value = reader.value("")
    if reader.rest():
        raise ValueError(f"unexpected {reader.rest()[:20]!r} at the end")
    return kind, value


class _Reader:
    """A place in a text."""

    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def rest(self) -> str:
        while self.at < len(self.text) and self.text[self.at] in " \t\n":
            self.at += 1
        return self.text[self.at :]

    def word(self) -> str:
        """Take what there is until a blank, a bracket or a comma."""
        self.rest()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in " \t\n[],":
            self.at += 1
        return self.text[start : self.at]

    def value(self, wanted: str) -> tuple[str, Any]:
        """Take a value of the type `wanted`, "": of the one that it says, or looks like."""
        first = self.rest()[:1]
        if first == "@":
            self.at += 1
            signature = self._signature()
            if wanted not in ("", signature):
                raise ValueError(f"{signature} where {wanted} is expected")
            return self.value(signature)
        if first == "[":
            return self._array(wanted)
        if first in ("'", '"'):
            return self._checked(wanted, self._string(first), ("s", "o", "g"))
        word = self.word()
        if word in _KEYWORDS:
            kind = _KEYWORDS[word]
            if wanted not in ("", kind):
                raise ValueError(f"{word} where {wanted} is expected")
            return self.value(kind)
        if word in ("true", "false"):
            return self._checked(wanted, word == "true", ("b",))
        return self._number(wanted, word)

    def _signature(self) -> str:
        # Of an array and what is in it; its brackets are no part of a word.
        signature = self.word()
        if signature.removeprefix("a") not in (*_KEYWORDS.values(),):
            raise ValueError(f"{signature!r} is no type that is known here")
        return signature

    @staticmethod
    def _checked(wanted: str, value: Any, kinds: tuple[str, ...]) -> tuple[str, Any]:
        if wanted and wanted not in kinds:
            raise ValueError(f"{value!r} where {wanted} is expected")
        return wanted or kinds[0], value

    def _array(self, wanted: str) -> tuple[str, Any]:
        if wanted and wanted[0] != "a":
            raise ValueError(f"an array where {wanted} is expected")
        self.at += 1
        kind = wanted[1:]
        values: list[Any] = []
        while self.rest()[:1] != "]":
            if values:
                if self.rest()[:1] != ",":
                    raise ValueError("a , or ] is missing")
                self.at += 1
            kind, value = self.value(kind)
            if kind.startswith("a"):
                raise ValueError("arrays of arrays are not known here")
            values.append(value)
        self.at += 1
        if not kind:
            raise ValueError("an empty array has to say its type: @as []")
        return f"a{kind}", bytes(values) if kind == "y" else values

    def _string(self, quote: str) -> str:
        self.at += 1
        found = []
        while True:
            character = self.text[self.at : self.at + 1]
            self.at += 1
            if not character:
                raise ValueError("a string has no end")
            if character == quote:
                break
            if character == "\\":
                character = self._escaped()
            found.append(character)
        text = "".join(found)
        if "\0" in text:
            raise ValueError("a string holds a NUL")
        return text

    def _escaped(self) -> str:
        character = self.text[self.at : self.at + 1]
        self.at += 1
        if character in ("u", "U"):
            digits = 4 if character == "u" else 8
            code = self.text[self.at : self.at + digits]
            self.at += digits
            return chr(int(code, 16))
        if not character:
            raise ValueError("a string has no end")
        return _ESCAPES.get(character, character)

    def _number(self, wanted: str, word: str) -> tuple[str, Any]:
        if wanted == "d" or (not wanted and any(mark in word for mark in ".eE") and not word.lower().startswith("0x")):
            return "d", float(word)
        digits = word[1:] if word[:1] in ("+", "-") else word
        if not (digits.isascii() and digits.isalnum()):
            raise ValueError(f"{word!r} is no value" if word else "there is no value")
        base = 16 if digits[:2].lower() == "0x" else 8 if len(digits) > 1 and digits[0] == "0" else 10
        number = int(word, base)
        kind = wanted or "i"
        if kind not in _RANGES:
            raise ValueError(f"{word} where {wanted} is expected")
        low, end = _RANGES[kind]
        if not low <= number < end:
            raise ValueError(f"{word} is out of range for {kind}")
        return kind, number
