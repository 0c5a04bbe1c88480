"""Everything that is wrong with a profile, not only the first: `sandbox profile check`.

A profile is read, and made into a plan, as for a run.  What is refused is noted, taken out, and the rest tried again,
until nothing is refused: so there is one set of checks, and what a run refuses and what is found here are the same.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from sandbox.errors import ProfileError, SandboxError
from sandbox.plan.inputs import Inputs
from sandbox.profile.complaint import at, fault
from sandbox.profile.lines import Key, positions
from sandbox.profile.load import Layer, Layered, Origin, Stack, check_depth, lay, parse
from sandbox.profile.schema import Profile

MOST = 500
"""Findings; more than that, and the document is no profile."""


class Finding(NamedTuple):
    """What is wrong, where, and what to do about it."""

    severity: str  # "error": a run would be refused; "warning": it runs, and is weaker than it looks
    file: str  # as a person names it; empty where it is the host
    line: int  # from 1; 0 where there is none
    key: str  # "filesystem.read[1]", empty for the file as a whole
    message: str
    hint: str


_WHERE = re.compile(r"(?P<file>.+?):(?:(?P<line>\d+):?)?(?: (?P<key>\S.*))?")


def finding(where: str, message: str, hint: str, *, severity: str = "error") -> Finding:
    """Return a finding of which `where` was worded for a message: `build.toml:12: filesystem.read[1]`."""
    match = _WHERE.fullmatch(where)
    if match is None:
        return Finding(severity, where, 0, "", message, hint)
    return Finding(severity, match["file"], int(match["line"] or 0), match["key"] or "", message, hint)


def examine(
    profiles: tuple[str, ...],
    cwd: str,
    inputs: Inputs,
    attempt: Callable[[Layered], object],
    contents: Mapping[str, bytes],
) -> tuple[list[Finding], Layered]:
    """Return what is wrong with `profiles`, and what is left of them when that is taken out.

    `contents`: what stands for the content of the files at these paths, as it is still being edited.  `attempt` makes
    a plan of layers, and raises a SandboxError for the first thing that it refuses.
    """
    errors: list[SandboxError] = []
    gatherer = _Gatherer(cwd, inputs, errors, contents)
    for name in profiles:
        gatherer.add(name, cwd, asked_by=name, chain=())
    layered = lay(gatherer.layers)
    while len(errors) < MOST:
        try:
            attempt(layered)
        except SandboxError as error:
            if not error.where and "cwd" not in layered.values.get("process", {}):
                layered = _started_elsewhere(layered)  # it shows no working directory: that is no mistake
                continue
            errors.append(error)
            key = _key(layered, error.where)
            if key is None:
                break
            layered = _without(layered, key)
        else:
            break
    found = [finding(error.where, error.reason, error.hint) for error in errors]
    return sorted(dict.fromkeys(found), key=lambda entry: (entry.file, entry.line)), layered


class _Gatherer(Stack):
    """Reads all layers, as far as they can be read."""

    def __init__(self, cwd: str, inputs: Inputs, errors: list[SandboxError], contents: Mapping[str, bytes]) -> None:
        super().__init__(cwd, inputs)
        self.errors = errors
        self.contents = contents

    def read(self, path: str, asked_by: str) -> bytes | None:
        """Return the content of a profile, or what stands for it.  Raises ProfileError."""
        return self.contents[path] if path in self.contents else super().read(path, asked_by)

    def add(self, name: str, directory: str, *, asked_by: str, chain: tuple[str, ...]) -> None:
        """Add a profile and what it extends; what cannot be found or read is noted, and left out."""
        try:
            super().add(name, directory, asked_by=asked_by, chain=chain)
        except ProfileError as error:
            self.errors.append(error)

    def parse(self, label: str, path: str, content: bytes) -> Layer:
        """Read one profile without what has the wrong type.  Raises ProfileError where it is not TOML."""
        try:
            document = content.decode()
            values = tomllib.loads(document)
        except (ValueError, RecursionError):
            return parse(label, path, content)  # it has the words
        check_depth(label, values)
        reader = _Reader(label, values, positions(document))
        self.errors += reader.errors
        return Layer(label, path, reader.values, reader.lines, reader.words)


class _Reader:
    """Takes out of the values of a document what msgspec refuses, and remembers where the rest was written."""

    def __init__(self, label: str, values: dict[str, Any], lines: dict[Key, int]) -> None:
        self.label = label
        self.values = values
        self.lines = lines
        self.errors: list[ProfileError] = []
        self.left: dict[Key, list[int]] = {}  # of lists that have lost elements: the old places of those that are left
        while len(self.errors) < MOST:
            try:
                msgspec.convert(self.values, Profile)
            except msgspec.ValidationError as error:
                key, refused = fault(label, lines, self.values, error, self._written)
                self.errors.append(refused)
                self._take_out(key)
            else:
                break
        self.words = {
            (*table, new): at(label, lines, (*table, old))
            for table, places in self.left.items()
            for new, old in enumerate(places)
        }

    def _written(self, key: Key) -> Key:
        result: Key = ()
        for index, part in enumerate(key):
            places = self.left.get(key[:index])
            result += (places[part],) if places and isinstance(part, int) else (part,)
        return result

    def _take_out(self, key: Key) -> None:
        holder: Any = self.values
        for part in key[:-1]:
            holder = holder[part]
        if isinstance(holder, list):
            index = int(key[-1])
            self.left.setdefault(key[:-1], list(range(len(holder)))).pop(index)
        del holder[key[-1]]


def _key(layered: Layered, where: str) -> Key | None:
    """Return the key whose origin `where` is, or begins with; the longest one."""
    best: Key | None = None
    for key, origin in layered.origins.items():
        if where == origin.text:
            best = key
            break
        if where.startswith(origin.text) and (best is None or len(layered.origins[best].text) < len(origin.text)):
            best = key
    return best


def _without(layered: Layered, key: Key) -> Layered:
    """Return `layered` without the value at `key`; the elements behind it keep their origins."""
    values = copy.deepcopy(layered.values)
    holder: Any = values
    for part in key[:-1]:
        holder = holder[part]
    del holder[key[-1]]
    origins: dict[Key, Origin] = {}
    for other, origin in layered.origins.items():
        if other[: len(key)] == key:
            continue
        place = other
        last = key[-1]
        if isinstance(last, int) and other[: len(key) - 1] == key[:-1] and len(other) >= len(key):
            index = other[len(key) - 1]
            if isinstance(index, int) and index > last:
                place = (*key[:-1], index - 1, *other[len(key) :])
        origins[place] = origin
    return Layered(msgspec.convert(values, Profile), values, origins, layered.files)


def _started_elsewhere(layered: Layered) -> Layered:
    values = copy.deepcopy(layered.values)
    values.setdefault("process", {})["cwd"] = "/"
    return Layered(msgspec.convert(values, Profile), values, layered.origins, layered.files)
