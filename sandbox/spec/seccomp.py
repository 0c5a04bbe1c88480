"""The words of `linux.seccomp`: which actions, operators, architectures and flags there are.

Decides whether a filter makes sense as written.  What the words become for the kernel is
`sandbox.kernel.libseccomp`'s matter, which filter is a good one `sandbox.profile.seccomp`'s.

Source: runtime-spec 1.2, `config-linux.md#seccomp`; numbers from linux/seccomp.h,
linux/audit.h and seccomp.h.
"""

from __future__ import annotations

from sandbox.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.spec.runtime import Seccomp, Syscall

# SECCOMP_RET_*, without the 16 bits of data that TRACE and ERRNO carry.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,  # the thread, as in libseccomp
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
CARRY_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")

# enum scmp_compare.  For MASKED_EQ `value` is the mask and `valueTwo` what must remain.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# AUDIT_ARCH_*: the ELF machine, with bits for 64-bit (1<<31), little-endian (1<<30) and N32 (1<<29).
ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_MIPS": 0x00000008,
    "SCMP_ARCH_MIPS64": 0x80000008,
    "SCMP_ARCH_MIPS64N32": 0xA0000008,
    "SCMP_ARCH_MIPSEL": 0x40000008,
    "SCMP_ARCH_MIPSEL64": 0xC0000008,
    "SCMP_ARCH_MIPSEL64N32": 0xE0000008,
    "SCMP_ARCH_PPC": 0x00000014,
    "SCMP_ARCH_PPC64": 0x80000015,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_PARISC": 0x0000000F,
    "SCMP_ARCH_PARISC64": 0x8000000F,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_LOONGARCH64": 0xC0000102,
    "SCMP_ARCH_M68K": 0x00000004,
    "SCMP_ARCH_SH": 0x4000002A,
    "SCMP_ARCH_SHEB": 0x0000002A,
}

# SECCOMP_FILTER_FLAG_*
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}

_LAST_ERRNO = 4095  # MAX_ERRNO: the kernel cuts what lies above
_LAST_ARGUMENT = 5
_LAST_VALUE = (1 << 64) - 1


def check(seccomp: Seccomp, where: str = "linux.seccomp") -> None:
    """Refuse a filter that says something that cannot be.

    Raises SpecError with the place, `WHERE.syscalls[3].args[0].op`.
    """
    _check_word(seccomp.default_action, ACTIONS, f"{where}.defaultAction")
    _check_errno(seccomp.default_action, seccomp.default_errno_ret, f"{where}.defaultErrnoRet")
    if seccomp.default_action == "SCMP_ACT_NOTIFY":
        # The answer would have to come from a call that itself waits for an answer.
        raise SpecError("SCMP_ACT_NOTIFY cannot be the default action", where=f"{where}.defaultAction")
    for index, name in enumerate(seccomp.architectures):
        _check_word(name, ARCHITECTURES, f"{where}.architectures[{index}]")
    filter_flags(seccomp, where)
    for index, rule in enumerate(seccomp.syscalls):
        _check_rule(rule, f"{where}.syscalls[{index}]")


def filter_flags(seccomp: Seccomp, where: str = "linux.seccomp") -> int:
    """Return `flags` as seccomp(2) takes them.  Raises SpecError for one that does not exist."""
    flags = 0
    for index, name in enumerate(seccomp.flags):
        _check_word(name, FLAGS, f"{where}.flags[{index}]")
        flags |= FLAGS[name]
    return flags


def _check_rule(rule: Syscall, where: str) -> None:
    if not rule.names:
        raise SpecError("names no system call", where=f"{where}.names")
    for index, name in enumerate(rule.names):
        if not name.isascii() or not name.isprintable() or not name:
            raise SpecError(f"{name!r} is no name of a system call", where=f"{where}.names[{index}]")
    _check_word(rule.action, ACTIONS, f"{where}.action")
    _check_errno(rule.action, rule.errno_ret, f"{where}.errnoRet")
    for index, argument in enumerate(rule.args):
        place = f"{where}.args[{index}]"
        _check_word(argument.op, OPERATORS, f"{place}.op")
        if not 0 <= argument.index <= _LAST_ARGUMENT:
            raise SpecError(
                f"{argument.index}: a system call has arguments 0 to {_LAST_ARGUMENT}", where=f"{place}.index"
            )
        for member, value in (("value", argument.value), ("valueTwo", argument.value_two)):
            if not 0 <= value <= _LAST_VALUE:
                raise SpecError(f"{value} does not fit into 64 bits without sign", where=f"{place}.{member}")


def _check_word(word: str, known: dict[str, int], where: str) -> None:
    if word in known:
        return
    from difflib import get_close_matches  # late: only a refusal needs it

    near = get_close_matches(word, known, n=1)
    raise SpecError(
        f"{word!r} is unknown",
        where=where,
        hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}",
    )


def _check_errno(action: str, number: int | None, where: str) -> None:
    if number is None:
        return
    if action not in CARRY_ERRNO:
        raise SpecError(f"{action} carries no errno", where=where, hint="leave it out")
    if not 0 <= number <= _LAST_ERRNO:
        raise SpecError(f"{number} is no errno, which is 0 to {_LAST_ERRNO}", where=where)
