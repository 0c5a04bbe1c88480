"""OCI runtimes, bundles for them and what a probe finds inside, for the tests that compare them."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import pty
import pwd
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import BINARY
from needs import CHECKOUT, SLOWNESS, own_cgroup

RUNTIMES = {"runc": "/usr/sbin/runc", "crun": "/usr/bin/crun", "sandbox-oci": str(BINARY.with_name("sandbox-oci"))}
PROBE = "/bin/oci_probe"
# Two workers share a cgroup, and with it the names of containers' cgroups.
ID = f"box-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"

Config = dict[str, Any]
Edit = Callable[[Config], object]


# --- bundles ---


@functools.cache
def _spec() -> str:
    """Return what `runc spec --rootless` writes."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([RUNTIMES["runc"], "spec", "--rootless"], cwd=directory, check=True)
        return Path(directory, "config.json").read_text()


def base_config(*edits: Edit) -> Config:
    """Return a config by runc, but that it runs the probe and has no terminal, with `edits` made to it."""
    config: Config = json.loads(_spec())
    config["process"]["args"] = [PROBE]
    config["process"]["terminal"] = False
    for edit in edits:
        edit(config)
    return config


def build_probe(directory: Path) -> Path:
    path = directory / "oci_probe"
    source = CHECKOUT / "tests/programs/oci_probe.c"
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-static", "-o", str(path), str(source)], check=True)
    return path


def remove_tree(path: Path) -> None:
    """Remove a tree in which there may be files of subordinate ids."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        subprocess.run(
            ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "--", str(path)], check=False
        )


@dataclass(frozen=True)
class World:
    """One place for every bundle, made anew for each run: what two runtimes see can be compared word by word."""

    place: Path
    probe: Path

    @property
    def bundle(self) -> Path:
        return self.place / "bundle"

    def fill(self, config: Config, files: Callable[[Path], object] | None = None) -> Path:
        """Write a bundle with the probe, an /etc and what `files` adds; `$BUNDLE` in the config is its path."""
        remove_tree(self.bundle)
        root = self.bundle / "rootfs"
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            (root / name).mkdir(parents=True)
        os.link(self.probe, root / PROBE[1:])
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:7:8:user:/home/user:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\nuser:x:8:\n")
        if files:
            files(self.bundle)
        (self.bundle / "config.json").write_text(json.dumps(config).replace("$BUNDLE", str(self.bundle)))
        return self.bundle

    def runtime(self, name: str) -> Runtime:
        return Runtime(name, self.place / f"state-{name}", self.place)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Return a world in the home of the tests' user: a bundle in /tmp would be hidden by what covers it."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    place = Path(tempfile.mkdtemp(prefix="sbx-", dir=home if os.access(home, os.W_OK) else None))
    yield World(place, build_probe(place))
    remove_tree(place)


# --- a runtime ---


@dataclass
class Runtime:
    """A runtime with a state root of its own; call it with the arguments after --root."""

    name: str
    root: Path
    cwd: Path
    timeout: float = 20

    def command(self, *args: str | os.PathLike[str]) -> list[str]:
        return [RUNTIMES[self.name], "--root", str(self.root), *map(str, args)]

    def __call__(self, *args: str | os.PathLike[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to its end, with files for standard output and error: a container may keep them open."""
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            streams = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr, "cwd": self.cwd}
            given = {**streams, "timeout": self.timeout, **options}
            result = subprocess.run(self.command(*args), check=False, **given)
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess(result.args, result.returncode, stdout.read(), stderr.read())

    def state(self, container: str = ID) -> dict[str, Any]:
        """Return the state document, or nothing where there is no such container."""
        text = self("state", container).stdout
        return json.loads(text) if text else {}

    def wait_stopped(self, container: str = ID) -> None:
        """Wait for the end of a container whose first process may have become a child of ours."""
        end = time.monotonic() + self.timeout * SLOWNESS
        while self.state(container).get("status") not in (None, "stopped"):
            assert time.monotonic() < end, f"{self.name}: the container does not end"
            reap()
            time.sleep(0.01)

    def end(self) -> None:
        """Kill the container and delete it; by force alone crun leaves one that shares our process namespace running."""
        self("kill", ID, "KILL")
        self.wait_stopped()
        self("delete", ID)

    def clean(self) -> None:
        """Remove every container, and what a runtime leaves of its cgroups."""
        for path in self._containers():
            self("delete", "--force", path.name)
        reap()
        remove_tree(self.root)
        for path in sorted(_cgroups("**/"), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()

    def leftovers(self) -> list[str]:
        """Return what is still there of containers: state and cgroups, but for parents that were asked for."""
        containers = [path for path in _cgroups("**/") if path.name == ID or not path.name.startswith(ID)]
        return [str(path) for path in (*self._containers(), *containers)]

    def _containers(self) -> list[Path]:
        """Return the directories of containers; ours keeps them one level lower."""
        own = self.root / "containers"
        return sorted((own if own.is_dir() else self.root).glob("*"))


def _cgroups(below: str) -> list[Path]:
    """Return the cgroups beside ours that bear the name of this worker's container."""
    own = own_cgroup()
    return [] if own is None else [path for path in own.parent.glob(f"{ID}*/{below}") if path.is_dir()]


def reap() -> None:
    """Take in the ended containers that have become our children (conftest makes us a subreaper)."""
    for pid in _children():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(word) for word in file.read().split()]


# --- differences ---

# A reason, and the lines of a comparison that it explains: patterns for the whole of a line.
Explained = Mapping[str, Sequence[str]]


def unexplained(found: list[str], explained: Explained) -> str:
    """Return what is not explained, and what is explained in vain; `?` begins what is a matter of who is faster."""
    patterns = [pattern for group in explained.values() for pattern in group]
    unknown = [line for line in found if not any(re.fullmatch(pattern.lstrip("?"), line) for pattern in patterns)]
    in_vain = [
        pattern
        for pattern in patterns
        if not pattern.startswith("?") and not any(re.fullmatch(pattern, line) for line in found)
    ]
    return "\n".join(unknown + [f"not seen, but explained: {pattern}" for pattern in in_vain])


# --- what is seen ---


@dataclass(frozen=True)
class Seen:
    """What came of a run: an exit status, the probe's facts, complaints on standard error."""

    status: int
    facts: Counter[str]
    complaints: str


def seen(status: int, output: str, complaints: str, joined: int = 0) -> Seen:
    """Return the probe's output as facts that do not differ from run to run; `joined` owns namespaces that are joined."""
    names = {_namespace(joined, name): "joined" for name in os.listdir("/proc/self/ns")} if joined else {}
    names |= {_namespace(os.getpid(), name): "host" for name in os.listdir("/proc/self/ns")}
    facts = []
    for line in output.splitlines():
        words = line.split()
        if "namespace" in words[:3]:
            words[-1] = names.get(words[-1], "own")
        elif words[:1] == ["status.NSpid"] and words[-1] != "1":
            words[-1] = "other"
        elif words[:1] == ["descriptor"] and words[3:4] == ["(deleted)"]:
            words[2] = "file"
        elif words[:1] == ["hook"] and words[2] == "stdin":
            facts += [f"hook {words[1]} {fact}" for fact in _hook_state(" ".join(words[3:]))]
            continue
        facts.append(" ".join(words))
    return Seen(status, Counter(facts), complaints)


def _namespace(pid: int, name: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{name}")


def _hook_state(text: str) -> list[str]:
    state = json.loads(text)
    if state.get("pid", 0) > 1:
        state["pid"] = "host"
    return [f"state {name}={json.dumps(value)}" for name, value in state.items()]


def _call(runtime: Runtime, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=runtime.cwd,
        timeout=runtime.timeout,
    )


def run(runtime: Runtime, bundle: Path, *options: str, joined: int = 0) -> Seen:
    """Run with pipes; standard input is /dev/null.  What hooks have written down is added, and their order."""
    command = runtime.command("run", "--bundle", bundle, *options, ID)
    result = _call(runtime, [word.replace("$BUNDLE", str(bundle)) for word in command])
    output, written = result.stdout, bundle / "out/hooks"
    if written.exists():
        lines = written.read_text().splitlines()
        order = " ".join(dict.fromkeys(line.split()[1] for line in lines))
        output += "\n".join([f"hooks {order}", *lines])
    return seen(result.returncode, output, result.stderr, joined)


def run_from_shell(script: str) -> Callable[..., Seen]:
    """Return a way to run: by a script of the shell, in which `"$@"` is the call."""

    def way(runtime: Runtime, bundle: Path, *options: str) -> Seen:
        command = runtime.command("run", "--bundle", bundle, *options, ID)
        result = _call(runtime, ["sh", "-c", script, "sh", *command])
        return seen(result.returncode, result.stdout, result.stderr)

    return way


def execute(*looks: str) -> Callable[..., Seen]:
    """Return a way to look: by a probe that joins a container that naps; the options are those of `exec`."""

    def way(runtime: Runtime, bundle: Path, *options: str) -> Seen:
        started = runtime("run", "--detach", "--bundle", bundle, ID)
        if started.returncode:
            return seen(started.returncode, "", started.stderr)
        result = subprocess.run(
            runtime.command("exec", *options, ID, PROBE, *looks),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=runtime.cwd,
            timeout=runtime.timeout,
        )
        runtime.end()
        return seen(result.returncode, result.stdout, result.stderr)

    return way


def execute_at_console(runtime: Runtime, bundle: Path, *options: str) -> Seen:
    """Join a container that naps, at a terminal that goes to a console socket."""
    started = runtime("run", "--detach", "--bundle", bundle, ID)
    if started.returncode:
        return seen(started.returncode, "", started.stderr)
    pid_file = runtime.cwd / "pid"
    words = ("exec", "--detach", "--tty", "--pid-file", str(pid_file))
    called, master = _with_console(runtime, *words, *options, after=(ID, PROBE))
    output = ""
    if master >= 0:
        output = read_all(master)
        # Process 1 does not come to its end before what has joined it is taken in: that is ours to do.
        os.waitpid(int(pid_file.read_text()), 0)
    runtime.end()
    return seen(called.returncode, output, called.stderr)


def run_joining(runtime: Runtime, bundle: Path, *options: str) -> Seen:
    """Run where `$OTHER` in the config stands for /proc/PID of a process with namespaces of its own."""
    script = "mount -t tmpfs none /mnt && hostname other && echo ready && exec sleep 60"
    command = ["unshare", "--user", "--map-root-user", "--net", "--uts", "--ipc", "--mount", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        config = bundle / "config.json"
        config.write_text(config.read_text().replace("$OTHER", f"/proc/{other.pid}"))
        try:
            return run(runtime, bundle, *options, joined=other.pid)
        finally:
            other.kill()


def run_at_terminal(runtime: Runtime, bundle: Path, *options: str) -> Seen:
    """Run at a terminal of 50 rows and 120 columns, as a person would."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    # The shell leads the session until all is read: its end would discard what is not.
    script = '"$@"; echo "exit=$?"; read -r _'
    command = runtime.command("run", "--bundle", bundle, *options, ID)
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "sh", "-c", script, "sh", *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=runtime.cwd,
    )
    os.close(slave)
    output = ""
    while not (end := re.search(r"^exit=(\d+)", output, re.MULTILINE)):
        output += os.read(master, 65536).decode(errors="replace")
    os.write(master, b"\n")
    read_all(master)
    process.wait(runtime.timeout)
    # What is left in the pty at the end crun 1.8 writes as red messages of its own.
    return seen(int(end[1]), re.sub(r"\x1b\[1;31m\S+: |\x1b\[0m\r?\n", "", output[: end.start()]), "")


def create_and_start(runtime: Runtime, bundle: Path, *options: str) -> Seen:
    """Create, start and delete, with a pipe for its output."""
    reader, writer = os.pipe()
    created = runtime("create", "--bundle", bundle, *options, ID, stdout=writer)
    os.close(writer)
    return _start(runtime, created, reader)


def create_at_console(runtime: Runtime, bundle: Path, *options: str) -> Seen:
    """Create with a console socket, start and delete."""
    created, master = _with_console(runtime, "create", "--bundle", str(bundle), *options, after=(ID,))
    if created.returncode:
        return seen(created.returncode, "", created.stderr)
    return _start(runtime, created, master)


def _with_console(
    runtime: Runtime, *words: str, after: tuple[str, ...]
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Call with a console socket; return the terminal's master too, -1 without success."""
    path = runtime.cwd / "console"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(runtime.timeout)
        result = runtime(*words, "--console-socket", path, *after)
        path.unlink()
        if result.returncode:
            return result, -1
        connection, _ = server.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
    return result, master


def _start(runtime: Runtime, created: subprocess.CompletedProcess[str], output: int) -> Seen:
    before = runtime.state().get("status", "none")
    started = runtime("start", ID)
    text = read_all(output)
    runtime.wait_stopped()
    deleted = runtime("delete", ID)
    facts = f"create {created.returncode} {before}\nstart {started.returncode}\ndelete {deleted.returncode}\n"
    return seen(created.returncode, facts + text, created.stderr + started.stderr + deleted.stderr)


def read_all(fd: int) -> str:
    """Read a pipe or a pty's master until nobody can write any more."""
    chunks = []
    with contextlib.suppress(OSError):  # EIO: the pty's other side is closed
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    os.close(fd)
    return b"".join(chunks).decode(errors="replace")
