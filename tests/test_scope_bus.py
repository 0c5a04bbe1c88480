"""What nsinit makes of a bus that is broken, or hostile: a clear error within its time, never a hang."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jeepney import DBusAddress, Endianness, HeaderFields, MessageType, new_error, new_method_call, new_signal
from needs import needs
from plan_world import PlanWorld

from sandbox.kernel import manager
from sandbox.kernel.manager import NoManager, conversation, find
from sandbox.plan.inputs import InputKind, Inputs
from sandbox.plan.ops import Cgroup, MapIds, Scope

pytestmark = needs("userns")

GREETING = b"DATA\r\nOK 0123456789abcdef\r\n"
MANAGER = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
JOB = "/org/freedesktop/systemd1/job/7"


def answer(serial: int, signature: str | None = None, body: tuple[object, ...] = ()) -> bytes:
    """Return a method's return."""
    message = new_method_call(MANAGER, "X", signature, body)
    message.header.message_type = MessageType.method_return
    message.header.fields = {HeaderFields.reply_serial: serial, HeaderFields.sender: "org.freedesktop.systemd1"}
    if signature:
        message.header.fields[HeaderFields.signature] = signature
    return bytes(message.serialise(serial=99))


def refused(serial: int, name: str, words: str) -> bytes:
    call = new_method_call(MANAGER, "X")
    call.header.serial = serial
    call.header.fields[HeaderFields.sender] = ":1.1"
    return bytes(new_error(call, name, "s", (words,)).serialise(serial=98))


def removed(job: str, result: str, member: str = "JobRemoved") -> bytes:
    signal = new_signal(MANAGER, member, "uoss", (7, job, "box.scope", result))
    return bytes(signal.serialise(serial=97))


NAMED = answer(1, "s", (":1.7",)) + answer(2) + answer(3, "o", (JOB,))


def with_length(message: bytes, at: int, length: int) -> bytes:
    return message[:at] + struct.pack("<I", length) + message[at + 4 :]


def big_endian() -> bytes:
    message = new_method_call(MANAGER, "X", "o", (JOB,))
    message.header.endianness = Endianness.big
    message.header.message_type = MessageType.method_return
    message.header.fields = {HeaderFields.reply_serial: 3, HeaderFields.signature: "o"}
    return bytes(message.serialise(serial=99))


# What the bus says, and in which words that is refused.
ANSWERS: dict[str, tuple[bytes, str]] = {
    "systemd refuses": (
        GREETING + answer(1, "s", (":1.7",)) + refused(3, "org.freedesktop.systemd1.UnitExists", "it is there"),
        "org.freedesktop.systemd1.UnitExists: it is there (StartTransientUnit)",
    ),
    "the bus refuses": (GREETING + refused(2, "org.freedesktop.DBus.Error.LimitsExceeded", "many"), "LimitsExceeded: many"),
    "control characters": (GREETING + refused(3, "a.b", "\x1b[31mred\nline"), "a.b: ?[31mred?line (StartTransientUnit)"),
    "a long text": (GREETING + refused(3, "a.b", "x" * 5000), "a.b: xxxxxxxx"),
    "an error without a name": (
        GREETING + b"l\3\0\1" + struct.pack("<III", 0, 98, 8) + b"\5\1u\0" + struct.pack("<I", 3),
        "an error without a name (StartTransientUnit)",
    ),
    "the job fails": (GREETING + NAMED + removed(JOB, "failed"), "job: failed (StartTransientUnit)"),
    "we are not known": (b"REJECTED EXTERNAL\r\n", "the bus does not know us"),
    "it hangs up": (GREETING + NAMED, "Broken pipe (recvmsg on"),
    "it hangs up at once": (b"", "Broken pipe (recvmsg on"),
    "truncated": (GREETING + NAMED + removed(JOB, "done")[:-3], "Broken pipe (recvmsg on"),
    "the end of another job": (GREETING + NAMED + removed(f"{JOB}0", "done"), "Broken pipe (recvmsg on"),
    "another signal": (GREETING + NAMED + removed(JOB, "done", "JobNew"), "Broken pipe (recvmsg on"),
    "the end before the beginning": (GREETING + removed(JOB, "done"), "Broken pipe (recvmsg on"),
    "the answer to another call": (GREETING + answer(9, "o", (JOB,)) + removed(JOB, "done"), "Broken pipe (recvmsg on"),
    "an error for another call": (GREETING + refused(9, "a.b", "c"), "Broken pipe (recvmsg on"),
    "no D-Bus": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error (recvmsg on"),
    "a line without an end": (b"DATA" + b"x" * 2000, "Protocol error (recvmsg on"),
    "big endian": (GREETING + big_endian(), "Protocol error (recvmsg on"),
    "another version": (GREETING + b"l\2\0\2" + bytes(12), "Protocol error (recvmsg on"),
    "a huge body": (GREETING + with_length(NAMED, 4, 0xFFFFFFFF), "Protocol error (recvmsg on"),
    "huge fields": (GREETING + with_length(NAMED, 12, 0xFFFFFFF8), "Protocol error (recvmsg on"),
    "fields beyond the message": (GREETING + with_length(answer(1, "s", (":1.7",)), 12, 0x40) + bytes(64), "Protocol error (recvmsg on"),
    "a field of a type of its own": (
        GREETING + b"l\2\0\1" + struct.pack("<III", 0, 1, 12) + b"\5\1v\0" + bytes(12),
        "Protocol error (recvmsg on",
    ),
    "a string that runs over": (
        GREETING + answer(3, "o", (JOB,))[:-len(JOB) - 5] + struct.pack("<I", 0x1000) + JOB.encode() + b"\0",
        "Protocol error (recvmsg on",
    ),
    "a job without a path": (GREETING + answer(3, "s", ("x",)), "Protocol error (recvmsg on"),
    "a job with a path that has no end": (GREETING + answer(3, "o", (f"/{'x' * 500}",)), "Protocol error (recvmsg on"),
    "a scope that is not there": (GREETING + NAMED + removed(JOB, "done"), "No such file or directory (cgroup"),
}  # fmt: skip


class Bus:
    """A bus that listens, and says what a test wants."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard = b""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._done = threading.Event()

    def serve(self, talk: Callable[[socket.socket], None]) -> None:
        def run() -> None:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            with client:
                self.heard = client.recv(1 << 16)
                talk(client)
                # To end before all is read would be a reset.
                client.shutdown(socket.SHUT_WR)
                self._done.wait(10)

        threading.Thread(target=run, daemon=True).start()

    def close(self) -> None:
        self._done.set()
        self._server.close()


@pytest.fixture
def bus(runtime_dir: Path) -> Iterator[Bus]:
    bus = Bus(runtime_dir / "fake")
    yield bus
    bus.close()


def scope(bus: Bus, milliseconds: int = 5000) -> list[Scope | Cgroup]:
    said = conversation(("box.scope", "", ""), [("Delegate", ("b", True))], with_monitor=False)
    operation = Scope(
        address=str(bus.path), unit="box.scope", conversation=said.content, serial=said.serial, pid_at=said.pid_at,
        root="/sys/fs/cgroup", milliseconds=milliseconds,
    )  # fmt: skip
    return [operation, Cgroup(parent="", name="container")]


@pytest.mark.parametrize("words, refusal", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
def test_it_ends_in_a_clear_error(run_plan: PlanWorld, bus: Bus, words: bytes, refusal: str, bytewise: bool) -> None:
    def talk(client: socket.socket) -> None:
        try:
            if not bytewise:
                client.sendall(words)
                return
            for byte in words:
                client.sendall(bytes([byte]))
        except OSError:  # it has heard enough
            pass

    bus.serve(talk)
    stderr = run_plan.refusal(scope(bus))

    assert "cannot have systemd make the scope box.scope: " in stderr
    assert refusal in stderr, stderr


def test_who_says_nothing_is_waited_for_as_long_as_it_is_said(run_plan: PlanWorld, bus: Bus) -> None:
    bus.serve(lambda client: time.sleep(8))
    before = time.monotonic()
    stderr = run_plan.refusal(scope(bus, milliseconds=1000))

    assert time.monotonic() - before < 6
    assert "timed out (recvmsg" in stderr.lower()
    assert "your user manager has not answered within 1 s" in stderr


def test_who_never_comes_to_the_point_is_not_listened_to_for_ever(run_plan: PlanWorld, bus: Bus) -> None:
    end = time.monotonic() + 8

    def talk(client: socket.socket) -> None:
        client.sendall(GREETING)
        try:
            while time.monotonic() < end:
                client.sendall(removed("/other", "done"))
        except OSError:
            pass

    bus.serve(talk)
    before = time.monotonic()
    stderr = run_plan.refusal(scope(bus, milliseconds=1000))

    assert time.monotonic() - before < 6
    assert "timed out (recvmsg" in stderr.lower()


def test_what_is_said_has_the_process_in_it(run_plan: PlanWorld, bus: Bus) -> None:
    bus.serve(lambda client: None)
    run_plan.refusal(scope(bus))
    said = conversation(("box.scope", "", ""), [("Delegate", ("b", True))], with_monitor=False)

    assert len(bus.heard) == len(said.content)
    assert bus.heard[: said.pid_at] == said.content[: said.pid_at]
    assert struct.unpack_from("<I", bus.heard, said.pid_at)[0] > 1


def test_of_a_process_that_has_ended_it_is_said_why(run_plan: PlanWorld, bus: Bus) -> None:
    """systemd makes no scope for it, and that is not the reason."""

    def talk(client: socket.socket) -> None:
        time.sleep(0.5)
        client.sendall(GREETING + refused(3, "org.freedesktop.DBus.Error.UnixProcessIdUnknown", "no such process"))

    bus.serve(talk)
    run_plan.identity = [MapIds(uid_map="0 4294967290 1\n", gid_map="0 4294967290 1\n")]
    stderr = run_plan.refusal(scope(bus))

    assert "cannot map ids" in stderr
    assert "no such process" not in stderr


def test_of_many_who_come_at_once_each_has_its_turn(run_plan: PlanWorld, runtime_dir: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(runtime_dir / "fake"))
        server.listen(0)
        waiting = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for client in waiting:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(runtime_dir / "fake"))

        def serve() -> None:
            time.sleep(0.5)
            for _ in range(2):
                client = server.accept()[0]
                client.sendall(b"REJECTED EXTERNAL\r\n")
                stack.callback(client.close)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        said = conversation(("box.scope", "", ""), [("Delegate", ("b", True))], with_monitor=False)
        operation = Scope(
            address=str(runtime_dir / "fake"), unit="box.scope", conversation=said.content, serial=said.serial,
            pid_at=said.pid_at, root="/sys/fs/cgroup",
        )  # fmt: skip
        stderr = run_plan.refusal([operation])
        thread.join(5)

    assert "the bus does not know us" in stderr


def test_nobody_listens(run_plan: PlanWorld, bus: Bus) -> None:
    bus.close()
    stderr = run_plan.refusal(scope(bus))

    assert "Connection refused (connect" in stderr
    assert "your user manager, or its bus, has ended" in stderr


PLACES = {"beyond the end": {"pid_at": 1 << 20}, "at the end": {"monitor_at": 0}, "an id without one": {"id_at": 40}}


@pytest.mark.parametrize("name", ["beyond the end", "an id without one"])
def test_a_place_that_is_none_is_refused(run_plan: PlanWorld, bus: Bus, name: str) -> None:
    bus.serve(lambda client: None)
    operation, cgroup = scope(bus)
    changed = Scope(**operation.values() | PLACES[name])

    assert "Bad message (plan)" in run_plan.refusal([changed, cgroup])


# --- Python's half of it ---


@pytest.mark.parametrize(
    "words, why",
    [
        (b"", "ended the conversation"),
        (b"REJECTED EXTERNAL\r\n", "the bus does not know us"),
        (GREETING + b"l\2\0\1" + bytes(200), "is not D-Bus"),
        (GREETING + b"\xff" * 100, "is not D-Bus"),
        (GREETING + refused(2, "a.b", "no such name"), "no such name"),
        (
            GREETING + answer(1, "s", (":1.7",)) + answer(2, "u", (1,)) + answer(3, "v", (("s", "/elsewhere"),)),
            "numbers processes, or sees cgroups, otherwise",
        ),
        (GREETING + answer(1, "s", (":1.7",)) + answer(2, "s", ("x",)) + answer(3, "v", (("u", 3),)), "otherwise"),
        (GREETING + answer(1, "s", (":1.7",)) + answer(2) + answer(3), "something else"),
    ],
)
def test_a_bus_that_is_none_is_no_manager(bus: Bus, runtime_dir: Path, words: bytes, why: str) -> None:
    bus.serve(lambda client: client.sendall(words))
    (runtime_dir / "bus").unlink()
    bus.path.rename(runtime_dir / "bus")
    inputs = Inputs({"XDG_RUNTIME_DIR": str(runtime_dir)})

    with pytest.raises(NoManager) as refusal:
        find(inputs)
    assert why in str(refusal.value)
    # Nothing that could be looked at has to change for it to answer the next time.
    assert any(entry.kind == InputKind.NODE and not entry.inode for entry in inputs.seen.values())


def test_a_bus_that_never_comes_to_the_point_is_no_manager(
    bus: Bus, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.sendall(b"D")
                time.sleep(0.1)

    monkeypatch.setattr(manager, "ANSWER_SECONDS", 0.5)
    bus.serve(talk)
    (runtime_dir / "bus").unlink()
    bus.path.rename(runtime_dir / "bus")

    began = time.monotonic()
    with pytest.raises(NoManager, match="does not answer"):
        find(Inputs({"XDG_RUNTIME_DIR": str(runtime_dir)}))
    assert time.monotonic() - began < 5
