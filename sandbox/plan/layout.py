"""Where each field of an operation lies in a plan.

Both ends follow this: the encoder at run time, and `header.py` when the project is built.  The
layout is that of a C structure with natural alignment, little-endian, padded to 8 bytes.
"""

from __future__ import annotations

from zlib import crc32

from sandbox.plan.ops import OPS, STAGES, Op

MAGIC = b"SBXPLAN1"
HEADER = "<8s16I"
HEADER_SIZE = 72
OP_HEAD = "<HHIII"  # opcode, flags, size, origin, reserved
OP_HEAD_SIZE = 16
INPUT = "<4I3Q2q"  # kind, mode, name, value, device, inode, size, mtime, ctime
INPUT_SIZE = 56

# kind of a field: (bytes, alignment, struct format)
KINDS = {
    "U32": (4, 4, "I"),
    "U64": (8, 8, "Q"),
    "Text": (4, 4, "I"),
    "Texts": (8, 4, "II"),
    "Blob": (8, 4, "II"),
}


def fields(cls: type[Op]) -> tuple[list[tuple[str, str, int]], int]:
    """Return the (name, kind, offset) of each field, and the operation's size, in bytes."""
    offset = OP_HEAD_SIZE
    placed = []
    for name in cls._fields:
        kind = cls.__annotations__[name]
        size, alignment, _ = KINDS[kind]
        offset = -(-offset // alignment) * alignment
        placed.append((name, kind, offset))
        offset += size
    return placed, -(-offset // 8) * 8


def instruction_set() -> int:
    """Return a number that changes with the instruction set, by which both ends know each other."""
    text = repr([(code, STAGES[code], cls.__name__, fields(cls)) for code, cls in sorted(OPS.items())])
    return crc32(text.encode(), crc32(HEADER.encode() + INPUT.encode()))
