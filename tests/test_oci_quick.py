"""The quick reader of `config.json`: what it accepts is what the careful one makes of it, attribute for attribute."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect
from needs import CHECKOUT

from sandbox.errors import SpecError
from sandbox.spec import document, quick, runtime, tabulate
from sandbox.spec.runtime import Process, Resources, Spec

BASE: dict[str, Any] = {
    "ociVersion": "1.0.2-dev",
    "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "rlimits": []},
    "root": {"path": "rootfs"},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro"]}],
    "linux": {"namespaces": [{"type": "mount"}], "sysctl": {"net.ipv4.ip_forward": "1"}, "timeOffsets": {}},
}


def same(record: object, struct: object) -> bool:
    """Has the quick reader's object every attribute of the careful one's, of the same type and value?"""
    if isinstance(struct, msgspec.Struct):
        return (
            isinstance(record, quick.Record)
            and set(vars(record)) == set(struct.__struct_fields__)
            and all(same(getattr(record, name), getattr(struct, name)) for name in struct.__struct_fields__)
        )
    if isinstance(struct, list):
        return isinstance(record, list) and len(record) == len(struct) and all(map(same, record, struct))
    if isinstance(struct, dict):
        return (
            isinstance(record, dict)
            and list(record) == list(struct)
            and all(same(record[name], struct[name]) for name in struct)
        )
    return type(record) is type(struct) and record == struct


def agree(content: bytes) -> bool:
    """See that both readers agree on `content`; return whether the quick one accepted it."""
    record = quick.spec(content)
    if record is not None:
        struct, warnings = document.decode_leniently(content, Spec)
        assert same(record, struct)
        assert not warnings
    return record is not None


def test_the_table_is_what_is_generated() -> None:
    assert (CHECKOUT / "sandbox/spec/table.py").read_text() == tabulate.table(), "run ./dev docs"


def test_a_bundle_of_runc_is_read(tmp_path: Path) -> None:
    subprocess.run(["runc", "spec", "--rootless"], cwd=tmp_path, check=True)

    assert agree((tmp_path / "config.json").read_bytes())


def test_parts_are_read_by_themselves() -> None:
    process = b'{"args": ["sh"], "cwd": "/", "capabilities": {"bounding": ["CAP_KILL"]}}'
    resources = b'{"memory": {"limit": -1}, "unified": {"memory.high": "1"}, "devices": [{"allow": false}]}'

    assert same(quick.process(process), document.decode(process, Process))
    assert same(quick.resources(resources), document.decode(resources, Resources))


def test_lists_are_an_objects_own() -> None:
    first, second = quick.process(b"{}"), quick.process(b"{}")
    assert first is not None
    assert second is not None
    first.args.append("x")

    assert second.args == []


CLOSER_LOOK = {
    "an unknown member": b'{"ociVersion": "1.0.0", "x": 1}',
    "a section for another platform": b'{"windows": {}}',
    "null": b'{"hooks": null}',
    "a member that is there twice": b'{"hostname": "a", "hostname": "b"}',
    "one in a map": b'{"annotations": {"a": "", "a": ""}}',
    "one that is missing": b'{"root": {}}',
    "a boolean for a number": b'{"process": {"user": {"uid": true}}}',
    "a number for a boolean": b'{"process": {"terminal": 1}}',
    "a fraction": b'{"process": {"user": {"uid": 0.0}}}',
    "an exponent": b'{"process": {"user": {"uid": 1e3}}}',
    "NaN": b'{"process": {"user": {"uid": NaN}}}',
    "too small": b'{"process": {"user": {"uid": -1}}}',
    "too large": b'{"process": {"user": {"uid": 4294967296}}}',
    "too many digits": b'{"process": {"user": {"uid": ' + b"9" * 5000 + b"}}}",
    "a lone surrogate": b'{"hostname": "\\ud800"}',
    "NUL": b'{"hostname": "\\u0000"}',
    "a control character": b'{"hostname": "\n"}',
    "no UTF-8": b'{"hostname": "\xff"}',
    "a surrogate as UTF-8": b'{"hostname": "\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "nothing": b"",
    "no object": b"[]",
    "something behind": b"{} x",
    "another space": b"{}\xc2\xa0",
    "a form feed": b"\f{}",
    "too deep": b'{"linux": ' * 100_000,
}


@pytest.mark.parametrize("content", CLOSER_LOOK.values(), ids=CLOSER_LOOK.keys())
def test_what_is_not_plainly_right_is_left_to_the_careful_one(content: bytes) -> None:
    assert quick.spec(content) is None


PLAINLY_RIGHT = {
    "empty": b"{}",
    "space around": b" \t\r\n{}\n\n",
    "the largest numbers": b'{"process": {"rlimits": [{"type": "x", "hard": 18446744073709551615, "soft": 0}], '
    b'"oomScoreAdj": -9223372036854775808}}',
    "minus zero": b'{"process": {"user": {"uid": -0}}}',
    "escapes": b'{"hostname": "\\u003c\\n\\"\\/\\\\"}',
    "other scripts": '{"hostname": "бокс😀"}'.encode(),
    "empty names": b'{"annotations": {"": ""}}',
}


@pytest.mark.parametrize("content", PLAINLY_RIGHT.values(), ids=PLAINLY_RIGHT.keys())
def test_what_is_plainly_right_is_read(content: bytes) -> None:
    assert agree(content)


# --- whatever it is ---


def _values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Return documents of a type, the members that may be left out in some."""
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        return _values(next(entry for entry in kind.types if not isinstance(entry, inspect.NoneType)))
    if isinstance(kind, inspect.StructType):
        # Of a section for another platform it is known beforehand that it is left to the careful one.
        fields = [field for field in kind.fields if "Foreign" not in str(field.type)]
        return st.fixed_dictionaries(
            {field.encode_name: _values(field.type) for field in fields if field.required},
            optional={field.encode_name: _values(field.type) for field in fields if not field.required},
        )
    if isinstance(kind, inspect.ListType):
        return st.lists(_values(kind.item_type), max_size=2)
    if isinstance(kind, inspect.DictType):
        return st.dictionaries(st.text(max_size=3), _values(kind.value_type), max_size=2)
    if isinstance(kind, inspect.IntType):
        edges = [0, 1, -1, 2**16, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1]
        return st.sampled_from(edges)
    return st.booleans() if isinstance(kind, inspect.BoolType) else st.text(max_size=3)


SOMETHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
PARTS = [cls for cls in vars(runtime).values() if isinstance(cls, type) and issubclass(cls, runtime.Struct)]
NAMES = sorted({field.encode_name for cls in PARTS for field in inspect.type_info(cls).fields})


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(_values(inspect.type_info(Spec)), st.booleans())
def test_both_agree_on_whatever_the_types_allow(value: Any, ascii: bool) -> None:  # noqa: A002 (as in json.dumps)
    agree(json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass"))


def _inner(value: Any) -> list[Any]:
    """Return every array and object in a document."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [value] if isinstance(value, dict | list) and value else []
    for item in items:
        found += _inner(item)
    return found


@given(st.data())
def test_both_agree_on_anything_anywhere(data: st.DataObject) -> None:
    value = copy.deepcopy(BASE)
    place = data.draw(st.sampled_from(_inner(value)))
    if isinstance(place, dict):
        place[data.draw(st.sampled_from([*place, *NAMES]))] = data.draw(SOMETHING)
    else:
        place[data.draw(st.integers(0, len(place) - 1))] = data.draw(SOMETHING)
    agree(json.dumps(value).encode())


@given(st.integers(0, 1000), st.binary(max_size=3))
def test_both_agree_on_a_damaged_document(at: int, damage: bytes) -> None:
    content = json.dumps(BASE).encode()
    at %= len(content)
    content = content[:at] + damage + content[at + len(damage) :]
    if not agree(content):
        try:
            document.decode_leniently(content, Spec)
        except SpecError as error:
            assert str(error).startswith("config.json: ")


# As on the start path: neither json nor msgspec is there.
BARE = """
import sys
sys.path[:0] = eval(sys.argv[1])
from sandbox.spec import quick
assert quick.spec(b'{"hostname": "x"}').hostname == "x"
assert not {"msgspec", "json", "re"} & {*sys.modules}
for content in eval(sys.argv[2]):
    assert quick.spec(content) is None, content
# From 3.13 on the scanner imports json itself, to say what is wrong.
assert not ({"msgspec"} if sys.version_info >= (3, 13) else {"msgspec", "json", "re"}) & {*sys.modules}
"""


def test_both_ways_need_neither_msgspec_nor_json() -> None:
    damaged = [json.dumps(BASE).encode()[:length] for length in range(0, 300, 7)]
    contents = repr([*CLOSER_LOOK.values(), *damaged])
    # Too long for an argument.
    contents = contents.replace(repr(CLOSER_LOOK["too deep"]), "b'{\"linux\": ' * 100_000")

    subprocess.run([sys.executable, "-I", "-S", "-c", BARE, repr(sys.path), contents], check=True)
