"""`sandbox attach`: to see and to type, from wherever one is; and nobody who is attached stands in the way of the others."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from conftest import Sandbox
from detached_world import Detached, detached, wait_until
from needs import needs
from test_terminal import Terminal, terminal

from sandbox.cli.attach import KeyWatch, parse_keys
from sandbox.errors import UsageError

__all__ = ["detached", "terminal"]

pytestmark = needs("userns")


class Client:
    """Somebody who is attached, packet by packet."""

    def __init__(self, detached: Detached, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        directory = os.open(detached.containers / name, os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{directory}/attach")
        os.close(directory)
        self.hello = self.socket.recv(100)

    def until(self, text: bytes) -> bytes:
        """Return the packets up to the one that brings `text`."""
        seen = b""
        while text not in seen:
            packet = self.socket.recv(1 << 16)
            assert packet, f"{text!r} did not come: {seen!r}"
            seen += packet
        return seen


@pytest.fixture
def clients(detached: Detached) -> Iterator[list[Client]]:
    found: list[Client] = []
    yield found
    for client in found:
        client.socket.close()


def attached(sandbox: Sandbox, *words: str, **options: int) -> subprocess.Popen[str]:
    """Attach by the program, and return when it is."""
    process = sandbox.popen("attach", *words, **options)
    wait_until(lambda: any("socket" in place for place in open_files(process.pid)))
    time.sleep(0.2)  # the greeting
    return process


def open_files(pid: int) -> list[str]:
    """Return what a process has open; a descriptor that it closes in this moment is none."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


# --- without a terminal ---


def test_both_streams_and_the_exit_status(detached: Detached) -> None:
    name = detached("-i", "sh", "-c", 'read x; echo "<$x>"; echo err >&2; exit 3')
    result = detached.sandbox("attach", name, input="hello\n")

    assert (result.stdout, result.stderr, result.returncode) == ("<hello>\n", "err\n", 3)
    detached.settle(name)
    assert detached.log(name) == ("<hello>\n", "err\n")


def test_the_end_of_the_input_is_the_end_of_the_commands(detached: Detached) -> None:
    name = detached("-i", "sh", "-c", "cat; echo end")

    assert detached.sandbox("attach", name, input="a\nb").stdout == "a\nbend\n"


def test_a_command_without_input_ends_at_once_and_one_with_it_waits(detached: Detached) -> None:
    assert detached.wait(detached("cat")) == 0
    name = detached("-i", "cat")
    time.sleep(0.3)

    assert detached.inspect(name)["status"] == "running"


def test_no_stdin_leaves_the_input_alone(detached: Detached) -> None:
    name = detached("-i", "cat")
    process = attached(detached.sandbox, "--no-stdin", name)
    time.sleep(0.3)
    assert detached.inspect(name)["status"] == "running"
    other = detached.sandbox("attach", name, input="x")

    assert other.returncode == 0
    assert process.communicate(timeout=20)[0] == "x"


def test_much_input_and_much_output(detached: Detached) -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    name = detached("-i", "cat")

    assert detached.sandbox("attach", name, input=text).stdout == text


def test_a_command_that_reads_nothing_more_is_left_by_an_end(detached: Detached) -> None:
    """Its stdin is closed there, while more comes."""
    name = detached("-i", "sh", "-c", "exec <&-; sleep 0.5; exit 4")
    result = detached.sandbox("attach", name, input="x" * 1_000_000)

    assert result.returncode == 4
    assert detached.wait(name) == 4


def test_a_command_that_does_not_read_is_heard_all_the_same(detached: Detached) -> None:
    """More is typed than anybody has room for, and it goes on to talk, more than there is room for, too."""
    # By the first byte somebody is attached.
    name = detached("-i", "sh", "-c", "head -c 1 >/dev/null; seq 200000; echo end; exit 6")
    result = detached.sandbox("attach", name, input="x" * 3_000_000)

    assert result.stdout.endswith("\nend\n")
    assert result.stdout.count("\n") == 200_001
    assert result.returncode == 6


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_the_stay_and_not_the_sandbox(detached: Detached, number: int) -> None:
    name = detached("-i", "cat")
    process = attached(detached.sandbox, name, stdin=subprocess.PIPE)
    process.send_signal(number)

    assert process.wait(20) == 128 + number
    assert detached.inspect(name)["status"] == "running"


def test_who_cannot_be_attached_to(detached: Detached) -> None:
    name = detached("true")
    assert detached.wait(name) == 0
    result = detached.sandbox("attach", name)

    assert result.returncode == 125
    assert result.stderr == f"sandbox: {name} has ended\n  hint: see what it said: sandbox logs {name}\n"
    assert detached.sandbox("attach").returncode == 125
    assert detached.sandbox("attach", "--detach-keys", "ctrl-", name).returncode == 125


def test_a_keeper_that_is_killed_is_said(detached: Detached) -> None:
    name = detached("sleep", "60")
    process = attached(detached.sandbox, name)
    os.kill(detached.keeper(name), 9)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 125
    assert stderr == f"sandbox: {name} was killed\n"


# --- several ---


def test_all_see_and_all_may_type(detached: Detached, clients: list[Client]) -> None:
    name = detached("-i", "cat")
    clients += [Client(detached, name) for _ in range(4)]
    for number, client in enumerate(clients):
        client.socket.send(b"i" + b"from %d\n" % number)
        for other in clients:
            assert other.until(b"from %d\n" % number).startswith(b"o")

    assert {client.hello for client in clients} == {b"h\x02"}


def test_one_who_does_not_read_is_let_go_and_the_others_see_all(detached: Detached, clients: list[Client]) -> None:
    name = detached("-i", "sh", "-c", "read x; seq 300000; echo end; sleep 60")
    clients += [Client(detached, name), Client(detached, name)]
    reader, sleeper = clients
    started = time.monotonic()
    reader.socket.send(b"igo\n")
    seen = reader.until(b"\nend\n")

    assert time.monotonic() - started < 20
    assert b"300000\n" in seen
    assert detached.sandbox("exec", name, "true").returncode == 0
    while packet := sleeper.socket.recv(1 << 16):  # what it was sent before, and then the end
        assert packet[:1] == b"o"


def test_one_too_many_is_refused(detached: Detached, clients: list[Client]) -> None:
    name = detached("sleep", "60")
    clients += [Client(detached, name) for _ in range(16)]
    result = detached.sandbox("attach", name)

    assert result.returncode == 125
    assert "too many are attached" in result.stderr
    clients.pop().socket.close()
    process = attached(detached.sandbox, name)
    assert process.poll() is None
    process.terminate()


@pytest.mark.parametrize(
    "packet", [b"", b"?", b"w", b"w\x01\x02\x03", b"i", b"x\x01", b"o" * 4097, b"i" * 5000, bytes(300)]
)
def test_packets_that_mean_nothing_do_no_harm(detached: Detached, clients: list[Client], packet: bytes) -> None:
    name = detached("-i", "cat")
    clients += [Client(detached, name), Client(detached, name)]
    clients[0].socket.send(packet)
    clients[1].socket.send(b"ihello\n")

    assert clients[1].until(b"hello\n")


def test_the_socket_is_its_owners(detached: Detached) -> None:
    name = detached("sleep", "60")
    directory = detached.containers / name

    assert (directory.stat().st_mode & 0o777, (directory / "attach").stat().st_mode & 0o077) == (0o700, 0)


# --- on a terminal ---


@pytest.fixture
def shell(detached: Detached) -> str:
    return detached("-i", "--tty", "--env", "PS1=sh> ", "sh")


def leave(terminal: Terminal, process: subprocess.Popen[str], keys: str = "\x10\x11") -> None:
    terminal.type(keys)
    assert process.wait(20) == 0


def test_a_terminal_is_attached_left_and_attached_again(detached: Detached, shell: str, terminal: Terminal) -> None:
    before = terminal.attributes()
    process = terminal.start(detached.sandbox, "attach", shell)
    terminal.type("tty; x=kept\n")
    terminal.expect("/dev/pts/0")
    leave(terminal, process)
    terminal.expect(f"sandbox: {shell} runs on")
    assert terminal.attributes() == before
    process = terminal.start(detached.sandbox, "attach", shell)
    terminal.type("echo $x again; exit 5\n")
    terminal.expect("kept again")

    assert process.wait(20) == 5
    assert terminal.attributes() == before
    detached.settle(shell)
    assert (
        "kept again\r\n"
        in subprocess.run(
            [detached.sandbox.binary, "logs", shell], env=detached.sandbox.environment, capture_output=True, check=True
        ).stdout.decode()
    )


def test_the_window_has_the_size_of_ours(detached: Detached, shell: str, terminal: Terminal) -> None:
    terminal.resize(33, 101)
    process = terminal.start(detached.sandbox, "attach", shell)
    terminal.type("stty size\n")
    terminal.expect("33 101")
    terminal.resize(44, 99)
    terminal.type("until stty size | grep '44 9[9]'; do sleep 0.05; done\n")
    terminal.expect("44 99")
    leave(terminal, process)


def test_a_command_that_does_not_read_is_left_by_the_keys(detached: Detached, terminal: Terminal) -> None:
    """A terminal that is read raw keeps what is typed, until it is full; then the keeper does, and then we."""
    talks = "import time, tty\ntty.setraw(0)\nwhile True: print('up', flush=True); time.sleep(0.1)"
    name = detached("-i", "--tty", "python3", "-c", talks)
    process = terminal.start(detached.sandbox, "attach", name)
    terminal.expect("up")
    os.set_blocking(terminal.master, False)
    for _ in range(3000):
        wait_until(lambda: terminal.takes("x" * 400))
    leave(terminal, process)


def test_ctrl_c_is_the_commands(detached: Detached, shell: str, terminal: Terminal) -> None:
    process = terminal.start(detached.sandbox, "attach", shell)
    terminal.type("sleep 60\n")
    wait_until(lambda: "sleep 60" in detached.sandbox("exec", shell, "ps", "ax").stdout)
    terminal.type("\x03")
    terminal.type("echo sta'tus' $?\n")
    terminal.expect("status 130")
    leave(terminal, process)


def test_other_keys_leave_it_and_none(detached: Detached, shell: str, terminal: Terminal) -> None:
    process = terminal.start(detached.sandbox, "attach", "--detach-keys", "ctrl-a,d", shell)
    terminal.type("echo u'p'\n")
    terminal.expect("up")
    leave(terminal, process, "\x01d")
    process = terminal.start(detached.sandbox, "attach", "--detach-keys", "", shell)
    terminal.type("stty -echo; echo u'p'\n")
    terminal.expect("up")
    terminal.type("\x10\x11\nexit 7\n")

    assert process.wait(20) == 7


def test_end_of_file_is_typed(detached: Detached, shell: str) -> None:
    """The input comes from a pipe, and ends."""
    result = detached.sandbox("attach", shell, input="echo a'b'\n")

    assert "ab\r\n" in result.stdout or "ab\n" in result.stdout
    assert result.returncode == 0


def test_killed_it_leaves_the_terminal_as_it_was(detached: Detached, shell: str, terminal: Terminal) -> None:
    before = terminal.attributes()
    process = terminal.start(detached.sandbox, "attach", shell)
    terminal.type("echo u'p'\n")
    terminal.expect("up")
    process.terminate()

    assert process.wait(20) == 143
    assert terminal.attributes() == before
    assert detached.inspect(shell)["status"] == "running"


def test_a_terminal_without_interactive_takes_no_input(detached: Detached, terminal: Terminal) -> None:
    name = detached("--tty", "sh", "-c", "tty; sleep 60")
    wait_until(lambda: re.search(r"/dev/pts/0", detached.log(name)[0]))
    process = terminal.start(detached.sandbox, "attach", name)
    wait_until(lambda: "socket" in str(open_files(process.pid)))
    time.sleep(0.3)
    terminal.type("\x03")  # ours, as it is not passed on

    assert process.wait(20) == 130
    assert detached.inspect(name)["status"] == "running"


# --- the keys ---


@pytest.mark.parametrize(
    "typed, passed, left",
    [
        (b"abc", b"abc", False),
        (b"\x10\x11", b"", True),
        (b"a\x10\x11b", b"a", True),
        (b"\x10a", b"\x10a", False),
        (b"\x10\x10\x11", b"\x10", True),
        (b"\x11\x10", b"\x11", False),
    ],
)
def test_the_keys_are_found_however_they_come(typed: bytes, passed: bytes, left: bool) -> None:
    for size in (1, 2, 9):
        watch = KeyWatch(parse_keys("ctrl-p,ctrl-q"))
        found, seen = b"", False
        for at in range(0, len(typed), size):
            piece, seen = watch.pass_on(typed[at : at + size])
            found += piece
            if seen:
                break

        assert (found, seen) == (passed, left)


def test_keys_in_words() -> None:
    assert parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_keys("ctrl-@,x,ctrl-]") == b"\x00x\x1d"
    assert parse_keys("") == b""
    for text in ("ctrl-", "ab", "ctrl-1", "ctrl-p,", "é"):
        with pytest.raises(UsageError):
            parse_keys(text)
