"""On which line of a TOML document each key and each element of an array stands.

tomllib gives values without positions.  This reads a document *that tomllib has accepted* a second
time, for positions alone: it checks nothing, and what it says of a document that tomllib refuses
is without meaning.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Key = tuple[str | int, ...]
"""A place in a document: names of keys and indices of elements, `("filesystem", "read", 1)`."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")  # also between the elements of an array
_SPACE = re.compile(r"[ \t]*")
_NAME = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
# Up to two quotes may stand before the three that close a multi-line string.
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:\\.|[^"\\\n])*"|'[^'\n]*\'''', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")  # numbers, booleans, and dates, which may hold a space


def positions(document: str) -> dict[Key, int]:
    """Return the line, from 1, of each key and element; of a table the line that names it first."""
    reader = _Reader(document)
    reader.document()
    return reader.lines


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Key, int] = {}
        self.breaks = [match.start() for match in re.finditer("\n", text)]
        self.counts: dict[Key, int] = {}  # elements so far of each array of tables

    def line(self) -> int:
        return bisect_right(self.breaks, self.at - 1) + 1

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"line {self.line()}: not a TOML document")
        self.at = match.end()
        return match.group()

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def document(self) -> None:
        table: Key = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.peek("["):
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)

    def header(self) -> Key:
        """Read `[a.b]` or `[[a.b]]`, and return the table that it opens."""
        brackets = 2 if self.peek("[[") else 1
        line = self.line()
        self.at += brackets
        names = self.names()
        self.at += brackets
        table: Key = ()
        for index, name in enumerate(names):
            table += (name,)
            self.lines.setdefault(table, line)
            last = index == len(names) - 1
            if last and brackets == 2:
                self.counts[table] = self.counts.get(table, 0) + 1
            if table in self.counts:  # the newest element is meant
                table += (self.counts[table] - 1,)
                self.lines.setdefault(table, line)
        return table

    def names(self) -> list[str]:
        """Read a dotted key, and the space around it."""
        names = []
        while True:
            self.skip(_SPACE)
            name = self.skip(_NAME)
            names.append(str(tomllib.loads(f"_ = {name}")["_"]) if name[0] in "\"'" else name)
            self.skip(_SPACE)
            if not self.peek("."):
                return names
            self.at += 1

    def pair(self, table: Key) -> None:
        self.skip(_SPACE)
        line = self.line()
        for name in self.names():
            table += (name,)
            self.lines.setdefault(table, line)
        self.at += 1  # "="
        self.skip(_SPACE)
        self.value(table)

    def value(self, place: Key) -> None:
        if self.peek("["):
            self.array(place)
        elif self.peek("{"):
            self.inline_table(place)
        elif self.peek('"') or self.peek("'"):
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def array(self, place: Key) -> None:
        self.at += 1
        index = 0
        self.skip(_BLANK)
        while not self.peek("]"):
            self.lines[(*place, index)] = self.line()
            self.value((*place, index))
            index += 1
            self.skip(_BLANK)
            if self.peek(","):
                self.at += 1
                self.skip(_BLANK)
        self.at += 1

    def inline_table(self, place: Key) -> None:
        self.at += 1
        self.skip(_BLANK)  # TOML 1.1 allows lines here
        while not self.peek("}"):
            self.pair(place)
            self.skip(_BLANK)
            if self.peek(","):
                self.at += 1
                self.skip(_BLANK)
        self.at += 1
