"""The plan's format: both ends agree, and what is damaged is refused."""

from __future__ import annotations

import os
import subprocess

import pytest
from conftest import BINARY
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import PlanError
from sandbox.plan.encode import MAX_SIZE, Plan, decode, encode
from sandbox.plan.inputs import Input, InputKind, Inputs
from sandbox.plan.layout import KINDS, fields
from sandbox.plan.ops import OPS, Isolate, Notice, Op, Step
from sandbox.plan.words import describe

# Whatever a path may be: anything but NUL, also bytes that are not UTF-8.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "U32": st.integers(0, 2**32 - 1),
    "U64": st.integers(0, 2**64 - 1),
    "Text": texts,
    "Texts": st.lists(texts, max_size=5).map(tuple),
    "Blob": st.binary(max_size=100),
}


@st.composite
def operations(draw: st.DrawFn) -> Op:
    cls = draw(st.sampled_from(sorted(OPS.values(), key=lambda cls: cls.__name__)))
    return cls(**{name: draw(FIELDS[kind]) for name, kind, _ in fields(cls)[0]})


steps = st.builds(Step, operations(), texts, st.integers(0, 7))
u64 = st.integers(0, 2**64 - 1)
times = st.integers(-(2**63), 2**63 - 1)
inputs = st.builds(
    Input,
    st.integers(InputKind.FILE, InputKind.KERNEL),
    texts,
    texts,
    device=u64,
    inode=u64,
    size=u64,
    mtime_ns=times,
    ctime_ns=times,
    mode=st.integers(0, 2**32 - 1),
)


@given(st.binary(max_size=50), st.lists(inputs, max_size=4).map(tuple), st.lists(steps, max_size=8).map(tuple))
def test_a_plan_comes_back_as_it_was(key: bytes, entries: tuple[Input, ...], operations: tuple[Step, ...]) -> None:
    plan = Plan(key, entries, operations)

    assert decode(encode(plan)) == plan


@given(st.data())
@settings(max_examples=300)
def test_a_flipped_bit_is_seen(data: st.DataObject) -> None:
    encoded = bytearray(encode(Plan(b"key", (), (Step(Notice(text="hello"), "here"), Step(Isolate(flags=1))))))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    with pytest.raises(PlanError):
        decode(bytes(encoded))


def execute(data: bytes) -> subprocess.CompletedProcess[str]:
    """Give the bytes to nsinit as the plan of a run of true(1)."""
    descriptor = os.memfd_create("plan")
    os.write(descriptor, data)
    try:
        return subprocess.run(
            ["sandbox-plan", str(descriptor), "0", "true"],
            executable=BINARY,
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    finally:
        os.close(descriptor)


def test_nsinit_refuses_every_damaged_plan() -> None:
    good = encode(Plan(b"key", (), (Step(Notice(text="hello"), "here"),)))
    damaged = [b"", good[:-8], good + bytes(8), good[:40], bytes(len(good)), bytes(MAX_SIZE + 8)]
    damaged += [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(0, len(good), 7)]

    for data in damaged:
        result = execute(data)
        assert result.returncode == 125
        assert "the plan cannot be read" in result.stderr


def test_nsinit_accepts_the_good_one_and_reports_what_it_lacks() -> None:
    result = execute(encode(Plan(b"key", (), (Step(Notice(text="hello"), "here"),))))

    assert "sandbox: hello" in result.stderr  # it was read and its notice was said
    assert result.returncode == 125  # but it isolates nothing, and so nothing runs


def test_a_text_with_a_nul_byte_is_refused() -> None:
    with pytest.raises(PlanError, match="NUL"):
        encode(Plan(b"", (), (Step(Notice(text="a\0b")),)))


def test_a_number_that_does_not_fit_is_refused_with_its_origin() -> None:
    with pytest.raises(PlanError, match=r"build.toml:3: Isolate cannot be stored"):
        encode(Plan(b"", (), (Step(Isolate(flags=2**64), "build.toml:3"),)))


def test_a_plan_that_nsinit_would_not_take_is_not_made() -> None:
    with pytest.raises(PlanError, match="more than"):
        encode(Plan(bytes(MAX_SIZE), (), ()))


@pytest.mark.parametrize("cls", OPS.values(), ids=lambda cls: cls.__name__)
def test_every_operation_has_words_and_known_fields(cls: type[Op]) -> None:
    empty = {"U32": 0, "U64": 0, "Text": "", "Texts": (), "Blob": b""}
    placed, size = fields(cls)

    assert describe(cls(**{name: empty[kind] for name, kind, _ in placed}))
    assert cls.__doc__
    for name, kind, offset in placed:
        assert offset % KINDS[kind][1] == 0, name
    assert size % 8 == 0


def test_a_symlink_that_is_replaced_is_another_input(tmp_path: os.PathLike[str]) -> None:
    link = os.path.join(tmp_path, "link")
    os.symlink("a", link)
    before, after = Inputs(), Inputs()
    before.node(link)
    os.unlink(link)
    os.symlink("b", link)
    after.node(link)

    assert before.seen != after.seen
