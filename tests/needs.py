"""What a test may need of the machine, each found out by trying it.

    @needs("userns", "crun")
    def test_...

A fact that does not hold skips the test and says why; with SANDBOX_NO_SKIP=1 it fails it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

needs = pytest.mark.needs

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".cache"
# Facts of which the machine of the other tests has nothing: who needs one is tested in the guest.
OF_THE_GUEST = {"cgroup_cpu", "cgroup_memory", "cgroup_pids"}
# By how much more waiting has to be endured on an emulated machine (tests/guest).
SLOWNESS = 5 if os.environ.get("SANDBOX_GUEST") else 1

PROBES: dict[str, Callable[[], str]] = {}
PROGRAMS = {
    # The answer to an option that does nothing; a program that cannot start is as good as none.
    "busybox": ["busybox", "true"],
    "bwrap": ["bwrap", "--version"],
    "chromium": ["chromium", "--version"],
    "cargo": ["cargo", "--version"],
    "crun": ["env", "XDG_RUNTIME_DIR=/tmp", "crun", "--version"],  # 1.21 looks for its place before it answers
    "fish": ["fish", "--version"],
    "gcc": ["gcc", "--version"],
    "git": ["git", "--version"],
    "go": ["env", "HOME=/tmp", "go", "version"],
    "javac": ["javac", "-version"],
    "make": ["make", "--version"],
    "man": ["man", "--version"],
    "mandoc": ["mandoc", "-Tascii", "/dev/null"],
    "npm": ["env", "HOME=/tmp", "npm", "--version"],
    "pasta": ["pasta", "--config-net", "--quiet", "true"],
    "runc": ["runc", "--version"],
    "slirp4netns": ["slirp4netns", "--version"],
    "strace": ["strace", "-f", "-o", "/dev/null", "true"],
    "systemd-notify": ["systemd-notify", "--version"],
    "tmux": ["tmux", "-V"],
    "xvfb": ["sh", "-c", "command -v Xvfb && command -v xdpyinfo"],
    "zsh": ["zsh", "--version"],
}


def why_not(fact: str) -> str:
    """Return why `fact` does not hold on this machine, or nothing if it does."""
    if fact not in PROBES and fact not in PROGRAMS:
        known = ", ".join(sorted({*PROBES, *PROGRAMS}))
        raise pytest.UsageError(f"needs({fact!r}): no such probe; there are {known}")
    return _try(fact)


@functools.cache
def _try(fact: str) -> str:
    if fact in PROBES:
        return PROBES[fact]()
    return attempt(PROGRAMS[fact], extra_path="/usr/sbin:/sbin")


def attempt(command: list[str], *, extra_path: str = "") -> str:
    """Run a command; return the last line of its complaint, or nothing if it succeeds."""
    search = f"{os.environ.get('PATH', os.defpath)}:{extra_path}"
    if not shutil.which(command[0], path=search):
        return f"{command[0]}: not found"
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False, env={"PATH": search}
    )
    if result.returncode == 0:
        return ""
    return (result.stderr.strip().splitlines() or [f"{command[0]}: exit status {result.returncode}"])[-1]


def inside(*, code: str) -> str:
    """Try Python code in new user and mount namespaces, with `call(number, *arguments)` at hand."""
    prelude = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(number, *arguments):\n"
        "    result = libc.syscall(ctypes.c_long(number), *arguments)\n"
        "    if result < 0: sys.exit(f'system call {number}: {os.strerror(ctypes.get_errno())}')\n"
        "    return result\n"
    )
    return attempt(["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-I", "-c", prelude + code])


def probe(function: Callable[[], str]) -> Callable[[], str]:
    PROBES[function.__name__] = function
    return function


@probe
def root() -> str:
    return "" if os.geteuid() == 0 else "not root"


@probe
def not_root() -> str:
    return "" if os.geteuid() != 0 else "root"


@probe
def userns() -> str:
    return attempt(["unshare", "--user", "--map-root-user", "true"])


@probe
def mountns() -> str:
    return attempt(["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"])


@probe
def netns() -> str:
    return attempt(["unshare", "--user", "--map-root-user", "--net", "true"])


@probe
def new_proc() -> str:
    """Hold only where no part of the host's /proc is covered, which is not so in most containers."""
    mount = ["mount", "-t", "proc", "proc", "/proc"]
    return attempt(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", *mount])


@probe
def newuidmap() -> str:
    if not shutil.which("newuidmap"):
        return "newuidmap: not found"
    return attempt(["unshare", "--user", "--map-root-user", "--map-auto", "true"])


@probe
def openat2() -> str:
    return inside(code="how = (ctypes.c_uint64 * 3)(0o10000000, 0, 0x10); call(437, -100, b'/', how, 24)")


@probe
def open_tree() -> str:
    return inside(code="call(428, -100, b'/usr', 0x8001 | 0o2000000)")


@probe
def mount_setattr() -> str:
    return inside(
        code="tree = call(428, -100, b'/usr', 0x8001 | 0o2000000)\n"
        "attributes = (ctypes.c_uint64 * 4)(1, 0, 0, 0)\n"
        "call(442, tree, b'', 0x9000, attributes, 32)"
    )


@probe
def seccomp() -> str:
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        return str(error)
    # One instruction: allow.
    return inside(
        code="instruction = ctypes.create_string_buffer(bytes([6, 0, 0, 0, 0, 0, 0xff, 0x7f]))\n"
        "class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]\n"
        "program = Program(1, ctypes.addressof(instruction))\n"
        "libc.prctl(38, 1, 0, 0, 0)\n"
        "call(317 if os.uname().machine == 'x86_64' else 277, 1, 0, ctypes.byref(program))"
    )


def own_cgroup() -> Path | None:
    """Return the cgroup2 directory that this process is in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            directory = Path("/sys/fs/cgroup") / line[3:].lstrip("/")
            return directory if (directory / "cgroup.procs").exists() else None
    return None


@probe
def cgroup2() -> str:
    """Try what a delegation permits: a cgroup beside ours, and a process in it."""
    own = own_cgroup()
    if own is None:
        return "/sys/fs/cgroup is not cgroup2, or not the part we are in"
    sibling = own.parent / f"probe-{os.getpid()}"
    try:
        sibling.mkdir()
    except OSError as error:
        return f"not delegated: {error}"
    try:
        result = attempt(["sh", "-c", f"echo $$ >{sibling}/cgroup.procs"])
    finally:
        sibling.rmdir()
    return result


def _controller(name: str) -> Callable[[], str]:
    def controller() -> str:
        own = own_cgroup()
        if own is None:
            return "no cgroup2"
        delegated = (own.parent / "cgroup.controllers").read_text().split()
        return "" if name in delegated else f"the cgroup controller {name} is not delegated here"

    return controller


@probe
def cgroup_controller() -> str:
    """One of those by which test_limits.py can limit something."""
    return (
        "" if any(not _controller(name)() for name in ("pids", "hugetlb")) else "neither pids nor hugetlb is delegated"
    )


for _name in ("cpu", "hugetlb", "io", "memory", "pids"):
    PROBES[f"cgroup_{_name}"] = _controller(_name)


@probe
def tun() -> str:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return str(error)
    return ""


@probe
def host_mqueue() -> str:
    return "" if os.path.ismount("/dev/mqueue") else "/dev/mqueue is not mounted"


@probe
def podman() -> str:
    """Let it make its user namespace and mount an image's layers there, by crun as its runtime."""
    if os.geteuid() == 0:
        return "root's podman is another one"
    for program in ("podman", "conmon", "catatonit", "crun"):
        if not shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/libexec/podman"):
            return f"{program}: not found"
    with tempfile.TemporaryDirectory() as place:
        Path(place, "containers.conf").write_text('[engine]\ncgroup_manager = "cgroupfs"\nlock_type = "file"\n')
        environment = [f"HOME={place}", f"XDG_RUNTIME_DIR={place}", f"CONTAINERS_CONF={place}/containers.conf"]
        places = [f"--root={place}/root", f"--runroot={place}/run", f"--tmpdir={place}/tmp"]
        # The second ends the process that keeps the user namespace.
        script = 'podman "$@" --storage-driver=overlay info; status=$?; podman "$@" system migrate && exit $status'
        return attempt(["env", *environment, "sh", "-c", script, "sh", *places])


@probe
def sandbox_oci() -> str:
    program = Path(os.environ.get("SANDBOX_BINARY") or CHECKOUT / ".venv/bin/sandbox").with_name("sandbox-oci")
    return attempt([str(program), "--version"])


@probe
def user_manager() -> str:
    """The machine's own, or one that is started for the tests."""
    from user_manager_world import machines_own, why_none  # it imports us

    return "" if machines_own() else why_none()


@probe
def markupsafe_source() -> str:
    return (
        ""
        if (CACHE / "markupsafe/setup.py").exists()
        else "no .cache/markupsafe: run tests/fetch_sdist markupsafe 2.1.5"
    )


@probe
def hello_source() -> str:
    return "" if (CACHE / "hello/configure").exists() else "no .cache/hello: run tests/fetch_source hello"
