"""Which variables the command gets: kept by pattern when it starts, or set beforehand.

What is kept is not looked at here: a kept plan serves whatever value the variable has at the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from sandbox.errors import ProfileError
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import Layered, Origin

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_REFERENCE = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_WILD = re.compile(r"[*?[]")


class Variables(NamedTuple):
    """The environment of a command, as far as it is known before it starts."""

    keep: list[str]  # patterns; "!PATTERN" takes out again, the last one that matches decides
    set: dict[str, tuple[str, str]]  # name → value, origin


def variables(layered: Layered, defaults: Mapping[str, str], inputs: Inputs) -> Variables:
    """Return what the layers say together; of a name that several of them mention the last decides."""
    result = Variables([], {name: (value, f"default: {name}") for name, value in defaults.items()})
    if layered.profile.environment.keep_all:
        _keep(result, "*", defaults)  # first of all: what any layer says of a variable holds
    for _, kind, index, text in sorted(_statements(layered)):
        if kind == _SET:
            origin = layered.origin("environment", "set", text)
            value = _filled(layered.profile.environment.set[text], origin, inputs)
            result.set[_name(text, origin)] = (value, origin.text)
            continue
        origin = layered.origin("environment", _ORDER[kind], index)
        if kind == _UNSET:
            _unset(result, _pattern(text, origin))
        else:
            _keep(result, _pattern(text, origin), defaults)
    return result


_ORDER = ("keep", "set", "unset")  # within one layer: what is refused comes last
_KEEP, _SET, _UNSET = range(3)


def _statements(layered: Layered) -> Iterable[tuple[int, int, int, str]]:
    """Yield layer, kind, index and text of each statement."""
    section = layered.profile.environment
    for index, text in enumerate(section.unset):
        yield layered.origin("environment", "unset", index).layer, _UNSET, index, text
    for index, text in enumerate(section.keep):
        yield layered.origin("environment", "keep", index).layer, _KEEP, index, text
    for index, name in enumerate(section.set):
        yield layered.origin("environment", "set", name).layer, _SET, index, name


def _unset(result: Variables, pattern: str) -> None:
    for name in [name for name in result.set if fnmatchcase(name, pattern)]:
        del result.set[name]
    result.keep[:] = [entry for entry in result.keep if entry != pattern]
    # What is named singly and matches can go; a pattern that stays has to be limited.
    result.keep[:] = [entry for entry in result.keep if _WILD.search(entry) or not fnmatchcase(entry, pattern)]
    if any(_WILD.search(entry) and not entry.startswith("!") for entry in result.keep):
        result.keep.append("!" + pattern)


def _keep(result: Variables, pattern: str, defaults: Mapping[str, str]) -> None:
    if pattern not in result.keep or any(entry.startswith("!") for entry in result.keep):
        result.keep.append(pattern)
    for name, (_, origin) in list(result.set.items()):
        if name == pattern or (origin == f"default: {name}" and name in defaults and fnmatchcase(name, pattern)):
            del result.set[name]


def kept(patterns: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that `patterns` let through; the last pattern that matches decides."""
    newest_first = list(patterns)[::-1]
    return {name: value for name, value in environ.items() if _passes(newest_first, name)}


def _passes(newest_first: list[str], name: str) -> bool:
    for pattern in newest_first:
        if fnmatchcase(name, pattern.removeprefix("!")):
            return not pattern.startswith("!")
    return False


def _pattern(text: str, origin: Origin) -> str:
    if not text or "=" in text or "\0" in text or text.startswith("!"):
        raise ProfileError(f'"{text}" is not the name of a variable', where=origin.text, hint="write the name alone")
    return text


def _name(text: str, origin: Origin) -> str:
    if not text or "=" in text or "\0" in text:
        raise ProfileError(f'"{text}" is not the name of a variable', where=origin.text)
    return text


def _filled(text: str, origin: Origin, inputs: Inputs) -> str:
    """Replace the variables in a value.  On the command line the shell has done that already."""
    if "\0" in text:
        raise ProfileError("a value cannot hold a NUL", where=origin.text)
    if not origin.file:
        return text

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name = match[1] or match[2]
        found = inputs.variable(name)
        if found is None:
            raise ProfileError(
                f"the variable {name} is not set", where=origin.text, hint='set it; a "$" itself is written "$$"'
            )
        return found

    return _REFERENCE.sub(value, text)
