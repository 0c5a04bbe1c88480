"""Which line a key or element of a TOML document stands on."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from sandbox.profile.lines import Key, positions

DOCUMENT = '''\
# a comment with "quotes" and [brackets]
title = "one" # = [2]

[filesystem]
read = [
  "/usr", # first
  # none
  '/lit#eral', "/third",
  """multi
line ""quotes"" and \\" and ]
""", \'\'\'
raw ' '' \\\'\'\',
  ["nested", [
     1, 2]],
]
write = ["."]
"quoted key".'lit.eral' . bare = { a = 1, "b\\u0041" = [ 2,
  3 ], c = { d = 1979-05-27 07:32:00 } }

[[oci.mounts]]
destination = "/a"
options = ["x"]

[[oci.mounts]]
destination = "/b"
[oci.mounts.inner]
deep = true
[[oci.mounts.list]]
k = 1
[[oci.mounts.list]]
k = 2.5e1

[ a . "b" ]
last = """"two quotes more"""""
'''

EXPECTED: dict[Key, int] = {
    ("title",): 2,
    ("filesystem",): 4,
    ("filesystem", "read"): 5,
    ("filesystem", "read", 0): 6,
    ("filesystem", "read", 1): 8,
    ("filesystem", "read", 2): 8,
    ("filesystem", "read", 3): 9,
    ("filesystem", "read", 4): 11,
    ("filesystem", "read", 5): 13,
    ("filesystem", "read", 5, 1): 13,
    ("filesystem", "read", 5, 1, 1): 14,
    ("filesystem", "write"): 16,
    ("filesystem", "write", 0): 16,
    ("filesystem", "quoted key", "lit.eral", "bare", "a"): 17,
    ("filesystem", "quoted key", "lit.eral", "bare", "bA", 1): 18,
    ("filesystem", "quoted key", "lit.eral", "bare", "c", "d"): 18,
    ("oci", "mounts", 0): 20,
    ("oci", "mounts", 0, "options", 0): 22,
    ("oci", "mounts", 1, "destination"): 25,
    ("oci", "mounts", 1, "inner", "deep"): 27,
    ("oci", "mounts", 1, "list", 0, "k"): 29,
    ("oci", "mounts", 1, "list", 1, "k"): 31,
    ("a",): 33,
    ("a", "b", "last"): 34,
}


@pytest.mark.parametrize("key", EXPECTED)
def test_each_kind_of_value_is_found_on_its_line(key):
    tomllib.loads(DOCUMENT)

    assert positions(DOCUMENT)[key] == EXPECTED[key]


def test_windows_line_ends_count_as_one_line():
    assert positions(DOCUMENT.replace("\n", "\r\n")) == positions(DOCUMENT)


def keys_of(value: Any, key: Key = ()) -> set[Key]:
    entries: Any = []
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    return {found for name, entry in entries for found in {(*key, name), *keys_of(entry, (*key, name))}}


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
SCALAR = st.one_of(
    TEXT,
    st.sampled_from(['"', "'''", '"""', "\\", "#", "]", "}", "a\nb", "=", ","]),
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.floats(allow_nan=False),
    st.datetimes(),
    st.dates(),
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)
TABLE = st.dictionaries(TEXT, VALUE, max_size=5)


@given(TABLE, st.booleans())
def test_every_key_and_element_has_a_line(table, multiline):
    document = tomli_w.dumps(table, multiline_strings=multiline)
    lines = positions(document)

    assert set(lines) == keys_of(tomllib.loads(document))
    assert all(1 <= line <= document.count("\n") + 1 for line in lines.values())


@st.composite
def numbered(draw):
    """A document of keys and elements, each of which holds its own line number."""
    lines: list[str] = []
    for table in range(draw(st.integers(0, 3))):
        lines += draw(st.lists(st.sampled_from(["", "# comment [x]", "  "]), max_size=2))
        lines.append(draw(st.sampled_from(["[t{}]", "[ 't{}' ]", '["t{}".x]', "[[u]]"])).format(table))
        for key in range(draw(st.integers(0, 3))):
            form = draw(st.sampled_from(["plain", "dotted", "array", "inline"]))
            here = len(lines) + 1
            if form == "plain":
                lines.append(f"k{key} = {here} # ]")
            elif form == "dotted":
                lines.append(f"'k{key}' . \"x\" = {here}")
            elif form == "inline":
                lines.append(f"k{key} = {{ a = {here}, b = [{here}, {{ c = {here} }}] }}")
            else:
                lines.append(f"k{key} = [{here}, # one")
                for _ in range(draw(st.integers(0, 3))):
                    lines += ["  # ] none"] * draw(st.integers(0, 1))
                    lines.append(f"   {len(lines) + 1},")
                lines.append("]")
    return "\n".join(lines)


@given(numbered())
def test_the_line_is_that_of_the_value(document):
    def check(value: Any, key: Key) -> None:
        if isinstance(value, int):
            assert lines[key] == value
        elif isinstance(value, dict):
            for name, entry in value.items():
                check(entry, (*key, name))
        else:
            for index, entry in enumerate(value):
                check(entry, (*key, index))

    lines = positions(document)
    check(tomllib.loads(document), ())
