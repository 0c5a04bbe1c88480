"""Write what the fuzz targets start from, of this very instruction set and command line, into directories: seeds.py DIRECTORY"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.cli.options import OPTIONS
from sandbox.engine import options as engine
from sandbox.plan.encode import Plan, encode
from sandbox.plan.inputs import Input, InputKind
from sandbox.plan.layout import fields
from sandbox.plan.ops import OPS, Flag, Op, Step

VALUES = {"U32": 7, "U64": 1 << 40, "Text": "/some/path", "Texts": ("a", "b=c", ""), "Blob": bytes(range(24))}


def filled(cls: type[Op]) -> Op:
    """Return an operation with something in each field."""
    return cls(**{name: VALUES[kind] for name, kind, _ in fields(cls)[0]})


def write(directory: Path, contents: dict[str, bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)


def words(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in texts)


def plans() -> dict[str, bytes]:
    """Return a plan with every operation, an empty one, and one for each operation."""
    inputs = tuple(
        Input(kind, "/some/path", "value", device=1, inode=2, size=3, mtime_ns=4, ctime_ns=5, mode=6)
        for kind in range(InputKind.FILE, InputKind.KERNEL + 1)
    )
    steps = tuple(Step(filled(cls), "somewhere:1", Flag.IF_PRESENT) for cls in OPS.values())
    found = {"all": encode(Plan(b"key", inputs, steps)), "empty": encode(Plan(b"", (), ()))}
    for code, cls in OPS.items():
        found[f"op-{code:02x}"] = encode(Plan(b"k", inputs[:1], (Step(filled(cls)),)))
    return found


def command_lines() -> dict[str, bytes]:
    """Return each option of `run` in each of its spellings, before a command."""
    found = {"none": words("true"), "dashes": words("--", "true", "-x")}
    for option in OPTIONS:
        for name in (*option.names, option.short):
            if name:
                value = ("x",) if option.metavar else ()
                found[f"apart{name}"] = words(name, *value, "true")
                found[f"attached{name}"] = words(f"{name}{'=' if name.startswith('--') else ''}x", "--", "true")
    return found


def engine_lines() -> dict[str, bytes]:
    """Return each option of each verb that sandbox-oci has in C, before an id and a command."""
    found = {}
    for option in engine.GLOBAL:
        found[f"global-{option.long}"] = words(
            f"--{option.long}", *(["x"] if option.takes_value else []), "state", "id"
        )
    for name in engine.HOT:
        found[name] = words(name, "id", "TERM", "-x")
        for option in engine.VERBS[name].options:
            found[f"{name}-{option.long}"] = words(
                name, f"--{option.long}", *(["3"] if option.takes_value else []), "id", "a"
            )
            found[f"{name}-{option.long}-is"] = words(name, f"--{option.long}=3", "id", "a")
    return found


def main() -> None:
    top = Path(sys.argv[1])
    write(top / "plan", plans())
    write(top / "launch", command_lines())
    write(top / "engine", engine_lines())
    # Entry by entry: which name, which kind, what is spoilt, how long a value.
    each = {f"{name}-{kind}": bytes([name, kind, 0, 5]) + b"value" for name in range(12) for kind in range(7)}
    write(top / "inputs", each)
    write(
        top / "environment",
        {
            "usual": words(
                "+LC_*", "+TERM", "+!LC_X", "=PATH=/bin", "=A=", "!B=2", "LC_ALL=C", "LC_X=1", "A=3", "TERM", "PATH=x"
            ),
            "brackets": words("+[A-C]*", "+[!x]?", "+\\*", "+[", "AB=1", "[=1", "\\x=1", "=x", "==x"),
        },
    )
    line = '{"id":"c","pid":%d,"started":%d,"created":"2026-11-25T10:00:00.123456789Z","cgroup":"%s",\n"bundle":"/b"}\n'
    write(
        top / "record",
        {
            "none": (line % (0, 0, "")).encode(),
            "full": (line % (1234, 99999, "/sys/fs/cgroup/a/b")).encode(),
            "known": (line % (1234, 99999, "/a"))
            .replace('"cgroup"', '"cgroupInode":18446744073709551615,"cgroup"')
            .encode(),
            "ours": (line % (1, 0, "x" * 5000)).encode(),
        },
    )
    write(
        top / "figures",
        {
            "plain": words("123\n", ""),
            "max": words("max\n", ""),
            "events": words("low 0\nmax 36\noom 1\noom_kill 5\n", "oom"),
            "pressure": words("some avg10=0.00 total=12\nfull avg10=0.00 total=3\n", "full", "total"),
            "io": words("8:0 rbytes=1 wbytes=2\n8:16 rbytes=9223372036854775807 wbytes=x\n7:0\n", "8:0", "rbytes"),
            "status": words(
                "Name:\ta\\nb\x1b\nNSpid:\t512\t17\nVmRSS:\t  12 kB\nVmPTE:\t 4 kB\nShdPnd:\t0000000000000100\n"
            ),
        },
    )
    write(
        top / "readiness",
        {
            "usual": b"READY=1\nSTATUS=up \xc3\xa4\x1b[m\xc2\x9b\nERRNO=2\nMAINPID=1\nWATCHDOG=1\nRELOADING=1\nMONOTONIC_USEC=5",
            "long": b"STATUS=" + 600 * b"\xc3\xa4" + b"\n" + 700 * b"READY=1\n",
        },
    )
    write(
        top / "attach",
        {
            "input": b"ihello\n",
            "close": b"c",
            "window": b"w\x18\x00\x50\x00",
            "short": b"w\x18",
            "other": b"x\x00",
        },
    )


if __name__ == "__main__":
    main()
