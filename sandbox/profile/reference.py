"""`docs/profiles.md`, generated from the schema: `python -m sandbox.profile.reference > docs/profiles.md`."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, NamedTuple

import msgspec
import msgspec.inspect as types

from sandbox.profile.limits import RLIMITS
from sandbox.profile.schema import Profile

_INTRODUCTION = """\
# Profiles

<!-- Generated from sandbox/profile/schema.py: python -m sandbox.profile.reference > docs/profiles.md -->

A profile is a TOML file that says what a sandboxed command sees and may do. `sandbox run -p NAME` looks for
`NAME.toml` in `$XDG_CONFIG_HOME/sandbox/profiles` (`~/.config/sandbox/profiles`), then among the shipped ones; a name
with a `/` or the ending `.toml` is a path. `sandbox profile show NAME` prints what it comes to, each value with the line
that it was written on.

```toml
description = "Build with a compiler cache"
extends = "build"

[filesystem]
write = ["~/.cache/ccache"]

[environment]
set = { CCACHE_DIR = "$HOME/.cache/ccache" }
```

A key that is not listed here is refused, as is a value of another type, with the line where it stands.

## A project's own profile

A file `.sandbox.toml` in the working directory, and in those above it, is laid over the profile, the outermost first, and
the options of the command line over all. In it `.` is the directory of the file. Whoever wrote it may be a stranger, or the command
itself in an earlier run, so by itself it may only *tighten*: hide, show read-only or empty what was writable, drop
variables, lower limits, `mode = "none"`, `seccomp = "strict"`. What allows more than the profile does is named with its
line, and nothing runs, until you have approved it:

    sandbox profile trust            shows what it asks for beyond the default profile, and asks
    sandbox profile trust -p NAME    the same for runs with -p NAME
    sandbox profile trust --list     what is approved; sandbox profile untrust takes it back
    sandbox run --no-project …       without it

An approval is for exactly this content at this place, kept below `$XDG_CONFIG_HOME/sandbox/trusted`, which no sandbox
sees. `extends` names another profile than `build` as the base, if that allows no more or the file is trusted; where the
command line names one, that is the base. It may only be a name, and `seccomp` no file, since what is in a file of the
project can change unasked.

It is looked for in directories that belong to you alone, not in your home directory itself nor above it, and not
beyond a mount point. One in a directory that others may write to, such as `/tmp`, is passed over with a note; one
that is a symlink, or that others may write, is refused. In a writable tree it is read-only inside.
"""


class Entry(NamedTuple):
    """A key of a profile."""

    key: str  # "filesystem.read"
    type: str  # in words
    description: str
    examples: tuple[str, ...]  # as they are written in the key's table


def entries() -> list[Entry]:
    """Return all keys, in the order of the schema."""
    profile = types.type_info(Profile)
    assert isinstance(profile, types.StructType)
    found = []
    for field in profile.fields:
        section = _section(field)
        if section is None:
            found.append(_entry("", field))
        else:
            found += [_entry(f"{field.encode_name}.", entry) for entry in section.fields]
    return found


def _entry(table: str, field: types.Field) -> Entry:
    examples = tuple(_schema(field.type).get("examples", ()))
    return Entry(f"{table}{field.encode_name}", _kind(field.type), _description(field.type), examples)


def document() -> str:
    """Return the text of `docs/profiles.md`."""
    profile = types.type_info(Profile)
    assert isinstance(profile, types.StructType)
    parts = [_INTRODUCTION, "## The profile itself\n", _text(Profile) + "\n"]
    parts += [_key(field) for field in profile.fields if _section(field) is None and field.name != "oci"]
    for field in profile.fields:
        section = _section(field)
        if section is not None:
            parts += [f"## [{field.encode_name}]\n", _text(section.cls) + "\n"]
            parts += [_key(entry) for entry in section.fields]
    parts += ["## [oci]\n", *(_description(field.type) + "\n" for field in profile.fields if field.name == "oci")]
    parts += [_example(field.type) for field in profile.fields if field.name == "oci"]
    parts += ["## Limits of a process\n", ", ".join(f"`{name}`" for name in RLIMITS) + ".\n"]
    return "\n".join(part for part in parts if part)


def _section(field: types.Field) -> types.StructType | None:
    return field.type if isinstance(field.type, types.StructType) else None


def _text(cls: type) -> str:
    """Return the docstring of a section."""
    return re.sub(r"(?<!\n)\n(?![-\n ])", "\n", inspect.cleandoc(cls.__doc__ or ""))


def _key(field: types.Field) -> str:
    lines = [f"### `{field.encode_name}`\n", f"*{_kind(field.type)}.* {_description(field.type)}\n"]
    return "\n".join([*lines, _example(field.type)])


def _example(kind: types.Type) -> str:
    examples = _schema(kind).get("examples", [])
    return "\n".join(f"```toml\n{example}\n```\n" for example in examples)


def _description(kind: types.Type) -> str:
    return str(_schema(kind).get("description", ""))


def _schema(kind: types.Type) -> dict[str, Any]:
    return kind.extra_json_schema or {} if isinstance(kind, types.Metadata) else {}


def _kind(kind: types.Type) -> str:
    """Say a type in words."""
    if isinstance(kind, types.Metadata):
        return _kind(kind.type)
    if isinstance(kind, types.UnionType):
        return " or ".join(_kind(entry) for entry in kind.types if not isinstance(entry, types.NoneType))
    if isinstance(kind, types.ListType):
        return f"list of {_kind(kind.item_type)}s"
    if isinstance(kind, types.DictType):
        return f"table of {_kind(kind.value_type)}" if not isinstance(kind.value_type, types.AnyType) else "table"
    if isinstance(kind, types.LiteralType):
        return " or ".join(f'`"{value}"`' for value in sorted(map(str, kind.values)))
    if isinstance(kind, types.StructType):
        return "{ " + ", ".join(field.encode_name for field in kind.fields) + " }"
    names: dict[type, str] = {
        types.StrType: "string",
        types.IntType: "number",
        types.FloatType: "fractional number",
        types.BoolType: "true or false",
    }
    return names.get(type(kind), msgspec.json.encode(str(kind)).decode())


if __name__ == "__main__":
    sys.stdout.write(document())
