"""Run the classic BPF program of a seccomp filter, so that a test can ask it about calls that nobody makes.

Knows the instructions that the kernel takes in such filters and libseccomp makes; any other is a mistake.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache

AUDIT_ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}

MACHINE = os.uname().machine
NATIVE = AUDIT_ARCH[MACHINE]

# SECCOMP_RET_*
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0, 0x30000, 0x50000
NOTIFY, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000

# Operation codes of linux/bpf_common.h: class | mode, class | operator | source.
_LOAD_WORD = 0x20
_LOAD_CONSTANT = 0x00
_AND = 0x54
_JUMP = 0x05
_EQUAL, _GREATER, _GREATER_OR_EQUAL, _ANY_BIT = 0x15, 0x25, 0x35, 0x45
_RETURN = 0x06


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    """Return the struct sock_filter's: (code, jump if true, jump if false, constant)."""
    return list(struct.iter_unpack("=HBBI", program))


def evaluate(instructions: list[tuple[int, int, int, int]], arch: int, number: int, *args: int) -> int:
    """Return what the filter answers to a system call: SECCOMP_RET_* with its data."""
    registers = [value & (1 << 64) - 1 for value in (*args, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0x7F0000000000, *registers)  # struct seccomp_data
    accumulator = 0
    at = 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        if code == _RETURN:
            return constant
        if code == _LOAD_WORD:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == _LOAD_CONSTANT:
            accumulator = constant
        elif code == _AND:
            accumulator &= constant
        elif code == _JUMP:
            at += constant
        elif code in (_EQUAL, _GREATER, _GREATER_OR_EQUAL, _ANY_BIT):
            holds = {
                _EQUAL: accumulator == constant,
                _GREATER: accumulator > constant,
                _GREATER_OR_EQUAL: accumulator >= constant,
                _ANY_BIT: bool(accumulator & constant),
            }[code]
            at += if_true if holds else if_false
        else:
            raise AssertionError(f"instruction {at - 1}: unknown code {code:#x}")


@cache
def library() -> ctypes.CDLL:
    """Return libseccomp, which knows the names and numbers of system calls."""
    found = ctypes.CDLL("libseccomp.so.2")
    found.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    found.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    return found


@cache
def number(name: str) -> int:
    """Return the number of a system call of this machine."""
    found = library().seccomp_syscall_resolve_name(name.encode())
    assert found >= 0, f"{name} is no system call of {MACHINE}"
    return int(found)
