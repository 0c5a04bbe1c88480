"""The door to libseccomp: a filter as the specification words it becomes classic BPF.

Decides nothing about what is allowed.  Names that this libseccomp does not know are passed over,
as by runc and crun: its tables are older than some kernels, and an allow-list gives such calls
the default action.
"""

from __future__ import annotations

import errno
import os
import struct

from sandbox.errors import HostError, SpecError
from sandbox.spec.seccomp import ACTIONS, ARCHITECTURES, CARRY_ERRNO, OPERATORS, check, filter_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.spec.runtime import Seccomp, Syscall, SyscallArg

__all__ = ["compile_filter", "filter_flags", "library_path", "unknown_names"]

_LIBRARY = "libseccomp.so.2"
_OLDEST = (2, 5, 0)  # the first with the binary tree and NOTIFY

# enum scmp_filter_attr
_CTL_NNP = 3
_CTL_OPTIMIZE = 8
_BINARY_TREE = 2

_UNKNOWN_NAME = -1  # __NR_SCMP_ERROR; a call that another architecture has is below that
_COMPARISON = struct.Struct("@IiQQ")  # struct scmp_arg_cmp
_INSTRUCTION_SIZE = 8  # struct sock_filter
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS


def compile_filter(seccomp: Seccomp) -> bytes:
    """Return `seccomp` as an array of struct sock_filter for seccomp(2).

    Raises SpecError, with its place, for what makes no sense or is not taken by libseccomp, and
    HostError where the library is missing or too old.
    """
    check(seccomp)
    library = _library()
    default = _action(seccomp.default_action, seccomp.default_errno_ret)
    context = library.seccomp_init(default)
    if not context:
        raise SpecError("libseccomp does not take the action", where="linux.seccomp.defaultAction")
    try:
        # nsinit sets no_new_privs itself, or means it not to be set.
        library.seccomp_attr_set(context, _CTL_NNP, 0)
        # Hundreds of calls, looked through in ten steps instead of one by one.
        library.seccomp_attr_set(context, _CTL_OPTIMIZE, _BINARY_TREE)
        for index, name in enumerate(seccomp.architectures):
            result = library.seccomp_arch_add(context, ARCHITECTURES[name])
            if result not in (0, -errno.EEXIST):  # the host's own is always there
                raise _refused(result, f"linux.seccomp.architectures[{index}]")
        for index, rule in enumerate(seccomp.syscalls):
            _add(library, context, default, rule, f"linux.seccomp.syscalls[{index}]")
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def library_path() -> str:
    """Return the file from which libseccomp was loaded, "" where that is not to be known."""
    _library()
    with open("/proc/self/maps") as file:
        for line in file:
            place = line.partition("/")[2].rstrip("\n")
            if f"/{place}".rpartition("/")[2].startswith("libseccomp.so"):
                return f"/{place}"
    return ""


def version() -> str:
    """Return the library's version.  Raises HostError where it is missing or too old."""
    found = _library().seccomp_version().contents
    return f"{found.major}.{found.minor}.{found.micro}"


def unknown_names(seccomp: Seccomp) -> list[str]:
    """Return the calls of `seccomp` that this libseccomp has not heard of, for which there will be no rule."""
    resolve = _library().seccomp_syscall_resolve_name
    return [name for rule in seccomp.syscalls for name in rule.names if resolve(name.encode()) == _UNKNOWN_NAME]


def _action(name: str, number: int | None) -> int:
    action = ACTIONS[name]
    if name in CARRY_ERRNO:
        action |= errno.EPERM if number is None else number
    return action


def _add(library: Any, context: int, default: int, rule: Syscall, where: str) -> None:
    action = _action(rule.action, rule.errno_ret)
    if action == default:
        return  # libseccomp takes such a rule for a mistake (EACCES)
    resolve = library.seccomp_syscall_resolve_name
    add = library.seccomp_rule_add_array
    conditions = _conditions(rule.args)
    for name in rule.names:
        number = resolve(name.encode())
        if number == _UNKNOWN_NAME:
            continue
        for count, comparisons in conditions:
            result = add(context, action, number, count, comparisons)
            if result != 0:
                raise _refused(result, f"{where}: {name}")


def _conditions(arguments: list[SyscallArg]) -> list[tuple[int, bytes]]:
    """Return what each rule to add compares: one rule for all `arguments`, which must hold together.

    Where an argument is compared twice, each comparison is a rule of its own, so that any of them
    suffices: libseccomp has no better, and runc and crun read such documents so.
    """
    packed = [_COMPARISON.pack(a.index, OPERATORS[a.op], a.value, a.value_two) for a in arguments]
    if len({argument.index for argument in arguments}) == len(arguments):
        return [(len(packed), b"".join(packed))]
    return [(1, comparison) for comparison in packed]


def _export(library: Any, context: int) -> bytes:
    file = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = library.seccomp_export_bpf(context, file)
        if result != 0:
            raise _refused(result, "linux.seccomp")
        size = os.fstat(file).st_size
        if size > _MOST_INSTRUCTIONS * _INSTRUCTION_SIZE:
            raise SpecError(
                f"makes {size // _INSTRUCTION_SIZE} instructions, of which the kernel takes {_MOST_INSTRUCTIONS}",
                where="linux.seccomp",
                hint="write fewer rules with args",
            )
        return os.pread(file, size, 0)
    finally:
        os.close(file)


def _refused(result: int, where: str) -> SpecError:
    return SpecError(f"{os.strerror(-result)} (libseccomp)", where=where)


_loaded: Any = None


def _library() -> Any:
    """Return libseccomp, its functions typed."""
    global _loaded
    if _loaded is None:
        _loaded = _load()
    return _loaded


def _load() -> Any:
    import ctypes  # late: 1.5 ms that a run with a kept plan or filter, or without one, does not owe

    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        from sandbox.kernel.probe.distribution import install  # late: for a refusal alone

        raise HostError(
            f"{_LIBRARY} cannot be loaded, which compiles the seccomp filter: {error}",
            where="linux.seccomp",
            hint=f'{install("libseccomp")}; or go without a filter: [security] seccomp = "off"',
        ) from error

    class Version(ctypes.Structure):
        _fields_ = [("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint)]

    library.seccomp_version.restype = ctypes.POINTER(Version)
    found = library.seccomp_version().contents
    if (found.major, found.minor, found.micro) < _OLDEST:
        raise HostError(
            f"{_LIBRARY} is {found.major}.{found.minor}.{found.micro}, too old",
            where="linux.seccomp",
            hint=f"install libseccomp {'.'.join(map(str, _OLDEST))} or newer",
        )

    context, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32
    for name, result, arguments in (
        ("seccomp_init", ctypes.c_void_p, [size]),
        ("seccomp_release", None, [context]),
        ("seccomp_attr_set", number, [context, number, size]),
        ("seccomp_arch_add", number, [context, size]),
        ("seccomp_syscall_resolve_name", number, [ctypes.c_char_p]),
        # The comparisons are only read; a bytes object is an array of them.
        ("seccomp_rule_add_array", number, [context, size, number, ctypes.c_uint, ctypes.c_char_p]),
        ("seccomp_export_bpf", number, [context, number]),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
