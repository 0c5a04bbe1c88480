"""Find profiles, read them, and lay them over one another.

Decides which file a name means, the order of the layers, and how their values come together; each
value keeps where it was written.  What the values mean is left to `expand`.
"""

from __future__ import annotations

import os
import re
import tomllib
from typing import Any, NamedTuple

import msgspec

import sandbox
from sandbox.errors import ProfileError
from sandbox.plan.inputs import Inputs
from sandbox.profile.lines import Key, positions
from sandbox.profile.option_words import shares, user_ids
from sandbox.profile.schema import Profile

DEEPEST = 50
"""So many tables and lists in one another are no profile; an OCI spec has 8."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# How the options of the command line are spelled whose name is not the last part of their key.
_SPELLINGS = {
    "network.mode": "--network",
    "environment": "--env",
    "environment.keep_all": "--keep-env",
    **{
        f"limits.{name.replace('-', '_')}": f"--{name}"
        for name in (
            "timeout-grace",
            "memory-high",
            "memory-low",
            "memory-min",
            "oom-group",
            "cpu-weight",
            "cpuset-mems",
            "io-weight",
        )
    },
    "report.file": "--report",
    "report.page": "--report",
    "process.log_size": "--log-size",
}


def is_page(path: str) -> bool:
    """Is a report of that name to be looked at, rather than read by a program?"""
    return path.lower().endswith((".html", ".htm"))


class Origin(NamedTuple):
    """Where a value was written."""

    text: str  # "build.toml:12: filesystem.write[0]", or "--write PATH"
    layer: int  # the later layer has the higher number
    file: bool  # in a profile, not on the command line
    directory: str = ""  # what "." means, if not the working directory


class Layer(NamedTuple):
    """One profile, or the options of the command line, as it was written."""

    label: str  # what stands before the line number; empty for the command line
    path: str  # the profile's file
    values: dict[str, Any]
    lines: dict[Key, int]
    words: dict[Key, str]  # origins that are not lines of a file
    directory: str = ""  # as in Origin


class Layered(NamedTuple):
    """All layers, laid over one another."""

    profile: Profile
    values: dict[str, Any]  # the same as plain tables and lists
    origins: dict[Key, Origin]  # of each single value and each element of a list
    files: tuple[str, ...]  # that were read

    def origin(self, *key: str | int) -> Origin:
        """Return where `key` was written; of a value that nobody wrote, that it is the default."""
        found = self.origins.get(key)
        return found if found is not None else Origin(f"default: {key_text(key)}", -1, file=False)


def key_text(key: Key) -> str:
    """Return `key` as people write it: `filesystem.read[1]`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def user_directory(inputs: Inputs) -> str:
    """Return the directory of the user's own configuration, empty where there is no home.

    XDG Base Directory Specification: a relative path in the variable is to be ignored.
    """
    configured = inputs.variable("XDG_CONFIG_HOME") or ""
    if configured.startswith("/"):
        return f"{configured.rstrip('/')}/sandbox"
    home = inputs.variable("HOME") or ""
    return f"{home.rstrip('/')}/.config/sandbox" if home.startswith("/") else ""


def shipped_directory() -> str:
    """Return where the shipped profiles lie: in the package, or beside it in a checkout."""
    package = os.path.dirname(os.path.abspath(sandbox.__file__))
    inside = f"{package}/profiles"
    return inside if os.path.isdir(inside) else f"{os.path.dirname(package)}/profiles"


def load(profiles: tuple[str, ...], options: tuple[tuple[str, str], ...], cwd: str, inputs: Inputs) -> Layered:
    """Read `profiles` with all that they extend, and lay `options` over them.

    `options` are pairs of a profile key and a value, as the command line gives them.
    Raises ProfileError.
    """
    return lay([*read(profiles, cwd, inputs), *command_line(options)])


def read(profiles: tuple[str, ...], cwd: str, inputs: Inputs, *, asked_by: str = "--profile") -> list[Layer]:
    """Read `profiles` with all that they extend, each file once.  Raises ProfileError."""
    stack = Stack(cwd, inputs)
    for name in profiles:
        stack.add(name, cwd, asked_by=asked_by, chain=())
    return stack.layers


def lay(layers: list[Layer]) -> Layered:
    """Lay `layers` over one another: lists grow, tables are merged, of single values the last counts."""
    values: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    for number, layer in enumerate(layers):
        own = {name: value for name, value in layer.values.items() if name != "extends"}
        _merge(values, own, _Writer(layer, number, origins), (), ())
    return Layered(
        profile=msgspec.convert(values, Profile),
        values=values,
        origins=origins,
        files=tuple(layer.path for layer in layers if layer.path),
    )


class _Writer:
    """Writes down where the values of one layer come from."""

    def __init__(self, layer: Layer, number: int, origins: dict[Key, Origin]) -> None:
        self.layer = layer
        self.number = number
        self.origins = origins

    def note(self, key: Key, written: Key) -> None:
        """Note that `key` of the result stands at `written` in the layer."""
        text = self.layer.words.get(written) or place(self.layer, written)
        self.origins[key] = Origin(text, self.number, file=bool(self.layer.path), directory=self.layer.directory)


def place(layer: Layer, key: Key) -> str:
    """Return where `key` stands in a layer: `build.toml:12: filesystem.read[1]`."""
    line = next((layer.lines[key[:length]] for length in range(len(key), 0, -1) if key[:length] in layer.lines), 0)
    return f"{layer.label}:{line}: {key_text(key)}"


def _merge(into: dict[str, Any], values: dict[str, Any], writer: _Writer, key: Key, written: Key) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.setdefault(name, {}), dict):
            writer.note((*key, name), (*written, name))
            _merge(into[name], value, writer, (*key, name), (*written, name))
        elif isinstance(value, list) and isinstance(into.setdefault(name, []), list):
            for index, element in enumerate(value):
                writer.note((*key, name, len(into[name])), (*written, name, index))
                into[name].append(element)
        else:
            into[name] = value
            writer.note((*key, name), (*written, name))


def command_line(options: tuple[tuple[str, str], ...]) -> list[Layer]:
    """Return the layer that the options of a command line are; none without options."""
    if not options:
        return []
    raw: dict[str, Any] = {}
    words: dict[Key, str] = {}
    for key, value in options:
        option = _SPELLINGS.get(key, "--" + key.rpartition(".")[2])
        if key == "environment":
            name, equals, text = value.partition("=")
            if not name:
                raise ProfileError(f'"{value}" has no name', where="--env", hint="write --env NAME or --env NAME=VALUE")
            section = raw.setdefault("environment", {})
            if equals:
                section.setdefault("set", {})[name] = text
                words["environment", "set", name] = f"{option} {name}"
                continue
            key, value = "environment.keep", name
        if key == "user":
            for name, number in user_ids(value, option).items():
                raw.setdefault("user", {})[name] = number
                words["user", name] = f"{option} {value}"
            continue
        table, _, name = key.partition(".")
        if key in ("limits.io", "limits.hugepages"):
            subject, entries = shares(value, option, pairs=key == "limits.io")
            of_subject = raw.setdefault(table, {}).setdefault(name, {})
            words[table, name, subject] = f"{option} {value}"
            if isinstance(entries, str):
                of_subject[subject] = entries
                continue
            of_subject.setdefault(subject, {}).update(entries)
            words.update({(table, name, subject, entry): f"{option} {value}" for entry in entries})
        elif key in _LISTS:
            elements = raw.setdefault(table, {}).setdefault(name, [])
            words[table, name, len(elements)] = f"{option} {value}"
            elements.append(value)
        else:
            raw.setdefault(table, {})[name] = value
            words[table, name] = option if value in ("true", "false") else f"{option} {value}"
    return [Layer("", "", _converted(raw, words), {}, words)]


_LISTS = (
    "filesystem.read",
    "filesystem.write",
    "filesystem.hide",
    "filesystem.protect",
    "filesystem.tmp",
    "environment.keep",
    "network.publish",
    "network.dns",
)


def _converted(raw: dict[str, Any], words: dict[Key, str]) -> dict[str, Any]:
    """Give the texts of a command line the types that the profile has."""
    for (table, *rest), option in words.items():
        name = str(rest[0])
        if (table, name) in (("limits", "io"), ("limits", "hugepages")):
            continue  # tables of texts in a profile, too
        value = raw[str(table)][name]
        single = {str(table): {name: value}}
        try:
            section = getattr(msgspec.convert(single, Profile, strict=False), str(table))
        except msgspec.ValidationError as error:
            from sandbox.profile.complaint import type_error  # late: only where something is wrong

            refused = type_error(option, "", error)
            raise ProfileError(f"is refused: {value}", where=option.partition(" ")[0], hint=refused.hint) from error
        raw[str(table)][name] = getattr(section, name)
    return raw


class Stack:
    """The layers so far, each file once; the first thing that is wrong is an error."""

    def __init__(self, cwd: str, inputs: Inputs) -> None:
        self.cwd = cwd
        self.inputs = inputs
        self.layers: list[Layer] = []

    def add(self, name: str, directory: str, *, asked_by: str, chain: tuple[str, ...]) -> None:
        """Add what profile `name` extends, then itself; `chain` are the files that led here."""
        path, label, content = self._find(name, directory, asked_by, but=chain[-1] if chain else "")
        if path in chain:
            names = " extends ".join(_short(entry) for entry in (*chain[chain.index(path) :], path))
            raise ProfileError(f"goes in a circle: {names}", where=asked_by, hint="leave out one of them")
        if any(layer.path == path for layer in self.layers):
            return
        layer = self.parse(label, path, content)
        extends = layer.values.get("extends", [])
        for index, parent in enumerate([extends] if isinstance(extends, str) else extends):
            key: Key = ("extends",) if isinstance(extends, str) else ("extends", index)
            self.add(parent, os.path.dirname(path), asked_by=place(layer, key), chain=(*chain, path))
        self.layers.append(layer)

    def parse(self, label: str, path: str, content: bytes) -> Layer:
        """Read one profile.  Raises ProfileError."""
        return parse(label, path, content)

    def _find(self, name: str, directory: str, asked_by: str, *, but: str) -> tuple[str, str, bytes]:
        """Return path, label and content of the profile that `name` means, seen from `directory`.

        A name does not mean the file `but`, in which it stands: your build.toml may extend the shipped "build".
        """
        if "/" in name or name.endswith(".toml"):
            path = os.path.normpath(os.path.join(directory, self._home(name)))
            content = self.read(path, asked_by)
            if content is None:
                raise ProfileError(f"{path}: No such file or directory", where=asked_by)
            return path, name, content
        if not NAME.fullmatch(name):
            raise ProfileError(f'"{name}" is not the name of a profile', where=asked_by)
        user = user_directory(self.inputs)
        shipped = shipped_directory()
        # The user's first, and its absence is written down: a profile put there shadows ours at once.
        places = [(f"{user}/profiles", f"{user}/profiles/{name}.toml")] if user else []
        for folder, label in [*places, (shipped, f"{name}.toml")]:
            path = f"{folder}/{name}.toml"
            content = self.read(path, asked_by) if path != but else None
            if content is not None:
                return path, tilde(label, self.inputs), content
        raise self._unknown(name, asked_by)

    def read(self, path: str, asked_by: str) -> bytes | None:
        """Return the content of a profile, None where there is none.  Raises ProfileError."""
        try:
            return self.inputs.read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            from sandbox.profile.complaint import unreadable  # late: only where something is wrong

            raise unreadable(path, error, asked_by, self.inputs.variable("HOME") or "") from error

    def _home(self, name: str) -> str:
        home = self.inputs.variable("HOME") if name.startswith("~/") else None
        return home + name[1:] if home else name

    def _unknown(self, name: str, asked_by: str) -> ProfileError:
        from sandbox.profile.complaint import nearest  # late: only where something is wrong

        known = sorted({entry for entry, _ in available(self.inputs)})
        return ProfileError(f'no profile "{name}"', where=asked_by, hint=nearest(name, known))


def tilde(path: str, inputs: Inputs) -> str:
    """Return `path` as it is shown: from the home directory, where it lies in it."""
    home = inputs.variable("HOME") or "/"
    return "~" + path[len(home) :] if len(home) > 1 and path.startswith(home + "/") else path


def _short(path: str) -> str:
    return os.path.basename(path).removesuffix(".toml")


def parse(label: str, path: str, content: bytes) -> Layer:
    """Read one profile.  Raises ProfileError with the line of what is wrong."""
    try:
        document = content.decode()
        values = tomllib.loads(document)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        from sandbox.profile.complaint import syntax_error  # late: only where something is wrong

        raise syntax_error(label, error) from error
    except RecursionError as error:
        raise _too_deep(label) from error
    except ValueError as error:  # of int(), which the parser lets through
        raise ProfileError("holds a number of more digits than can be meant", where=label, hint="shorten it") from error
    check_depth(label, values)
    try:
        msgspec.convert(values, Profile)
    except msgspec.ValidationError as error:
        from sandbox.profile.complaint import type_error  # late: only where something is wrong

        raise type_error(label, document, error) from error
    return Layer(label, path, values, positions(document), {})


def check_depth(label: str, values: dict[str, Any]) -> None:
    """Refuse what those who walk through it later would have no stack for."""
    level: list[object] = [values]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise _too_deep(label)


def _too_deep(label: str) -> ProfileError:
    return ProfileError("is nested too deeply", where=label, hint="no key of a profile is")


def available(inputs: Inputs) -> list[tuple[str, str]]:
    """Return name and path of every profile that can be named, sorted; the user's stand for shipped ones."""
    found: dict[str, str] = {}
    user = user_directory(inputs)
    for folder in (shipped_directory(), f"{user}/profiles" if user else ""):
        try:
            entries = inputs.names(folder) if folder else []
        except OSError:  # closed to us: no profile can be read there either
            continue
        for entry in entries:
            name = entry.removesuffix(".toml")
            if name != entry and NAME.fullmatch(name):
                found[name] = f"{folder}/{entry}"
    return sorted(found.items())
