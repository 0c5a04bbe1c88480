"""Compiled seccomp filters, kept by what they are compiled from.

An engine gives each new container the same filter: the plan of every one is new, the filter is not, and loading
libseccomp and having it compile costs more than all the rest.  A kept filter holds everything that it came from, which
is compared whole; its name is only a hash.  What is not ours alone, or is damaged, is as good as none.
"""

from __future__ import annotations

import os
import stat
from struct import Struct, error
from zlib import adler32, crc32

from sandbox.kernel.state import keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.spec.runtime import Seccomp

MAGIC = b"SBXFILT1"
HEAD = Struct(
    "<8s4I3Q2q"
)  # magic, checksum; sizes of key, library and program; the library's file as `_identity` has it
CHECKED_FROM = 12
LARGEST = 1 << 20


def compile_filter(seccomp: Seccomp, *, state: str = "", build: str = "") -> bytes:
    """Return `seccomp` as an array of struct sock_filter for seccomp(2).

    With the state's directory and the program's `build` id, it is kept there, and taken from there.  Raises SpecError
    and HostError as `libseccomp.compile_filter` does.
    """
    if not state or not build:
        from sandbox.kernel import libseccomp  # late: a kept filter loads no library

        return libseccomp.compile_filter(seccomp)
    key = _key(seccomp, build)
    name = f"{crc32(key):08x}{adler32(key):08x}.bpf"
    program = _find(f"{state}/plans/{name}", key)
    if program is None:
        from sandbox.kernel import libseccomp  # late: as above

        program = libseccomp.compile_filter(seccomp)
        _keep(f"{state}/plans", name, key, libseccomp.library_path(), program)
    return program


def _key(seccomp: Seccomp, build: str) -> bytes:
    """Return all that a filter depends on but for the library.  The kernel decides which actions there are."""
    kernel = os.uname()
    rules = [
        (rule.names, rule.action, rule.errno_ret, [(a.index, a.value, a.value_two, a.op) for a in rule.args])
        for rule in seccomp.syscalls
    ]
    wanted = (seccomp.default_action, seccomp.default_errno_ret, seccomp.architectures, seccomp.flags, rules)
    return repr((build, kernel.machine, kernel.release, wanted)).encode("utf-8", "surrogateescape")


def _identity(library: str) -> tuple[int, int, int, int, int]:
    status = os.stat(library)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _keep(directory: str, name: str, key: bytes, library: str, program: bytes) -> None:
    try:
        identity = _identity(library)
    except OSError:
        return  # replaced while we were at it
    path = library.encode("utf-8", "surrogateescape")
    head = HEAD.pack(MAGIC, 0, len(key), len(path), len(program), *identity)
    body = head[CHECKED_FROM:] + key + path + program
    if len(body) + CHECKED_FROM > LARGEST:
        return
    descriptor = keep(directory, name, MAGIC + crc32(body).to_bytes(4, "little") + body)
    if descriptor >= 0:
        os.close(descriptor)


def _find(path: str, key: bytes) -> bytes | None:
    """Return the program in the file at `path` if it is ours alone, whole, and was made from `key` by a library that is
    still the same."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return None
        data = os.read(descriptor, LARGEST) if status.st_size <= LARGEST else b""
        magic, checksum, key_size, path_size, program_size, *identity = HEAD.unpack_from(data)
        program_at = HEAD.size + key_size + path_size
        library = data[HEAD.size + key_size : program_at].decode("utf-8", "surrogateescape")
        if (
            magic != MAGIC
            or checksum != crc32(memoryview(data)[CHECKED_FROM:])
            or len(data) != program_at + program_size
            or data[HEAD.size : HEAD.size + key_size] != key
            or tuple(identity) != _identity(library)
        ):
            return None
        return data[program_at:]
    except (error, OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
