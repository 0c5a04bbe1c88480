"""On a terminal the sandbox has a terminal of its own, and the caller's is as it was afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest
from conftest import Sandbox
from needs import needs

pytestmark = needs("userns")


class Terminal:
    """The user's terminal: what the test types, and what it reads."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(24, 80)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def start(self, sandbox: Sandbox, *args: str, **streams: int) -> subprocess.Popen[str]:
        """Start the program as a shell would: session leader, with this as its controlling terminal."""

        def own() -> None:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        streams = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, **streams}
        return sandbox.popen(*args, preexec_fn=own, **streams)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str, seconds: float = 20) -> str:
        """Read until `text` has been seen, and return all up to it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                pytest.fail(f"{text!r} did not appear in {self.seen!r}")
            self.seen += os.read(self.master, 4096).decode()
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def attributes(self) -> list[object]:
        return termios.tcgetattr(self.slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    os.close(terminal.master)
    os.close(terminal.slave)


def test_the_terminal_inside_is_another_one_and_a_full_one(sandbox: Sandbox, terminal: Terminal) -> None:
    process = terminal.start(
        sandbox, "run", "sh", "-c", "tty; stty size; test -t 0 && test -t 1 && echo term; echo e > /dev/tty"
    )
    seen = terminal.expect("e\r\n")
    process.wait(20)

    assert "/dev/pts/0" in seen
    assert "24 80" in seen
    assert "term" in seen


def test_ctrl_c_reaches_the_command(sandbox: Sandbox, terminal: Terminal) -> None:
    process = terminal.start(
        sandbox, "run", "sh", "-c", "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.05; done"
    )
    terminal.expect("up")
    terminal.type("\x03")
    terminal.expect("interrupted")

    assert process.wait(20) == 9


def test_the_window_size_follows(sandbox: Sandbox, terminal: Terminal) -> None:
    process = terminal.start(sandbox, "run", "sh", "-c", "echo up; read x; stty size")
    terminal.expect("up")
    terminal.resize(50, 132)
    process.send_signal(signal.SIGWINCH)
    time.sleep(0.2)
    terminal.type("\n")
    terminal.expect("50 132")

    assert process.wait(20) == 0


def test_what_is_typed_is_echoed_once_and_arrives(sandbox: Sandbox, terminal: Terminal) -> None:
    process = terminal.start(sandbox, "run", "sh", "-c", 'echo up; read line; echo "<$line>"')
    terminal.expect("up")
    terminal.type("hello\n")
    seen = terminal.expect("<hello>")
    process.wait(20)

    assert seen.count("hello") == 2  # the echo, and the command's answer


@pytest.mark.parametrize("end", ["exit 0", "kill -KILL $$", "exec nosuchcommand"])
def test_the_terminal_is_restored(sandbox: Sandbox, terminal: Terminal, end: str) -> None:
    before = terminal.attributes()
    process = terminal.start(sandbox, "run", "sh", "-c", f"echo up; stty -echo raw; {end}")
    terminal.expect("up")
    process.wait(20)

    assert terminal.attributes() == before


def test_the_terminal_is_restored_when_the_monitor_is_terminated(sandbox: Sandbox, terminal: Terminal) -> None:
    before = terminal.attributes()
    process = terminal.start(sandbox, "run", "sh", "-c", "echo up; sleep 60")
    terminal.expect("up")
    assert terminal.attributes() != before  # raw meanwhile
    process.terminate()
    process.wait(20)

    assert process.returncode == 128 + signal.SIGTERM
    assert terminal.attributes() == before


def test_a_pipe_beside_the_terminal_stays_a_pipe(sandbox: Sandbox, terminal: Terminal) -> None:
    reader, writer = os.pipe()
    process = terminal.start(sandbox, "run", "sh", "-c", "cat; test -p /dev/stdin && echo pipe; tty <&1", stdin=reader)
    os.close(reader)
    os.write(writer, b"piped in\n")
    os.close(writer)
    seen = terminal.expect("/dev/pts/0")
    process.wait(20)

    assert "piped in" in seen
    assert "pipe\r\n" in seen


def test_output_that_fills_the_pipe_is_complete(sandbox: Sandbox, terminal: Terminal) -> None:
    process = terminal.start(sandbox, "run", "sh", "-c", "seq 1 20000; echo end")
    seen = terminal.expect("end")
    process.wait(20)

    assert [line for line in seen.split() if line.isdigit()] == [str(n) for n in range(1, 20001)]


def test_no_tty_gives_none(sandbox: Sandbox, terminal: Terminal) -> None:
    process = terminal.start(sandbox, "run", "--no-tty", "sh", "-c", "cat /dev/tty || echo none")
    terminal.expect("none")
    process.wait(20)


def test_tty_gives_one_where_the_caller_has_none(sandbox: Sandbox) -> None:
    result = sandbox("run", "--tty", "sh", "-c", "tty; cat", input="line\n")

    assert "/dev/pts/0" in result.stdout
    assert result.stdout.count("line") == 2  # echoed by the terminal, then by cat
    assert result.returncode == 0


def test_tiocsti_is_refused(sandbox: Sandbox, terminal: Terminal, project: os.PathLike[str]) -> None:
    code = (
        "import fcntl, termios\n"
        "for request in (termios.TIOCSTI, termios.TIOCSTI | 1 << 32, 0x541C):\n"
        "    import ctypes\n"
        "    libc = ctypes.CDLL(None, use_errno=True)\n"
        "    r = libc.syscall(16, 0, ctypes.c_ulong(request), b'x')\n"
        "    print('refused' if r < 0 else 'done', ctypes.get_errno())\n"
    )
    process = terminal.start(sandbox, "run", "/usr/bin/python3", "-c", code + "print('end')")
    seen = terminal.expect("end")
    process.wait(20)

    assert seen.count("refused 1\r\n") == 3
