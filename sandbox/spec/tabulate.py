"""Write `sandbox/spec/table.py`: the types of `sandbox.spec.runtime` as literals, for `sandbox.spec.quick`.

python -m sandbox.spec.tabulate > sandbox/spec/table.py
"""

from __future__ import annotations

import sys

import msgspec
from msgspec import inspect

from sandbox.spec import runtime
from sandbox.spec.document import MOST

KINDS = ("TEXT", "NUMBER", "FLAG", "LIST", "MAP", "OBJECT")

_HEAD = '''"""Generated from sandbox/spec/runtime.py by ./dev docs: the types of the specification for `sandbox.spec.quick`.

Of each object: its members as (attribute, kind, detail), the attributes without which it is none, the defaults of the
others, and which of these are a list, a map, an object of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Entry = tuple[
        dict[str, tuple[str, int, Any]],
        tuple[str, ...],
        dict[str, object],
        tuple[str, ...],
        tuple[str, ...],
        tuple[tuple[str, str], ...],
    ]

'''


def table() -> str:
    """Return the module's text, in the format of the formatter."""
    lines = [_HEAD + "\n".join(f"{name} = {number}" for number, name in enumerate(KINDS)), ""]
    lines += ["TABLE: dict[str, Entry] = {"]
    for cls in vars(runtime).values():
        # Sections for other platforms are not read: that one is there is enough to give up.
        if isinstance(cls, type) and issubclass(cls, runtime.Struct) and cls not in (runtime.Struct, runtime.Foreign):
            lines += _entry(cls)
    return "\n".join([*lines, "}", ""])


def _entry(cls: type[runtime.Struct]) -> list[str]:
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    members, required, defaults = [], [], {}
    lists, maps, objects = [], [], []
    for field in kind.fields:
        name = field.name
        if (found := _kind(field.type)) is not None:
            members.append(f"            {_literal(field.encode_name)}: ({_literal(name)}, {found}),")
        if field.required:
            required.append(name)
        elif field.default is not msgspec.NODEFAULT:
            defaults[name] = field.default
        elif field.default_factory is list:
            lists.append(name)
        elif field.default_factory is dict:
            maps.append(name)
        else:
            assert isinstance(field.type, inspect.StructType)
            objects.append((name, field.type.cls.__name__))
    return [
        f'    "{cls.__name__}": (',
        "        {",
        *members,
        "        },",
        *_tuple(required),
        *(
            ["        {", *(f"            {_literal(n)}: {_literal(v)}," for n, v in defaults.items()), "        },"]
            if defaults
            else ["        {},"]
        ),
        *_tuple(lists),
        *_tuple(maps),
        *_tuple(objects),
        "    ),",
    ]


def _tuple(values: list[str] | list[tuple[str, str]]) -> list[str]:
    if len(values) < 2:
        return [f"        ({', '.join(f'{_literal(value)},' for value in values)}),"]
    return ["        (", *(f"            {_literal(value)}," for value in values), "        ),"]


def _literal(value: object) -> str:
    """Return `value` as the formatter writes it."""
    if isinstance(value, tuple):
        return f"({', '.join(_literal(item) for item in value)})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _kind(kind: inspect.Type) -> str | None:
    """Return the kind and its detail, None for what is not read."""
    most = None
    if isinstance(kind, inspect.Metadata):
        most = (kind.extra or {}).get(MOST)
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        (kind,) = (entry for entry in kind.types if not isinstance(entry, inspect.NoneType))
        return _kind(kind)
    if isinstance(kind, inspect.StrType):
        return "TEXT, None"
    if isinstance(kind, inspect.BoolType):
        return "FLAG, None"
    if isinstance(kind, inspect.IntType):
        return f"NUMBER, ({kind.ge}, {most or kind.le})"
    if isinstance(kind, inspect.ListType):
        return f"LIST, ({_kind(kind.item_type)})"
    if isinstance(kind, inspect.DictType):
        return f"MAP, ({_kind(kind.value_type)})"
    assert isinstance(kind, inspect.StructType)
    return None if kind.cls is runtime.Foreign else f'OBJECT, "{kind.cls.__name__}"'


if __name__ == "__main__":
    sys.stdout.write(table())
