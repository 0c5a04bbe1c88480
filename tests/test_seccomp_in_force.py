"""The shipped seccomp filters in force: what the kernel then refuses, and that real work still gets done."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from bpf import MACHINE, number
from needs import needs

from sandbox.kernel import libseccomp
from sandbox.profile.seccomp import policy

pytestmark = needs("seccomp")

CLONE_FS, CLONE_NEWNS, CLONE_NEWUSER = 0x200, 0x20000, 0x10000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_ALG, AF_VSOCK = 38, 40

both = pytest.mark.parametrize("name", ["default", "strict"])

INSTALL = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = open(sys.argv[1], "rb").read()
text = ctypes.create_string_buffer(code, len(code))
fprog = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(text)))
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
if code:
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[2], sys.argv[2:])
"""
CALL = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
number, *args = [ctypes.c_long(int(word)) for word in sys.argv[1:]]
result = libc.syscall(number, *args)
print(ctypes.get_errno() if result < 0 else 0)
"""


@cache
def program(name: str, nested: bool = False) -> bytes:
    return libseccomp.compile_filter(policy(name, nested=nested))


@pytest.fixture
def under(tmp_path):
    """Run a command under a filter; `b""` is none."""

    def run(filter_program: bytes, *argv: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "filter"
        file.write_bytes(filter_program)
        command = [sys.executable, "-c", INSTALL, str(file), *argv]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)

    return run


def errno_of(result: subprocess.CompletedProcess[str]) -> int:
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@both
@pytest.mark.parametrize(
    "call, args, expected",
    [
        # Each is made so that the kernel itself would have another answer: a bad descriptor, a bad flag.
        ("ioctl", (-1, TIOCSTI, 0), errno.EPERM),
        ("ioctl", (-1, 0xABCD << 32 | TIOCLINUX, 0), errno.EPERM),
        ("socket", (AF_VSOCK, 99, 0), errno.EAFNOSUPPORT),
        ("socket", (AF_ALG, 99, 0), errno.EAFNOSUPPORT),
        ("io_uring_setup", (0, 0), errno.EPERM),
        ("io_uring_enter", (-1, 0, 0, 0, 0, 0), errno.EPERM),
        ("keyctl", (9999, 0, 0, 0, 0), errno.EPERM),
        ("setns", (-1, 0), errno.EPERM),
        ("unshare", (CLONE_NEWUSER | 1 << 40,), errno.EPERM),
        ("clone", (CLONE_NEWUSER | CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0), errno.EPERM),
        ("clone3", (0, 1), errno.ENOSYS),
        ("finit_module", (-1, 0, 9999), errno.EPERM),
        ("perf_event_open", (0, 0, -1, -1, 9999), errno.EPERM),
        ("move_mount", (-1, 0, -1, 0, 1 << 20), errno.EPERM),
    ],
)
def test_the_kernel_refuses_what_the_filter_does(under, name, call, args, expected):
    command = [sys.executable, "-c", CALL, str(number(call)), *map(str, args)]
    assert errno_of(under(program(name), *command)) == expected
    free = errno_of(under(b"", *command))
    if os.geteuid() == 0 or expected != errno.EPERM:  # without rights the kernel's own answer may be EPERM as well
        assert free != expected


@needs("userns")
@both
def test_a_user_namespace_cannot_be_made(under, name):
    command = [sys.executable, "-c", CALL, str(number("unshare")), str(CLONE_NEWUSER)]
    assert errno_of(under(b"", *command)) == 0
    assert errno_of(under(program(name, True), *command)) == 0
    assert errno_of(under(program(name), *command)) == errno.EPERM


@pytest.mark.skipif(MACHINE != "x86_64", reason="calls the ABIs of x86-64")
@both
def test_foreign_abis_end_the_program(under, name):
    x32 = [sys.executable, "-c", CALL, str(number("getpid") | 0x40000000)]
    assert under(b"", *x32).returncode == 0  # with an answer or ENOSYS
    assert under(program(name), *x32).returncode == -signal.SIGSYS

    i386 = (
        "import ctypes, mmap; m = mmap.mmap(-1, 4096, prot=7); m.write(bytes.fromhex('b814000000cd80c3'));"  # int 0x80
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))())"
    )
    ended = under(program(name), sys.executable, "-c", i386).returncode
    without = under(b"", sys.executable, "-c", i386).returncode
    assert ended == (-signal.SIGSYS if without == 0 else without) != 0


@both
def test_python_works_under_it(under, name):
    work = """
import asyncio, concurrent.futures, multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading
thread = threading.Thread(target=lambda: print("thread")); thread.start(); thread.join()
print(subprocess.run(["sh", "-c", "echo child | cat"], capture_output=True, text=True).stdout.strip())
a, b = socket.socketpair(); a.send(b"pair"); print(b.recv(9).decode())
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(); socket.create_server(("127.0.0.1", 0)).close()
with tempfile.TemporaryDirectory() as place:
    data = sqlite3.connect(place + "/db"); data.execute("create table t(x)"); data.commit(); print("sqlite")
async def main():
    process = await asyncio.create_subprocess_exec("true"); print("asyncio", await process.wait())
asyncio.run(main())
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(sum(pool.map(abs, range(-3, 0))))
print(os.get_terminal_size.__name__, os.sched_getaffinity(0) is not None)
"""
    result = under(program(name), sys.executable, "-c", work)
    assert result.stderr == ""
    assert result.stdout.split("\n")[:6] == ["thread", "child", "pair", "sqlite", "asyncio 0", "6"]
    assert result.returncode == 0


@needs("gcc", "make")
@both
def test_a_c_program_can_be_built_and_run_under_it(under, tmp_path: Path, name):
    (tmp_path / "hello.c").write_text(
        "#include <pthread.h>\n#include <stdio.h>\n"
        "static void *say(void *word) { puts(word); return 0; }\n"
        'int main(void) { pthread_t t; pthread_create(&t, 0, say, "built"); return pthread_join(t, 0); }\n'
    )
    (tmp_path / "Makefile").write_text("check: hello\n\t./hello\nhello: hello.c\n\t$(CC) -O2 -pipe -pthread -o $@ $<\n")
    result = under(program(name), "make", "-j4", "check")
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "built"
