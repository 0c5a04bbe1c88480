"""Containers as they lie on disk, made by hand around real processes: what the runtime makes of a state, whoever wrote it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from needs import own_cgroup

from sandbox import Container

SLEEPER = ("unshare", "--user", "--map-root-user", "--pid", "--mount", "--fork", "--kill-child", "--")


def started(pid: int) -> int:
    """Return when the process was started: field 22 of its stat."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def catches(pid: int, number: int) -> bool:
    """Has the process a handler for the signal by now?"""
    mask = int(Path(f"/proc/{pid}/status").read_text().partition("SigCgt:\t")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)


def commands(container: Container) -> list[str]:
    """Return what the processes in it are by now, sorted."""
    found = []
    for pid in container.processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return sorted(found)


class Maker:
    """Makes directories below `root`/containers, processes and cgroups, and removes what is left of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._processes: list[subprocess.Popen[bytes]] = []
        self._cgroups: list[Path] = []
        root.mkdir(mode=0o700, exist_ok=True)
        (root / "containers").mkdir(mode=0o700, exist_ok=True)

    def record(
        self,
        name: str,
        *,
        pid: int = 0,
        start: int | None = None,
        cgroup: Path | None = None,
        inode: int | None = None,
        held: bool = False,
        gate: bool = False,
        created: str = "2026-11-25T10:00:00.123456789Z",
        **members: Any,
    ) -> Path:
        """Write a state directory, and return it; `inode` is said to be the cgroup's, by default what it is, 0: nothing."""
        path = self.root / "containers" / name
        lock = self._lock(path)
        if start is None:
            start = started(pid) if pid else 0
        rest = {
            "ociVersion": "1.2.1",
            "bundle": str(self.root / "bundle"),
            "rootfs": str(self.root / "bundle/rootfs"),
            "annotations": {},
            **members,
        }
        if inode is None:
            inode = cgroup.stat().st_ino if cgroup else 0
        node = f'"cgroupInode":{inode},' if inode else ""
        line = f'{{"id":"{name}","pid":{pid},"started":{start},"created":"{created}",{node}"cgroup":"{cgroup or ""}",'
        line += '"held":true,\n' if held else "\n"
        if gate:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
                listener.bind(str(path / "start-gate"))
        (path / "state.json.new").write_text(line + json.dumps(rest)[1:] + "\n")
        (path / "state.json.new").rename(path / "state.json")
        os.close(lock)
        return path

    def _lock(self, path: Path) -> int:
        """Make the directory and lock it; as in nsinit, somebody may take it for a left-over in between."""
        while True:
            path.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                    return lock
                os.close(lock)

    def process(self, command: Sequence[str] = ("sleep", "1000"), *, namespaces: bool = True) -> int:
        """Start a process, in namespaces of its own as its process 1, and return its number."""
        popen = subprocess.Popen(
            [*(SLEEPER if namespaces else ()), *command], stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._processes.append(popen)
        if not namespaces:
            return popen.pid
        end = time.monotonic() + 10
        while time.monotonic() < end:
            found = children(popen.pid)
            if found and Path(f"/proc/{found[0]}/comm").read_text().strip() != "unshare":
                return found[0]
            time.sleep(0.005)
        raise AssertionError("the process did not start")

    def cgroup(self, *pids: int) -> Path:
        """Make a cgroup beside our own, with the processes in it; needs("cgroup2")."""
        own = own_cgroup()
        assert own is not None
        path = own.parent / f"made-{secrets.token_hex(4)}"
        path.mkdir()
        self._cgroups.append(path)
        for pid in pids:
            (path / "cgroup.procs").write_text(str(pid))
        return path

    def close(self) -> None:
        for path in self._cgroups:
            if path.exists():
                (path / "cgroup.kill").write_text("1")
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for path in self._cgroups:
            end = time.monotonic() + 5
            while path.exists() and time.monotonic() < end:
                for directory, _, _ in os.walk(path, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(directory)
                time.sleep(0.01)


@contextlib.contextmanager
def making(root: Path) -> Iterator[Maker]:
    """Have a Maker, and nothing left of what it made."""
    maker = Maker(root)
    try:
        yield maker
    finally:
        maker.close()
