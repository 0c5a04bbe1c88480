"""Plans made of operations, executed by nsinit in real namespaces."""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from conftest import BINARY

from sandbox.plan.encode import Plan, encode
from sandbox.plan.ops import (
    BindDevice,
    BindMount,
    BindRoot,
    Environment,
    Isolate,
    MakeSymlink,
    MapIds,
    NewMount,
    Op,
    PivotRoot,
    Step,
    Terminal,
)

# MOUNT_ATTR_*, mount_setattr(2), and MS_*, mount(2)
RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, ATIME = 1, 2, 4, 8, 0x10, 0x70
UNBINDABLE, PRIVATE, SLAVE, SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20

# CLONE_NEW*, clone(2): user, mount, pid, ipc, uts, cgroup and network
NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x08000000 | 0x04000000 | 0x02000000 | 0x40000000

LIBC = ctypes.CDLL(None, use_errno=True)

PATH = "/usr/local/bin:/usr/bin:/bin"


class PlanWorld:
    """A root file system that the test fills, and a way to run a command in it by a plan.

    The root has the host's /usr, a /proc of its own and a /dev with a /dev/null; the command is id 0 with all capabilities.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.rootfs = top / "rootfs"
        self.staging = top / "staging"
        for path in (self.rootfs, self.staging):
            path.mkdir()
        for name in ("usr", "proc", "dev", "tmp", "etc"):
            (self.rootfs / name).mkdir()
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                (self.rootfs / name).symlink_to(os.readlink(f"/{name}"))
        self.proc: Sequence[Op | Step] = (NewMount(fstype="proc", target="/proc"),)
        self.identity: list[Op] = [own_id()]
        self.environment = (f"PATH={PATH}", "HOME=/", "LC_ALL=C.UTF-8")

    def __call__(
        self,
        before: Sequence[Op | Step] = (),
        after: Sequence[Op | Step] = (),
        *,
        argv: Sequence[str] = ("true",),
        several_ids: bool = False,
        terminal: Terminal | None = None,
        namespaces: int = NAMESPACES,
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
        slowed: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Execute `before` in the new root, `after` behind the pivot, then the command; return its status and output.

        Behind each system call `slowed`, wait for 20 ms.
        """
        steps = [
            Isolate(flags=namespaces),
            *([several_ids_of_ours()] if several_ids else self.identity),
            Environment(keep=("*_OPTIONS",), set=self.environment),
            terminal or Terminal(mode=0),
            BindRoot(source=str(self.rootfs), staging=str(self.staging)),
            *self.proc,
            BindMount(source="/usr", target="/usr", set_recursive=RDONLY, propagation=PRIVATE),
            NewMount(fstype="tmpfs", target="/dev", options=("mode=0755",)),
            BindDevice(source="/dev/null", target="/dev/null", major=1, minor=3),
            MakeSymlink(target="/dev/fd", destination="/proc/self/fd"),
            *before,
            PivotRoot(),
            *after,
        ]
        plan = Plan(b"", (), tuple(step if isinstance(step, Step) else Step(step, "here") for step in steps))
        descriptor = os.memfd_create("plan")
        os.write(descriptor, encode(plan))
        program, words = os.fspath(BINARY), ["sandbox-plan", str(descriptor), "0", *argv]
        if slowed:
            delay = ["-e", f"trace={slowed}", "-e", f"inject={slowed}:delay_exit=20000"]
            script = f'exec -a sandbox-plan {program} "$@"'
            words = ["strace", "-f", "-o", "/dev/null", *delay, "bash", "-c", script, *words]
            program = "strace"
        try:
            return subprocess.run(
                words,
                executable=program,
                pass_fds=[descriptor, *pass_fds],
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            os.close(descriptor)

    def shell(
        self,
        script: str,
        before: Sequence[Op | Step] = (),
        after: Sequence[Op | Step] = (),
        *,
        several_ids: bool = False,
        terminal: Terminal | None = None,
    ) -> str:
        """Return what a script that succeeds says inside."""
        result = self(before, after, argv=["sh", "-ec", script], several_ids=several_ids, terminal=terminal)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def refusal(self, before: Sequence[Op | Step] = (), after: Sequence[Op | Step] = ()) -> str:
        """Return the words in which a plan is refused; nothing may have run."""
        result = self(before, after, argv=["echo", "ran"])
        assert result.returncode == 125, result.stdout + result.stderr
        assert "ran" not in result.stdout
        return result.stderr


def own_id() -> MapIds:
    """Let id 0 inside be ours."""
    return MapIds(uid_map=f"0 {os.geteuid()} 1\n", gid_map=f"0 {os.getegid()} 1\n")


def several_ids_of_ours() -> MapIds:
    """Let id 0 inside be ours, and ids from 1 on our subordinate ones."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    maps = {}
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        rows = [line.split(":") for line in Path(f"/etc/sub{kind}").read_text().splitlines()]
        _, start, count = next(row for row in rows if row[0] == name)
        maps[f"{kind}_map"] = f"0 {own} 1\n1 {start} {count}\n"
    return MapIds(uid_helper="/usr/bin/newuidmap", gid_helper="/usr/bin/newgidmap", **maps)


@contextmanager
def exchanging(left: Path, right: Path) -> Iterator[None]:
    """Exchange two names again and again."""
    done = threading.Event()
    here, exchange = -100, 2

    def work() -> None:
        while not done.is_set():
            LIBC.renameat2(here, os.fsencode(left), here, os.fsencode(right), exchange)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def bits(*numbers: int) -> bytes:
    """Return a mask of unsigned longs with these bits set."""
    return struct.pack("<Q", sum(1 << number for number in numbers))
