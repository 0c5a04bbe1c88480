"""Write plans of this very instruction set into a directory, for the fuzzer to start from: seeds.py DIRECTORY"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.plan.encode import Plan, encode
from sandbox.plan.inputs import Input, InputKind
from sandbox.plan.layout import fields
from sandbox.plan.ops import OPS, Flag, Op, Step

VALUES = {"U32": 7, "U64": 1 << 40, "Text": "/some/path", "Texts": ("a", "b=c", ""), "Blob": bytes(range(24))}


def filled(cls: type[Op]) -> Op:
    """Return an operation with something in each field."""
    return cls(**{name: VALUES[kind] for name, kind, _ in fields(cls)[0]})


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    inputs = tuple(
        Input(kind, "/some/path", "value", device=1, inode=2, size=3, mtime_ns=4, ctime_ns=5, mode=6)
        for kind in range(InputKind.FILE, InputKind.KERNEL + 1)
    )
    steps = tuple(Step(filled(cls), "somewhere:1", Flag.IF_PRESENT) for cls in OPS.values())
    (directory / "all").write_bytes(encode(Plan(b"key", inputs, steps)))
    (directory / "empty").write_bytes(encode(Plan(b"", (), ())))
    for code, cls in OPS.items():
        (directory / f"op-{code:02x}").write_bytes(encode(Plan(b"k", inputs[:1], (Step(filled(cls)),))))


if __name__ == "__main__":
    main()
