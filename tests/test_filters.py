"""Compiled filters are kept by what they came from, and taken again only if nothing of it has changed."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from sandbox.kernel import filters, libseccomp
from sandbox.kernel.state import FILTERS_KEPT
from sandbox.spec import quick
from sandbox.spec.runtime import Seccomp, Syscall, SyscallArg


def policy(name: str = "acct") -> Seccomp:
    arg = SyscallArg(index=1, value=7, value_two=1, op="SCMP_CMP_MASKED_EQ")
    rules = [Syscall(names=[name, "kexec_load"], action="SCMP_ACT_ERRNO", errno_ret=1)]
    rules.append(Syscall(names=["ioctl"], action="SCMP_ACT_ERRNO", args=[arg]))
    return Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=rules)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "plans").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Seccomp]:
    """Return the list of what is really compiled."""
    calls = []
    compile_filter = libseccomp.compile_filter

    def note(seccomp: Seccomp) -> bytes:
        calls.append(seccomp)
        return compile_filter(seccomp)

    monkeypatch.setattr(libseccomp, "compile_filter", note)
    return calls


def kept(state: Path, seccomp: Seccomp | None = None, build: str = "b1") -> bytes:
    return filters.compile_filter(seccomp or policy(), state=str(state), build=build)


def the_file(state: Path) -> Path:
    (path,) = (state / "plans").glob("*.bpf")
    return path


def test_the_same_filter_is_compiled_once(state: Path, compiled: list[Seccomp]) -> None:
    first = kept(state)

    assert first == libseccomp.compile_filter(policy())
    compiled.clear()
    assert kept(state) == first
    assert not compiled
    assert the_file(state).stat().st_mode & 0o777 == 0o600


def test_both_readers_filters_are_the_same(state: Path, compiled: list[Seccomp]) -> None:
    kept(state)
    spec = quick.spec(b'{"linux": {"seccomp": ' + msgspec.json.encode(policy()) + b"}}")
    assert spec is not None
    assert spec.linux is not None
    assert spec.linux.seccomp is not None
    kept(state, spec.linux.seccomp)

    assert len(compiled) == 1


def test_another_filter_program_or_library_is_another(
    state: Path, compiled: list[Seccomp], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(state)
    kept(state, policy("settimeofday"))
    kept(state, build="b2")
    monkeypatch.setattr(filters, "_identity", lambda _library: (1, 2, 3, 4, 5))
    kept(state)

    assert len(compiled) == 4


def test_nothing_is_kept_without_a_place(state: Path, compiled: list[Seccomp]) -> None:
    filters.compile_filter(policy())
    filters.compile_filter(policy(), state=str(state))
    filters.compile_filter(policy(), state=str(state / "absent"), build="b1")

    assert len(compiled) == 3
    assert not list((state / "plans").iterdir())


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(data)


def _allow_all(path: Path) -> None:
    """Replace the program by one that allows everything, with a checksum that is right but for another key."""
    program = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
    data = path.read_bytes()
    body = data[filters.CHECKED_FROM : -8] + program
    body = body.replace(b"kexec_load", b"kexec_LOAD")
    path.write_bytes(filters.MAGIC + crc32(body).to_bytes(4, "little") + body)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILT = {
    "damaged": _flip,
    "of another filter": _allow_all,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-8]),
    "empty": lambda path: path.write_bytes(b""),
    "larger": lambda path: path.write_bytes(path.read_bytes() + bytes(8)),
    "enormous": lambda path: path.write_bytes(path.read_bytes() + bytes(filters.LARGEST)),
    "writable by others": lambda path: path.chmod(0o620),
    "a symlink": _link,
    "a fifo": _fifo,
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_what_is_not_whole_and_ours_is_not_loaded(state: Path, compiled: list[Seccomp], spoil: object) -> None:
    program = kept(state)
    assert callable(spoil)
    spoil(the_file(state))

    assert kept(state) == program
    assert len(compiled) == 2


def test_one_that_belongs_to_another_is_not_loaded(
    state: Path, compiled: list[Seccomp], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(state)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    kept(state)

    assert len(compiled) == 2


def test_the_oldest_go(state: Path) -> None:
    for number in range(FILTERS_KEPT + 3):
        kept(state, build=str(number))
        os.utime(the_newest(state), (number, number))
    (state / "plans/x.bpf.999999999.tmp").write_bytes(b"")
    kept(state, build="last")
    left = list((state / "plans").iterdir())

    assert len(left) == FILTERS_KEPT
    assert min(path.stat().st_mtime for path in left) == 4


def the_newest(state: Path) -> Path:
    return max((state / "plans").glob("*.bpf"), key=lambda path: path.stat().st_mtime)
