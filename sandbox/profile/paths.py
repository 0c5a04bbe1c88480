"""From the text of a path in a profile to paths of the host.

Decides what `~`, `$NAME`, `.`, `?` and wildcards mean.  Symlinks are left to `resolve`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from fnmatch import translate
from typing import NamedTuple

from sandbox.errors import ProfileError
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import Origin
from sandbox.profile.resolve import Resolver

DIRECTORIES_LISTED = 10_000
"""More than this for one run, and a pattern is a mistake."""

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_WILD = re.compile(r"[*?[]")
_QUOTED = re.compile(r"\[([*?[])\]")  # a wildcard that stands for itself


class Named(NamedTuple):
    """A path as it was written, made absolute; wildcards that came from a value are quoted."""

    path: str
    optional: bool


class Vocabulary:
    """What the words of a path stand for in this run."""

    def __init__(self, home: str, cwd: str, inputs: Inputs) -> None:
        self.home = home
        self.cwd = cwd
        self.inputs = inputs

    def name(self, text: str, origin: Origin) -> Named | None:
        """Make the text of a path absolute; None if it is optional and names a variable that is not set.

        Raises ProfileError.
        """
        optional = text.startswith("?")
        bare = text[1:] if optional else text
        if bare and not origin.file:
            # The shell has replaced what was to be replaced; what is left is part of a name.
            return Named("/" + os.path.normpath(quoted(os.path.join(self.cwd, bare))).lstrip("/"), optional)
        filled = self._fill(bare, origin, optional=optional)
        if filled is None:
            return None
        path = self._absolute(bare, filled, origin)
        if "\0" in path or "\n" in path:
            raise ProfileError("a path cannot hold a NUL or a line break", where=origin.text)
        return Named("/" + os.path.normpath(path).lstrip("/"), optional)

    def single(self, text: str, origin: Origin) -> str:
        """Return the one path that `text` names, without wildcards.  Raises ProfileError."""
        named = self.name(text, origin)
        if named is None or named.optional:
            raise ProfileError(f'"{text}": this path cannot be optional', where=origin.text, hint='leave out the "?"')
        return unquoted(named.path)

    def _fill(self, text: str, origin: Origin, *, optional: bool) -> str | None:
        """Replace variables; None if one is not set and need not be."""
        if "$" not in text:
            return text
        missing = []

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            found = self.inputs.variable(name)
            # XDG Base Directory Specification: a relative path in one of its variables is to be ignored.
            if not found or (name.startswith("XDG_") and not found.startswith("/")):
                missing.append(name)
            return quoted(found or "")

        filled = _VARIABLE.sub(value, text)
        if not missing:
            return filled
        if optional:
            return None
        raise ProfileError(
            f'"{text}": the variable {missing[0]} is not set',
            where=origin.text,
            hint=f'set it, or leave the path out where it is not set: "?{text}"',
        )

    def _absolute(self, text: str, filled: str, origin: Origin) -> str:
        if filled.startswith("/"):
            return filled
        if text == "~" or text.startswith("~/"):
            return quoted(self.home) + text[1:] if text == filled else quoted(self.home) + filled[1:]
        if text == "." or text.startswith("./"):
            return f"{quoted(origin.directory or self.cwd)}/{filled}"
        raise ProfileError(
            f'"{text}": is not an absolute path',
            where=origin.text,
            hint='begin it with "/", "~/", "$NAME/", or "./" for the working directory',
        )


def quoted(text: str) -> str:
    """Return `text` with its wildcards standing for themselves."""
    return re.sub(r"([*?[])", r"[\1]", text)


def unquoted(text: str) -> str:
    """Return the path that a pattern without wildcards names."""
    return _QUOTED.sub(r"\1", text)


def below(path: str, directory: str) -> bool:
    """Is `path` the directory itself, or does it lie in it?"""
    return path == directory or directory == "/" or path.startswith(directory + "/")


class Expander:
    """Finds what a pattern names, by listing the directories that it names and no others."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.listings: dict[str, list[str]] = {}
        self.closed: dict[str, str] = {}  # real path of each directory that we may not look into: why

    def expand(self, path: str, origin: Origin, *, hide: bool, optional: bool) -> list[str] | None:
        """Return the paths that `path` matches, sorted; None if it holds no wildcard and names one path.

        `hide`: wildcards match names that begin with a dot, and a directory that we may not look into
        matches whole, as what lies in it is not known; otherwise such a directory is an error, unless
        `optional`.  Raises ProfileError, also where too many directories would have to be listed.
        """
        if not _WILD.search(_QUOTED.sub("", path)):
            return None
        parts = path.strip("/").split("/")
        self.closed.clear()
        found = set(self._walk("", parts, origin, dotted=hide))
        if hide:
            return sorted(found | set(self.closed))
        for directory, reason in self.closed.items():
            if not optional:
                raise ProfileError(
                    f'"{unquoted(path)}": cannot look into {directory}: {reason}',
                    where=origin.text,
                    hint=f"open it (chmod u+rx {directory}), or name the paths without a wildcard",
                )
        return sorted(found)

    def _walk(self, base: str, parts: list[str], origin: Origin, *, dotted: bool) -> Iterator[str]:
        while parts and not _WILD.search(_QUOTED.sub("", parts[0])):
            base, parts = f"{base}/{unquoted(parts[0])}", parts[1:]
        if not parts:
            found = self.resolver.resolve(base)
            if found.exists:
                yield base
            elif found.closed:
                self.closed[found.real] = found.refusal
            return
        if parts[0] == "**":
            for directory in self._tree(base, origin, dotted=dotted):
                # `a/**` is all below a, directories and files; `a/**/b` also a/b.
                yield from self._walk(directory, parts[1:] or ["*"], origin, dotted=dotted)
            return
        matches = re.compile(translate(parts[0])).match
        hidden = dotted or parts[0].startswith(".")
        for name in self._names(base, origin):
            if matches(name) and (hidden or not name.startswith(".")):
                yield from self._walk(f"{base}/{name}", parts[1:], origin, dotted=dotted)

    def _tree(self, top: str, origin: Origin, *, dotted: bool) -> Iterator[str]:
        """Yield `top` and the directories below it; symlinks are not followed."""
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            yield directory
            real = self.resolver.resolve(directory or "/").real
            waiting += [
                f"{directory}/{name}"
                for name in self._names(directory, origin)
                if (dotted or not name.startswith(".")) and self._is_directory(f"{real.rstrip('/')}/{name}")
            ]

    def _is_directory(self, path: str) -> bool:
        """Is `path` itself a directory, not a symlink to one?"""
        try:
            return stat.S_ISDIR(self.resolver.node(path) or 0)
        except OSError as error:  # in a directory that we may list but not enter
            self.closed[os.path.dirname(path)] = error.strerror or str(error)
            return False

    def _names(self, directory: str, origin: Origin) -> list[str]:
        found = self.resolver.resolve(directory or "/")
        if found.closed:
            self.closed[found.real] = found.refusal
        if not found.directory:
            return []
        if found.real not in self.listings:
            if len(self.listings) >= DIRECTORIES_LISTED:
                raise ProfileError(
                    f"more than {DIRECTORIES_LISTED} directories would have to be listed",
                    where=origin.text,
                    hint="name a smaller tree before the wildcard",
                )
            try:
                self.listings[found.real] = self.resolver.inputs.names(found.real)
            except OSError as error:
                self.closed[found.real] = error.strerror or str(error)
                return []
        return self.listings[found.real]
