"""`sandbox attach`: see what a detached sandbox's command says, and type into it.

What goes over its socket is in docs/protocol.md; the other side is nsinit/attach.c.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import tty
from collections import deque
from types import FrameType

from sandbox.cli.verb_line import Values
from sandbox.errors import ContainerError, NoSuchContainer, NotSupported, UsageError, WrongStatus
from sandbox.kernel.process import wait_end
from sandbox.runtime import held
from sandbox.runtime.finding import find
from sandbox.runtime.record import Record, Status
from sandbox.runtime.state import Place, open_container, state_root

_END_SECONDS = 0.5  # in which a keeper that has said nothing more is gone
_INPUT = 4096
_PACKET = 1 << 16
_UNSENT_MOST = 1 << 16  # of what is typed to a command that does not read; the kernel's terminals keep less
_TERMINAL, _INTERACTIVE = 1, 2
DETACH_KEYS = "ctrl-p,ctrl-q"


class _Interrupted(Exception):  # noqa: N818 (no failure)
    """We were told to end; the sandbox was not."""


def attach(values: Values, operands: list[str]) -> int:
    """Stay until the command ends, and return its exit status; 0 when the keys to leave it were typed."""
    if len(operands) != 1:
        raise UsageError("one sandbox is to be named", where="attach", hint="sandbox attach [OPTIONS] ID")
    keys = parse_keys(str(values.get("detach_keys", DETACH_KEYS)))
    parent = f"{state_root()}/containers"
    place, record = find(parent, operands[0])
    with place:
        connection = connect(place, record)
    with connection:
        return _Attachment(connection, parent, record, keys, reads=values.get("stdin") is not False).run()


def connect(place: Place, record: Record) -> socket.socket:
    """Return a connection to the keeper.  Raises ContainerError."""
    if not record.detached:
        raise NotSupported(
            f"{record.id} has its streams where it was started",
            hint=f"see sandbox exec {record.id}; to one that is started with --detach one can be attached",
        )
    if place.status(record) == Status.STOPPED:
        raise WrongStatus(f"{record.id} has ended", hint=f"see what it said: sandbox logs {record.id}")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"/proc/self/fd/{place.fd}/attach")  # whose length has a limit
    except OSError as error:
        connection.close()
        raise ContainerError(f"{record.id} cannot be reached: {error.strerror}", hint="has it just ended?") from error
    return connection


def parse_keys(text: str) -> bytes:
    """Return the bytes that the keys send, as podman writes them: a character, or ctrl- and one.  Raises UsageError."""
    keys = b""
    for word in text.split(",") if text else []:
        letter = word.removeprefix("ctrl-")
        if len(letter) != 1 or not letter.isascii() or (word != letter and not ("@" <= letter.upper() <= "_")):
            raise UsageError(f'"{word}" is no key', where="--detach-keys", hint=f"write {DETACH_KEYS}, or a character")
        keys += bytes([ord(letter.upper()) & 0x1F]) if word != letter else letter.encode()
    return keys


class KeyWatch:
    """Looks for the keys to leave by in what is typed; a beginning of them is held back until it is known."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def pass_on(self, typed: bytes) -> tuple[bytes, bool]:
        """Return what is to be passed on of `typed`, and whether the keys were in it."""
        if not self._keys:
            return typed, False
        passed = b""
        for byte in typed:
            if byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    return passed, True
                continue
            passed += self._keys[: self._held]
            self._held = 0
            if byte == self._keys[0] and len(self._keys) > 1:
                self._held = 1
            else:
                passed += bytes([byte])
        return passed, False


class _Attachment:
    """One stay."""

    def __init__(self, connection: socket.socket, parent: str, record: Record, keys: bytes, *, reads: bool) -> None:
        self._connection = connection
        self._parent = parent
        self._record = record
        self._keys = KeyWatch(keys)
        self._reads = reads
        self._unsent: deque[bytes] = deque()  # packets for which there was no room
        self._modes: list[object] | None = None  # of our terminal, to be restored
        self._terminal = False  # does the sandbox have one?
        try:
            self._keeper = held.monitor_of(record)
        except ProcessLookupError:  # it ends right now
            self._keeper = -1
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> int:
        """Return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        try:
            return self._stay()
        except _Interrupted as interruption:
            return 128 + int(interruption.args[0])
        except BrokenPipeError:
            return 128 + signal.SIGPIPE  # as the command would end whose output nobody reads
        finally:
            self._restore()

    def _restore(self) -> None:
        if self._modes is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)  # type: ignore[arg-type]  # as tcgetattr() gave them
            self._modes = None

    def _stay(self) -> int:
        hello = self._receive()
        if hello[:1] != b"h":
            raise ContainerError(f"{self._record.id}: too many are attached", hint="leave another one first")
        flags = hello[1]
        self._terminal = bool(flags & _TERMINAL)
        self._reads = self._reads and bool(flags & _INTERACTIVE)
        if self._terminal:
            signal.signal(signal.SIGWINCH, lambda *_: os.write(self._woken, b"w"))
            self._send_window(redraw=True)
        if self._reads and self._terminal and os.isatty(0):
            self._modes = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSADRAIN)
        while True:
            ready = self._wait()
            if self._wake in ready:
                os.read(self._wake, 64)
                self._send_window()
            if ready.get(self._connection.fileno(), 0) & ~select.POLLOUT:
                status = self._take()
                if status is not None:
                    return status
            self._send_rest()
            if 0 in ready and self._pass_input():
                self._restore()
                print(f"\nsandbox: {self._record.id} runs on", file=sys.stderr)
                return 0

    def _wait(self) -> dict[int, int]:
        """Return what there is to be done.

        A command that does not read holds up neither what it says itself, nor the keys to leave it by.
        """
        poll = select.poll()
        poll.register(self._connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        poll.register(self._wake, select.POLLIN)
        if self._reads and (not self._unsent or os.isatty(0)):
            poll.register(0, select.POLLIN)
        return dict(poll.poll())

    def _receive(self) -> bytes:
        try:
            return self._connection.recv(_PACKET)
        except ConnectionResetError:
            return b""

    def _take(self) -> int | None:
        """Show what has come; return the exit status if that was it."""
        packet = self._receive()
        kind, content = packet[:1], packet[1:]
        if kind in (b"o", b"e"):
            while content:
                content = content[os.write(1 if kind == b"o" else 2, content) :]
            return None
        if kind == b"x":
            return content[0]
        if packet:
            return None  # another version's
        self._restore()
        return self._status_without_word()

    def _status_without_word(self) -> int:
        """The keeper has let us go, or is no more."""
        name = self._record.id
        if self._keeper >= 0 and not wait_end(self._keeper, _END_SECONDS):
            raise ContainerError(
                f"{name} runs on, and does not wait for who does not read",
                hint=f"see what it says: sandbox logs {name}",
            )
        try:
            place, record = open_container(self._parent, name)
        except NoSuchContainer:
            result = {}
        else:
            with place:
                result = place.result() if record.created == self._record.created else {}
        if not result:
            raise ContainerError(f"{name} was killed")
        return int(result["exit"]["status"])

    def _pass_input(self) -> bool:
        """Pass on what was typed; return whether the keys to leave by were among it."""
        typed = os.read(0, _INPUT - 16)
        if not typed:
            self._reads = False
            self._send(b"c")
            return False
        passed, leaves = self._keys.pass_on(typed) if os.isatty(0) else (typed, False)
        if passed and sum(map(len, self._unsent)) < _UNSENT_MOST:
            self._send(b"i" + passed)
        return leaves

    def _send(self, packet: bytes) -> None:
        self._unsent.append(packet)
        self._send_rest()

    def _send_rest(self) -> None:
        while self._unsent:
            try:
                self._connection.send(self._unsent[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                pass  # it ends: there is a last word to be read
            self._unsent.popleft()

    def _send_window(self, *, redraw: bool = False) -> None:
        """Give the sandbox's terminal the size of ours; another one first lets programs draw anew."""
        for descriptor in (0, 1, 2):
            try:
                columns, rows = os.get_terminal_size(descriptor)
            except OSError:
                continue
            for width in (columns - 1, columns) if redraw and columns > 1 else (columns,):
                self._send(b"w" + rows.to_bytes(2, "little") + width.to_bytes(2, "little"))
            return


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)
