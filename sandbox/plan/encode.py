"""Plans to bytes and back.

The decoder here serves `explain` and the wording of refusals, which read plans that nsinit has
checked already or that were just made; it still refuses what does not fit.
"""

from __future__ import annotations

from struct import Struct, calcsize, error, pack, pack_into, unpack_from
from zlib import crc32

from sandbox.errors import PlanError
from sandbox.plan.inputs import Input
from sandbox.plan.layout import (
    HEADER,
    HEADER_SIZE,
    INPUT,
    INPUT_SIZE,
    KINDS,
    MAGIC,
    OP_HEAD,
    OP_HEAD_SIZE,
    fields,
    instruction_set,
)
from sandbox.plan.ops import CODES, OPS, Op, Step

MAX_SIZE = 1 << 20
"""A larger plan is refused by nsinit."""

CHECKED_FROM = 16
"""The checksum covers everything behind itself."""


class Plan:
    """A plan: the full key under which it may be kept, what it was made from, what to do."""

    __slots__ = ("inputs", "key", "steps")

    def __init__(self, key: bytes, inputs: tuple[Input, ...], steps: tuple[Step, ...]) -> None:
        self.key = key
        self.inputs = inputs
        self.steps = steps

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.key, self.inputs, self.steps))

    def __repr__(self) -> str:
        return f"Plan({self.key!r}, {self.inputs!r}, {self.steps!r})"


class _Pools:
    """The texts, lists of texts and byte strings that operations point into."""

    def __init__(self) -> None:
        self.texts = bytearray(b"\0")
        self.known = {"": 0}
        self.lists: list[int] = []
        self.blobs = bytearray()

    def text(self, value: str) -> int:
        offset = self.known.get(value)
        if offset is None:
            data = value.encode("utf-8", "surrogateescape")
            if b"\0" in data:
                raise PlanError(f"a text holds a NUL byte: {value!r}")
            offset = self.known[value] = len(self.texts)
            self.texts += data + b"\0"
        return offset

    def numbers(self, kind: str, value: object) -> tuple[int, ...]:
        """Return the stored numbers of one field."""
        if kind == "Text":
            assert isinstance(value, str)
            return (self.text(value),)
        if kind == "Texts":
            assert isinstance(value, tuple)
            first = len(self.lists)
            self.lists += [self.text(item) for item in value]
            return first, len(value)
        if kind == "Blob":
            assert isinstance(value, bytes)
            first = len(self.blobs)
            self.blobs += value + bytes(-len(value) % 8)
            return first, len(value)
        assert isinstance(value, int)
        return (value,)


def encode(plan: Plan) -> bytes:
    """Return the bytes of a plan.  Raises PlanError if it is too large or holds what cannot be stored."""
    pools = _Pools()
    ops = b"".join(_encode_step(step, pools) for step in plan.steps)
    inputs = b"".join(_encode_input(entry, pools) for entry in plan.inputs)
    lists = pack(f"<{len(pools.lists)}I", *pools.lists)

    body = bytearray(HEADER_SIZE)
    places = []
    for part in (plan.key, inputs, ops, bytes(pools.texts), lists, bytes(pools.blobs)):
        places.append(len(body))
        body += part + bytes(-len(part) % 8)
    key_at, inputs_at, ops_at, texts_at, lists_at, blobs_at = places
    if len(body) > MAX_SIZE:
        raise PlanError(f"the plan takes {len(body)} bytes, more than {MAX_SIZE}", hint="name fewer paths")
    numbers = [instruction_set(), 0, len(body), key_at, len(plan.key), inputs_at, len(plan.inputs)]
    numbers += [ops_at, len(ops), len(plan.steps), texts_at, len(pools.texts)]
    numbers += [lists_at, len(pools.lists), blobs_at, len(pools.blobs)]
    pack_into(HEADER, body, 0, MAGIC, *numbers)
    pack_into("<I", body, CHECKED_FROM - 4, crc32(memoryview(body)[CHECKED_FROM:]))
    return bytes(body)


_layouts: dict[type[Op], tuple[list[tuple[str, str, int]], Struct, int]] = {}


def _layout(cls: type[Op]) -> tuple[list[tuple[str, str, int]], Struct, int]:
    """Return an operation's fields, the structure that packs them, and its size."""
    if cls not in _layouts:
        placed, size = fields(cls)
        text = OP_HEAD
        for _, kind, offset in placed:
            text += f"{offset - calcsize(text)}x" + KINDS[kind][2]
        _layouts[cls] = placed, Struct(text + f"{size - calcsize(text)}x"), size
    return _layouts[cls]


def _encode_step(step: Step, pools: _Pools) -> bytes:
    cls = type(step.op)
    placed, packer, size = _layout(cls)
    numbers: list[int] = []
    for name, kind, _ in placed:
        numbers += pools.numbers(kind, getattr(step.op, name))
    try:
        return packer.pack(CODES[cls], step.flags, size, pools.text(step.origin), 0, *numbers)
    except error as reason:
        raise PlanError(f"{cls.__name__} cannot be stored: {reason}", where=step.origin) from reason


def _encode_input(entry: Input, pools: _Pools) -> bytes:
    return pack(
        INPUT,
        entry.kind,
        entry.mode,
        pools.text(entry.name),
        pools.text(entry.value),
        entry.device,
        entry.inode,
        entry.size,
        entry.mtime_ns,
        entry.ctime_ns,
    )


class _Reader:
    """A plan's bytes with the places of its parts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        (magic, instructions, checksum, size, self.key_at, self.key_length, self.inputs_at, self.input_count) = (
            unpack_from("<8s7I", data)
        )
        (self.ops_at, _, self.op_count, self.texts_at, self.texts_length, self.lists_at, _, self.blobs_at, _) = (
            unpack_from("<9I", data, 36)
        )
        if magic != MAGIC or instructions != instruction_set() or size != len(data):
            raise PlanError("not a plan of this program")
        if checksum != crc32(data[CHECKED_FROM:]):
            raise PlanError("the plan is damaged")

    def text(self, offset: int) -> str:
        if offset >= self.texts_length:
            raise PlanError("a text lies outside of the plan")
        start = self.texts_at + offset
        return self.data[start : self.data.index(b"\0", start)].decode("utf-8", "surrogateescape")

    def value(self, kind: str, at: int) -> object:
        if kind in ("U32", "U64"):
            return unpack_from("<" + KINDS[kind][2], self.data, at)[0]
        first, *count = unpack_from("<" + KINDS[kind][2], self.data, at)
        if kind == "Text":
            return self.text(first)
        if kind == "Texts":
            return tuple(self.text(n) for n in unpack_from(f"<{count[0]}I", self.data, self.lists_at + 4 * first))
        return self.data[self.blobs_at + first : self.blobs_at + first + count[0]]

    def step(self, at: int) -> tuple[Step, int]:
        code, flags, size, origin, _ = unpack_from(OP_HEAD, self.data, at)
        cls = OPS.get(code)
        if cls is None or size != _layout(cls)[2]:
            raise PlanError(f"unknown operation {code:#x}")
        values = {name: self.value(kind, at + offset) for name, kind, offset in _layout(cls)[0]}
        return Step(cls(**values), self.text(origin), flags), size

    def input(self, at: int) -> Input:
        kind, mode, name, value, device, inode, size, mtime, ctime = unpack_from(INPUT, self.data, at)
        texts = self.text(name), self.text(value)
        return Input(kind, *texts, device=device, inode=inode, size=size, mtime_ns=mtime, ctime_ns=ctime, mode=mode)


def decode(data: bytes) -> Plan:
    """Read a plan.  Raises PlanError if the bytes are none of this program's plans."""
    try:
        reader = _Reader(data)
        steps = []
        at = reader.ops_at
        for _ in range(reader.op_count):
            step, size = reader.step(at)
            steps.append(step)
            at += size
        inputs = [reader.input(reader.inputs_at + INPUT_SIZE * n) for n in range(reader.input_count)]
    except (error, ValueError, IndexError) as reason:
        raise PlanError(f"the plan is damaged: {reason}") from reason
    key = data[reader.key_at : reader.key_at + reader.key_length]
    return Plan(key, tuple(inputs), tuple(steps))


assert calcsize(OP_HEAD) == OP_HEAD_SIZE
assert calcsize(HEADER) == HEADER_SIZE
assert calcsize(INPUT) == INPUT_SIZE
