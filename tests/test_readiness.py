"""A service that is a sandbox tells the service manager that it is ready, sd_notify(3); what is contained has no way to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs

pytestmark = needs("userns")

# What the command says, and then the end of the messages: `send` is sd_notify(3) without systemd.
SEND = """
import array, os, socket, sys
def send(message, *fds):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        end.sendmsg([message], rights, 0, os.environ["NOTIFY_SOCKET"])
"""


class Manager:
    """A service manager, as far as it listens."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.settimeout(20)

    def hear(self) -> str:
        """Return the next message."""
        return self.socket.recv(65536).decode()

    def heard(self) -> list[str]:
        """Return what has been said by now, line by line."""
        self.socket.setblocking(False)
        lines: list[str] = []
        while True:
            try:
                lines += self.hear().splitlines()
            except BlockingIOError:
                return lines


@pytest.fixture
def manager(runtime_dir: Path) -> Iterator[Manager]:
    manager = Manager(f"{runtime_dir}/manager")
    yield manager
    manager.socket.close()


def run(
    sandbox: Sandbox, manager: Manager, *args: str, mode: str = "start", **env: str
) -> subprocess.CompletedProcess[str]:
    return sandbox("run", "--notify", mode, *args, env={"NOTIFY_SOCKET": manager.address, **env})


def say(sandbox: Sandbox, manager: Manager, code: str, **env: str) -> list[str]:
    """Return what goes on of what the command says by `code`."""
    result = run(sandbox, manager, "python3", "-c", SEND + code, mode="command", **env)
    assert result.returncode == 0, result.stderr
    return manager.heard()


# --- start ---


def test_it_is_ready_when_the_command_runs_and_stops_at_its_end(sandbox: Sandbox, manager: Manager) -> None:
    process = sandbox.popen(
        "run", "--notify", "start", "cat", env={"NOTIFY_SOCKET": manager.address}, stdin=subprocess.PIPE
    )

    assert manager.hear() == "READY=1\n"
    assert manager.heard() == []
    process.communicate("")
    assert manager.heard() == ["STOPPING=1"]


@pytest.mark.parametrize("init", ["--init", "--no-init"])
def test_a_command_of_an_instant_was_ready(sandbox: Sandbox, manager: Manager, init: str) -> None:
    assert run(sandbox, manager, init, "true").returncode == 0
    assert manager.heard() == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize("init", ["--init", "--no-init"])
@pytest.mark.parametrize("command, status", [("nosuchcommand", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_executed_was_never_ready(
    sandbox: Sandbox, manager: Manager, init: str, command: str, status: int
) -> None:
    assert run(sandbox, manager, init, "--read", "/etc/passwd", command).returncode == status
    assert manager.heard() == []


def test_an_abstract_address(sandbox: Sandbox) -> None:
    manager = Manager(f"@sandbox-test-{os.getpid()}")
    try:
        assert run(sandbox, manager, "true").returncode == 0
        assert manager.heard() == ["READY=1", "STOPPING=1"]
    finally:
        manager.socket.close()


@pytest.mark.parametrize("address", ["relative", "vsock:2:1234", "/" + 200 * "x", "", "@"])
def test_an_address_that_is_none_is_left_alone(sandbox: Sandbox, address: str) -> None:
    result = sandbox("run", "--notify", "start", "true", env={"NOTIFY_SOCKET": address})

    assert (result.returncode, result.stderr) == (0, "")


def test_nobody_is_told_who_does_not_listen(sandbox: Sandbox, runtime_dir: Path) -> None:
    result = sandbox("run", "--notify", "start", "true", env={"NOTIFY_SOCKET": f"{runtime_dir}/nobody"})

    assert (result.returncode, result.stderr) == (0, "")


def test_who_keeps_one_that_is_detached_is_named(sandbox: Sandbox, manager: Manager) -> None:
    result = run(sandbox, manager, "--detach", "--name", "web", "sh", "-c", "while :; do sleep 0.05; done")

    assert result.returncode == 0, result.stderr
    main = manager.hear()
    assert manager.hear() == "READY=1\n"
    assert main == f"MAINPID={json.loads(sandbox('inspect', 'web').stdout)['monitor']}\n"
    sandbox("rm", "--force", "web", check=True)
    assert manager.heard() == ["STOPPING=1"]
    # Unasked a keeper says nothing: it is no service's process.
    sandbox(
        "run",
        "-d",
        "--rm",
        "true",
        env={"NOTIFY_SOCKET": manager.address, "SYSTEMD_EXEC_PID": str(os.getpid())},
        check=True,
    )
    assert manager.heard() == []


# --- by itself ---


def test_the_process_of_the_service_says_so_unasked_and_none_says_nothing(sandbox: Sandbox, manager: Manager) -> None:
    # `exec` keeps the number that the service manager has given out.
    script = 'SYSTEMD_EXEC_PID=$$ exec "$0" "$@"'
    for options, expected in (([], ["READY=1", "STOPPING=1"]), (["--notify", "none"], [])):
        subprocess.run(
            ["sh", "-c", script, str(sandbox.binary), "run", *options, "true"],
            cwd=sandbox.cwd,
            env={**sandbox.environment, "NOTIFY_SOCKET": manager.address},
            check=True,
        )
        assert manager.heard() == expected
        manager.socket.settimeout(20)


def test_a_part_of_a_service_does_not_speak_for_it(sandbox: Sandbox, manager: Manager) -> None:
    sandbox("run", "true", env={"NOTIFY_SOCKET": manager.address, "SYSTEMD_EXEC_PID": "1"}, check=True)
    sandbox("run", "true", env={"NOTIFY_SOCKET": manager.address}, check=True)

    assert manager.heard() == []


def test_the_command_has_nothing_of_it(sandbox: Sandbox, manager: Manager) -> None:
    result = run(sandbox, manager, "--keep-env", "sh", "-c", "env; ls -A /dev", WATCHDOG_USEC="1", WATCHDOG_PID="1")

    assert "WATCHDOG" not in result.stdout
    assert "NOTIFY" not in result.stdout
    assert "notify" not in result.stdout


# --- command ---


def test_the_command_says_it_by_a_socket_of_its_own(sandbox: Sandbox, manager: Manager) -> None:
    code = 'assert os.environ["NOTIFY_SOCKET"] == "/dev/notify"; send(b"STATUS=loading"); send(b"READY=1\\nSTATUS=up")'

    assert say(sandbox, manager, code) == ["STATUS=loading", "READY=1", "STATUS=up", "STOPPING=1"]


def test_a_command_that_does_not_say_it_is_not_ready(sandbox: Sandbox, manager: Manager) -> None:
    assert say(sandbox, manager, "") == []


@needs("systemd-notify")
def test_systemd_notify_inside(sandbox: Sandbox, manager: Manager) -> None:
    # It waits until its descriptor has been taken (BARRIER=1).
    assert run(sandbox, manager, "systemd-notify", "--ready", "--status=here", mode="command").returncode == 0
    assert manager.heard() == ["READY=1", "STATUS=here", "STOPPING=1"]


def test_a_socket_without_a_manager_is_none(sandbox: Sandbox) -> None:
    result = sandbox("run", "--notify", "command", "sh", "-c", "echo ${NOTIFY_SOCKET-unset}; ls /dev/notify")

    assert result.stdout == "unset\n"


def test_another_user_inside_may_say_it(sandbox: Sandbox, manager: Manager) -> None:
    result = run(sandbox, manager, "--user", "0:0", "python3", "-c", SEND + 'send(b"READY=1")', mode="command")

    assert result.returncode == 0, result.stderr
    assert manager.heard() == ["READY=1", "STOPPING=1"]


def test_the_watchdog_is_the_commands(sandbox: Sandbox, manager: Manager) -> None:
    code = 'send(b"STATUS=" + os.environ.get("WATCHDOG_USEC", "-").encode()); send(b"WATCHDOG=1")'

    assert say(sandbox, manager, code, WATCHDOG_USEC="30000000") == ["STATUS=30000000", "WATCHDOG=1"]
    assert say(sandbox, manager, code, WATCHDOG_USEC="3", WATCHDOG_PID="1") == ["STATUS=-", "WATCHDOG=1"]
    assert say(sandbox, manager, code, WATCHDOG_USEC="3\nMAINPID=1") == ["STATUS=-", "WATCHDOG=1"]


@pytest.mark.parametrize(
    "line",
    [
        "MAINPID=1", "FDSTORE=1", "FDNAME=x", "EXTEND_TIMEOUT_USEC=99999999", "WATCHDOG_USEC=1", "WATCHDOG=trigger", "READY=10",
        "READY=1 ", " READY=1", "NOTIFYACCESS=all", "ERRNO=-1", "ERRNO=", "ERRNO=1x", "MONOTONIC_USEC=" + 30 * "9", "BARRIER=1",
        "RESTART_RESET=1", "ready=1", "READY=1\0MAINPID=1", "",
    ],
)  # fmt: skip
def test_what_is_not_its_own_to_say_does_not_go_on(sandbox: Sandbox, manager: Manager, line: str) -> None:
    code = f'send({line.encode()!r}); send(b"ERRNO=2\\n" + {line.encode()!r} + b"\\nRELOADING=1\\nMONOTONIC_USEC=5\\n")'

    assert say(sandbox, manager, code) == ["ERRNO=2", "RELOADING=1", "MONOTONIC_USEC=5"]


def test_a_status_obeys_no_terminal(sandbox: Sandbox, manager: Manager) -> None:
    code = 'send(b"STATUS=a\\x1b[31mb\\rc\\x00d\\xc2\\x9be\\x7f \\xc3\\xa4"); send(b"STATUS=" + "ä".encode() * 1000)'

    first, second = say(sandbox, manager, code)
    assert first == "STATUS=a [31mb c d  e  ä"
    assert second == "STATUS=" + 252 * "ä"


def test_what_is_huge_or_brings_descriptors_does_no_harm(sandbox: Sandbox, manager: Manager) -> None:
    code = """
fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
send(b"READY=1\\n" + b"x" * 100000)
send(b"STATUS=" + b"x" * 4080)
send(b"FDSTORE=1\\nSTATUS=with", *fds)
r, w = os.pipe()
send(b"STATUS=pipe", w); os.close(w)
assert os.read(r, 1) == b""  # it is nobody's by now
"""
    lines = say(sandbox, manager, code)

    assert lines == ["STATUS=" + 505 * "x", "STATUS=with", "STATUS=pipe"]


def test_a_flood_is_held_back(sandbox: Sandbox, manager: Manager) -> None:
    code = (
        'import time; end = time.monotonic() + 3\nwhile time.monotonic() < end: send(b"WATCHDOG=1")\nsend(b"READY=1")'
    )
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.extend(iter(manager.hear, "STOPPING=1\n")), daemon=True)
    reader.start()
    process = sandbox.popen(
        "run", "--notify", "command", "python3", "-c", SEND + code, env={"NOTIFY_SOCKET": manager.address}
    )
    time.sleep(2)
    ticks = sum(int(value) for value in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13])

    assert process.wait(20) == 0
    reader.join(20)
    assert ticks < 40  # of a hundred a second
    assert 33 <= len(heard) <= 6 * 32


def test_a_stop_by_the_service_manager(sandbox: Sandbox, manager: Manager) -> None:
    code = 'import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\nsend(b"READY=1")\nsignal.pause()'
    process = sandbox.popen(
        "run", "--notify", "command", "python3", "-c", SEND + code, env={"NOTIFY_SOCKET": manager.address}
    )

    assert manager.hear() == "READY=1\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 3
    assert manager.heard() == ["STOPPING=1"]


def test_a_plan_that_is_kept_serves_with_and_without(sandbox: Sandbox, manager: Manager) -> None:
    for _ in range(2):
        assert say(sandbox, manager, 'send(b"READY=1")') == ["READY=1", "STOPPING=1"]
        manager.socket.settimeout(20)
        assert sandbox("run", "--notify", "command", "true").returncode == 0
