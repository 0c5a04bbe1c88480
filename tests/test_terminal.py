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
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import SLOWNESS, needs

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

    def takes(self, text: str) -> bool:
        """Type it where there is room, and pass over what was said."""
        if select.select([self.master], [], [], 0)[0]:
            os.read(self.master, 4096)
        try:
            return os.write(self.master, text.encode()) > 0
        except BlockingIOError:
            return False

    def expect(self, text: str, seconds: float = 20) -> str:
        """Read until `text` has been seen, and return all up to it."""
        end = time.monotonic() + seconds * SLOWNESS
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
    process = terminal.start(
        sandbox, "run", "sh", "-c", 'echo up; until stty size | grep "50 132"; do sleep 0.05; done'
    )
    terminal.expect("up")
    terminal.resize(50, 132)
    process.send_signal(signal.SIGWINCH)
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


def test_a_command_that_closes_its_terminal_lives_on(sandbox: Sandbox, terminal: Terminal, project: Path) -> None:
    script = "exec </dev/null >/dev/null 2>&1; sleep 0.3; echo still > done; test -w /dev/tty && echo x > /dev/tty"
    process = terminal.start(sandbox, "run", "sh", "-c", script)

    assert process.wait(20) == 0
    assert (project / "done").read_text() == "still\n"


def test_the_end_of_piped_input_ends_a_line_that_was_begun(sandbox: Sandbox) -> None:
    result = sandbox("run", "--tty", "sh", "-c", "cat; echo '<end>'", input="abc")

    assert result.returncode == 0
    assert "<end>" in result.stdout


def wait_until_full(reader: int) -> None:
    """Wait until nothing is added any more to what waits in a pipe."""
    before, waiting, end = -1, 0, time.monotonic() + 20
    while waiting != before or not waiting:
        assert time.monotonic() < end
        time.sleep(0.2)
        before, waiting = waiting, struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0]


def test_a_reader_that_stands_still_does_not_make_us_deaf(sandbox: Sandbox) -> None:
    process = sandbox.popen("run", "--tty", "yes")
    assert process.stdout is not None
    wait_until_full(process.stdout.fileno())
    process.terminate()

    assert process.wait(20) == 128 + signal.SIGTERM


def test_output_to_a_non_blocking_pipe_is_complete(sandbox: Sandbox) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = sandbox.popen("run", "--tty", "seq", "1", "40000", stdout=writer)
    os.close(writer)
    seen = b""
    while piece := os.read(reader, 1 << 16):
        seen += piece
        time.sleep(0.005)
    os.close(reader)

    assert process.wait(20) == 0
    assert seen.split() == [str(n).encode() for n in range(1, 40001)]


def test_a_background_job_leaves_the_terminal_alone(sandbox: Sandbox, terminal: Terminal) -> None:
    """It prints and ends; to set the terminal's modes would stop it (SIGTTOU)."""
    script = 'set -m; "$0" run sh -c "echo from behind; sleep 0.2" & wait $!; echo "status $?"'
    process = terminal.start(sandbox, "run", "true")
    process.wait(20)
    before = terminal.attributes()

    def own() -> None:
        os.setsid()
        fcntl.ioctl(terminal.slave, termios.TIOCSCTTY, 0)

    shell = subprocess.Popen(
        ["bash", "-c", script, str(sandbox.binary)],
        env=sandbox.environment,
        cwd=sandbox.cwd,
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        preexec_fn=own,
    )
    seen = terminal.expect("status 0")
    shell.wait(20)

    assert "from behind" in seen
    assert terminal.attributes() == before


@pytest.mark.parametrize("start", ["cold", "kept"])
def test_an_interrupt_while_it_starts_is_not_lost(sandbox: Sandbox, terminal: Terminal, start: str) -> None:
    """Whenever it comes, the command ends by it, or never starts; and nothing of ours shows."""
    sandbox("run", "--no-tty", "true", check=True)
    for number in range(25):
        extra = ["--hostname", f"h{number}"] if start == "cold" else []
        process = terminal.start(sandbox, "run", "--no-tty", *extra, "sleep", "30", stderr=subprocess.PIPE)
        time.sleep(0.004 * number if start == "cold" else 0.0006 * number)
        terminal.type("\x03")
        _, stderr = process.communicate(timeout=15)
        assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT), stderr
        assert "Traceback" not in stderr


def test_without_a_terminal_nothing_of_the_callers_can_be_read(sandbox: Sandbox, terminal: Terminal) -> None:
    """Neither through the standard descriptors nor by opening them again; keys typed elsewhere would be read."""
    script = "tty <&1; for fd in 0 1 2; do readlink /proc/self/fd/$fd; done; head -c 1 <&0; echo end"
    process = terminal.start(
        sandbox, "run", "--no-tty", "sh", "-c", f"({script}) & sleep 1; kill $! 2>/dev/null; echo over"
    )
    terminal.type("secret\n")
    seen = terminal.expect("over")
    process.wait(20)

    assert "not a tty" in seen
    assert "/dev/pts" not in seen
    assert seen.count("pipe:") >= 2


def test_the_echo_of_what_is_typed_is_not_in_the_output(sandbox: Sandbox, terminal: Terminal, project: Path) -> None:
    with open(project / "log", "wb") as log:
        process = terminal.start(
            sandbox,
            "run",
            "sh",
            "-c",
            'echo up >&2; read line; echo "<$line>"',
            stdout=log.fileno(),
            stderr=log.fileno(),
        )
        while b"up" not in (project / "log").read_bytes():
            time.sleep(0.02)
        terminal.type("typed\n")
        process.wait(20)

    assert (project / "log").read_text() == "up\n<typed>\n"


def test_beside_a_pipe_the_terminal_goes_on_to_translate_newlines(sandbox: Sandbox, terminal: Terminal) -> None:
    """`sandbox run … | tee log`: what the neighbour prints has to start at the left."""
    reader, writer = os.pipe()
    process = terminal.start(sandbox, "run", "sh", "-c", "echo piped; echo up >&2; sleep 0.5", stdout=writer)
    os.close(writer)
    terminal.expect("up\r\n")
    os.write(terminal.slave, b"neighbour\nnext\n")
    terminal.expect("neighbour\r\nnext\r\n")
    process.wait(20)

    assert os.read(reader, 100) == b"piped\n"
    os.close(reader)


def test_a_prompt_that_nobody_can_answer_fails(sandbox: Sandbox, terminal: Terminal) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    process = terminal.start(sandbox, "run", "sh", "-c", "read x < /dev/tty || echo no terminal", stdin=reader)
    os.close(reader)
    terminal.expect("no terminal")

    assert process.wait(20) == 0


def test_a_loop_of_a_shell_ends_with_ctrl_c(sandbox: Sandbox, terminal: Terminal) -> None:
    process = terminal.start(sandbox, "run", "sh", "-c", "echo up; exec sleep 30")
    terminal.expect("up")
    terminal.type("\x03")

    # It has died of the interrupt, by which a shell knows; in `$?` that is 130.
    assert process.wait(20) == -signal.SIGINT


def test_a_job_that_is_brought_to_the_foreground_gets_the_terminal(sandbox: Sandbox, terminal: Terminal) -> None:
    def own() -> None:
        os.setsid()
        fcntl.ioctl(terminal.slave, termios.TIOCSCTTY, 0)

    shell = subprocess.Popen(
        ["bash", "--norc", "-i"],
        env={**sandbox.environment, "PS1": "$ "},
        cwd=sandbox.cwd,
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        preexec_fn=own,
    )
    terminal.expect("$ ")
    terminal.type(f'{sandbox.binary} run sh -c \'echo "is up"; read x; echo "<$x>"\' &\n')
    terminal.expect("$ is up")
    terminal.type("fg\n")
    time.sleep(1)
    terminal.type("answer\n")
    terminal.expect("<answer>")
    terminal.expect("$ ")  # what is typed before goes to whoever has the terminal
    terminal.type("exit\n")

    assert shell.wait(20) == 0
