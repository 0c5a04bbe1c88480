"""The ground on which `tests/programs/hostile*.c` is let loose, and what it says afterwards.

Outside are a home with secrets, somebody who listens at every kind of socket, a process that notes the signals it gets, keys
and shared memory; inside is the program, which is told where all of that lies.  What it says is believed only as
far as it admits to have got out: whether something came through is looked for out here.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from conftest import Sandbox
from needs import CHECKOUT, own_cgroup, why_not

LIBC = ctypes.CDLL(None, use_errno=True)

SHIPPED = tuple(sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.toml")))
PROMISES = ("filter", "nested", "network", "init", "powerless", "bare", "cgroup")
CONTROLLERS = {
    "memory": "cgroup_memory",
    "cpu": "cgroup_cpu",
    "pids": "cgroup_pids",
    "hugepageLimits": "cgroup_hugetlb",
}

IPC_CREAT, IPC_RMID = 0o1000, 0
KEYCTL_JOIN_SESSION_KEYRING, KEY_SPEC_SESSION_KEYRING = 1, -3
ADD_KEY, KEYCTL = (248, 250) if os.uname().machine == "x86_64" else (217, 219)

# Notes each SIGURG, which nobody else minds.
VICTIM = """
import os, signal, sys
signal.signal(signal.SIGURG, lambda *_: os.write(1, b"signalled"))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


@functools.cache
def hostile() -> bytes:
    """Return the program, compiled."""
    sources = sorted(str(path) for path in (CHECKOUT / "tests/programs").glob("hostile*.c"))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "hostile")
        flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static"]
        subprocess.run(["gcc", *flags, "-o", str(path), *sources], check=True)
        return path.read_bytes()


def catalogue(program: Path) -> list[str]:
    """Return the names of all attacks."""
    result = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    return result.stdout.split("\n")[:-2]


def verdicts(text: str) -> dict[str, str]:
    """Return what became of each attack: `held`, `BROKE: how` or `n/a: why`."""
    lines = text.splitlines()
    assert lines[-1:] == ["end of the catalogue"], text
    return dict(line.split(" ", 1) for line in lines[:-1])


def promises(spec: dict[str, Any]) -> set[str]:
    """Return what a config.json promises, as the program is to understand it."""
    annotations = spec.get("annotations", {})
    namespaces = {namespace["type"] for namespace in spec["linux"]["namespaces"]}
    given = {"bare"}
    if "seccomp" in spec["linux"]:
        given |= {"filter"}
        given |= {"nested"} if annotations.get("dev.sandbox.nested") == "false" else set()
    if "network" in namespaces:
        given.add("network")
    if annotations.get("dev.sandbox.init") == "true":
        given.add("init")
    if not any(spec["process"].get("capabilities", {}).values()):
        given.add("powerless")
    if limited(spec):
        given.add("cgroup")
    return given


def limited(spec: dict[str, Any]) -> bool:
    """Whether a limit is asked for that can be had here, and so a cgroup."""
    asked = spec["linux"].get("resources") or {}
    return any(asked.get(name) and not why_not(fact) for name, fact in CONTROLLERS.items())


def may_write(spec: dict[str, Any], path: Path) -> bool:
    """Whether a tree of the host that holds `path` is shown writable."""
    shown = [mount for mount in spec["mounts"] if mount["type"] == "bind" and path.is_relative_to(mount["destination"])]
    return bool(shown) and "rw" in max(shown, key=lambda mount: len(mount["destination"]))["options"]


def start_directory(profile: str) -> tuple[str, ...]:
    """Return the option for a profile that does not show the working directory."""
    text = tomllib.loads((CHECKOUT / f"profiles/{profile}.toml").read_text())
    shown = profile not in ("base", "secrets") or "cwd" in text.get("process", {})
    return () if shown else ("--cwd", "/")


class Ground:
    """What lies around: all of it belongs to the caller, and nothing of it to the program."""

    def __init__(self, home: Path, project: Path, runtime: Path, stack: ExitStack) -> None:
        self.home = home
        self.state = runtime / "sandbox/containers/kept"
        self.project = project
        self.hidden = home / ".ssh/id_ed25519"
        self.fixed = home / "fixed"
        self.caches = home / ".cache/sandbox"  # of some profiles, for those inside alone
        self.caches.mkdir(parents=True)
        self.program = home / "tools/hostile"
        self.key = random.randrange(1 << 20, 1 << 30)
        self.secret = self.hidden.read_text().strip()
        self._lay()
        self._keep(stack)
        self._listen(stack)
        self._share(stack)
        self.victim = stack.enter_context(_victim())
        self.before = self.listing()

    def _lay(self) -> None:
        for directory in (self.fixed / "dir", self.project / "sub", self.program.parent):
            directory.mkdir(parents=True)
        (self.fixed / "note").write_text("a note of the caller's\n")
        (self.project / "sub/fixed").write_text("a note of the caller's\n")
        (self.project / "sub/private").write_text(f"{self.secret}\n")
        self.program.write_bytes(hostile())
        self.program.chmod(0o755)

    def _keep(self, stack: ExitStack) -> None:
        """Have what is left of a sandbox that has ended, by its name and its log."""
        for directory in (self.state.parents[1], self.state.parent, self.state, self.state / "notify"):
            directory.mkdir(mode=0o700, exist_ok=True)
        stack.callback(shutil.rmtree, self.state)
        for name in ("log", "result.json"):
            (self.state / name).write_text(f"{self.secret}\n")

    def _listen(self, stack: ExitStack) -> None:
        self.abstract = f"sandbox-test-{secrets.token_hex(4)}"
        self.stream = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = self.stream.getsockname()[1]
        self.datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.datagrams.bind(("127.0.0.1", self.port))
        self.listeners = [self.stream]
        # What is in the project anybody may knock at who may write there; the others nobody.
        kept = str(self.state / "attach")
        for address in (f"\0{self.abstract}", str(self.home / "bus"), kept, str(self.project / "door")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
            self.listeners.append(listener)
        self.door = self.listeners.pop()
        for listener in (*self.listeners, self.datagrams):
            listener.setblocking(False)

    def _share(self, stack: ExitStack) -> None:
        for make, remove, size in (("shmget", "shmctl", (4096,)), ("msgget", "msgctl", ()), ("semget", "semctl", (1,))):
            number = getattr(LIBC, make)(self.key, *size, IPC_CREAT | 0o600)
            assert number >= 0
            removal = (number, 0, IPC_RMID) if remove == "semctl" else (number, IPC_RMID, None)
            stack.callback(getattr(LIBC, remove), *removal)
        memory = Path(f"/dev/shm/hostile-{self.key}")
        memory.write_text(self.secret)
        stack.callback(memory.unlink)

    def words(self, given: set[str], *, writable: bool) -> list[str]:
        """Return the program's arguments."""
        around = {
            "hidden": self.hidden,
            "fixed": self.fixed,
            "abstract": self.abstract,
            "socket": self.home / "bus",
            "port": self.port,
            "key": self.key,
            "outside": self.victim.pid,
            "state": self.state,
        }
        own = own_cgroup()
        if own is not None:
            around["cgroup"] = own.parent
        words = [f"{name}={value}" for name, value in around.items()]
        return [
            *words,
            *([f"project={self.project}"] if writable else []),
            *(f"promise={name}" for name in sorted(given)),
        ]

    def let_loose(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command that runs the program, with all that a careless caller leaves lying about."""
        with open(self.hidden, "r+") as file:
            directory = os.open(self.home, os.O_RDONLY)
            place = os.open(self.home, os.O_PATH)
            try:
                return subprocess.run(
                    [os.fspath(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=False,
                    pass_fds=[file.fileno(), directory, place],
                    preexec_fn=self._take_a_key,
                    **options,
                )
            finally:
                os.close(directory)
                os.close(place)

    def _take_a_key(self) -> None:
        LIBC.syscall(KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, None)
        LIBC.syscall(ADD_KEY, b"user", b"sandbox-test-key", b"canary", 6, KEY_SPEC_SESSION_KEYRING)

    def listing(self) -> list[tuple[str, int, int, int, int]]:
        """Return everything in the home but what may be written, with what would change by a change."""
        found = []
        for path in sorted(self.home.rglob("*")):
            if path.is_relative_to(self.caches):
                continue
            if not path.is_relative_to(self.project) or path.is_relative_to(self.project / "sub"):
                about = path.lstat()
                found.append((str(path), about.st_mode, about.st_size, about.st_mtime_ns, about.st_nlink))
        return found

    def assert_untouched(self) -> None:
        """Look from outside: nothing has changed, nobody knocked, no signal arrived."""
        assert self.listing() == self.before
        assert self.hidden.read_text().strip() == self.secret
        assert self.victim.poll() is None
        assert _noted(self.victim) == ""

    def assert_silence(self) -> None:
        """Nobody has knocked, nothing was sent."""
        for listener in self.listeners:
            with suppress(BlockingIOError):
                listener.accept()[0].close()
                raise AssertionError(f"somebody has come to {listener.getsockname()!r}")
        with suppress(BlockingIOError):
            raise AssertionError(f"a datagram came: {self.datagrams.recv(100)!r}")


@contextmanager
def _victim() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", VICTIM], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    os.set_blocking(process.stdout.fileno(), False)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def _noted(victim: subprocess.Popen[str]) -> str:
    assert victim.stdout is not None
    time.sleep(0.02)
    with suppress(BlockingIOError, TypeError):
        return os.read(victim.stdout.fileno(), 100).decode()
    return ""


def spec_of(sandbox: Sandbox, *words: str) -> dict[str, Any]:
    """Return the config.json of a run."""
    result = sandbox("spec", *words, "--own-ids", "true", check=True)
    document: dict[str, Any] = json.loads(result.stdout)
    return document
