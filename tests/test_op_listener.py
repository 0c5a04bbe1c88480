"""A filter that notifies: its descriptor reaches the listener whatever the filter holds up."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import BINARY
from needs import needs
from test_run import wait_for

pytestmark = needs("userns", "mountns", "busybox", "seccomp")

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_*, linux/seccomp.h
CONTINUE = 1


class Listener:
    """An agent that answers notifications: with an errno, or by letting the call go on."""

    def __init__(self, path: Path, answers: dict[int, int]) -> None:
        self.answers = answers  # by the number of the call, an errno
        self.messages: list[dict[str, Any]] = []
        self.held: list[int] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        try:
            while True:
                connection, _ = self.socket.accept()
                with connection:
                    data, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4))
                    while piece := connection.recv(1 << 16):
                        data += piece
                (descriptor,) = array.array("i", control[0][2])
                self.messages.append(json.loads(data))
                self.threads.append(threading.Thread(target=self._answer, args=(descriptor,), daemon=True))
                self.threads[-1].start()
        except OSError:
            return  # closed

    def _answer(self, descriptor: int) -> None:
        try:
            while True:
                request = bytearray(80)  # struct seccomp_notif
                fcntl.ioctl(descriptor, RECEIVE, request)
                identity, _, _, number = struct.unpack_from("<QIIi", request)
                self.held.append(number)
                error = self.answers.get(number, 0)
                reply = struct.pack("<QqiI", identity, 0, -error, 0 if error else CONTINUE)
                fcntl.ioctl(descriptor, SEND, bytearray(reply))
        except OSError as error:
            assert error.errno in (errno.ENOENT, errno.EINTR), error  # nobody is filtered any more
        finally:
            os.close(descriptor)


class Bundle:
    """A bundle with busybox, whose filter notifies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "root"
        self.name = f"listened-{secrets.token_hex(4)}"  # the cgroup's too
        (path / "rootfs/bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "", path / "rootfs/bin/busybox")
        for name in ("sh", "mkdir", "sleep", "cat"):
            (path / "rootfs/bin" / name).symlink_to("busybox")
        self("spec", "--rootless", cwd=path)

    def __call__(
        self, *words: str, cwd: Path | None = None, detached: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sandbox-oci", "--root", str(self.root), *words],
            executable=BINARY,
            cwd=cwd or self.path,
            stdin=subprocess.DEVNULL,
            # A container that goes on would hold the pipes.
            stdout=subprocess.DEVNULL if detached else subprocess.PIPE,
            stderr=subprocess.DEVNULL if detached else subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    def write(self, script: str, names: tuple[str, ...], **process: Any) -> None:
        """Run `script`, and notify of the calls `names`."""
        document = json.loads((self.path / "config.json").read_text())
        document["process"] |= {"terminal": False, "args": ["sh", "-c", script], **process}
        document["root"]["readonly"] = False
        document["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(self.path / "listener"),
            "listenerMetadata": 'of "mine"',
            "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}],
        }
        (self.path / "config.json").write_text(json.dumps(document))


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    """Return a bundle, and delete its container."""
    made = Bundle(tmp_path)
    yield made
    made("delete", "--force", made.name)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Any]:
    """Return what starts the agent, which answers with an errno for calls by name."""
    made: list[Listener] = []

    def start(**answers: int) -> Listener:
        made.append(Listener(tmp_path / "listener", {NUMBERS[name]: error for name, error in answers.items()}))
        return made[-1]

    yield start
    for listener in made:
        listener.socket.shutdown(socket.SHUT_RDWR)
        listener.socket.close()


NUMBERS = {
    "x86_64": {"mkdir": 83, "execve": 59, "sendmsg": 46},
    "aarch64": {"mkdir": 34, "execve": 221, "sendmsg": 211},
}[os.uname().machine]
MKDIR = ("mkdir", "mkdirat")
EVERYTHING = ("sendmsg", "execve", "rt_sigprocmask", "umask", "exit", "exit_group", "futex", "nanosleep", "sched_yield")


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_listener_decides(bundle: Bundle, listen: Any, no_new_privileges: bool) -> None:
    bundle.write("mkdir /tmp-x; echo $?", MKDIR, noNewPrivileges=no_new_privileges)
    listener = listen(mkdir=errno.EDQUOT)
    result = bundle("run", bundle.name)

    assert result.stdout == "1\n", result.stderr
    assert "Disk quota exceeded" in result.stderr or "Quota exceeded" in result.stderr
    (message,) = listener.messages
    assert message["fds"] == ["seccompFd"]
    assert message["metadata"] == 'of "mine"'
    assert message["state"]["id"] == bundle.name
    assert message["pid"] == message["state"]["pid"]
    assert NUMBERS["mkdir"] in listener.held


def test_what_hands_the_descriptor_on_is_not_held(bundle: Bundle, listen: Any) -> None:
    """The first calls under the filter are held until somebody has its descriptor, which is what they are to send."""
    bundle.write("echo done", EVERYTHING)
    listener = listen()
    for _ in range(10):
        result = bundle("run", bundle.name)
        assert result.stdout == "done\n", result.stderr

    assert len(listener.messages) == 10
    assert {NUMBERS["execve"], NUMBERS["sendmsg"]} <= set(listener.held)


def test_a_process_that_joins_has_a_listener_of_its_own(bundle: Bundle, listen: Any) -> None:
    bundle.write("sleep 60", MKDIR)
    listener = listen(mkdir=errno.EDQUOT)
    assert bundle("run", "--detach", bundle.name, detached=True).returncode == 0
    joined = bundle("exec", bundle.name, "mkdir", "/tmp-x")

    assert joined.returncode == 1
    assert len(listener.messages) == 2
    first, second = (message["pid"] for message in listener.messages)
    assert first != second


@pytest.mark.parametrize("names", [MKDIR, EVERYTHING])
def test_without_a_listener_nothing_runs(bundle: Bundle, names: tuple[str, ...]) -> None:
    bundle.write("echo ran", names)
    result = bundle("run", bundle.name)

    assert result.returncode == 1
    assert "ran" not in result.stdout
    assert "listener" in result.stderr


def test_a_created_container_has_its_listener_when_it_is_started(bundle: Bundle, listen: Any) -> None:
    bundle.write("mkdir /made; echo made >/made/it; sleep 60", MKDIR)
    assert bundle("create", bundle.name, detached=True).returncode == 0
    refused = bundle("start", bundle.name)
    listener = listen()

    assert refused.returncode == 1
    assert "listener" in refused.stderr
    assert bundle("delete", "--force", bundle.name).returncode == 0
    assert bundle("create", bundle.name, detached=True).returncode == 0
    assert bundle("start", bundle.name).returncode == 0
    wait_for(bundle.path / "rootfs/made/it")
    assert NUMBERS["mkdir"] in listener.held
    assert bundle("start", bundle.name).returncode == 1


def test_the_helper_ends_with_its_work(bundle: Bundle, listen: Any) -> None:
    """Threads of the command's are its own."""
    bundle.write("cat /proc/self/status", MKDIR)
    listen()
    result = bundle("run", bundle.name)

    assert "\nThreads:\t1\n" in result.stdout
    assert "\nSeccomp:\t2\n" in result.stdout
