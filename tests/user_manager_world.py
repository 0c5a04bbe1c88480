"""A user manager for the tests: the machine's own where there is one that answers, else one that is started here.

That one is `systemd --user` with a bus, in a cgroup of its own beside ours.  It wants a directory /run/systemd/system, which
tests/as_user makes in the mount namespace of the tests, and sees no units but those that it is given here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from needs import SLOWNESS, own_cgroup

SYSTEMD = "/usr/lib/systemd/systemd"
# Of systemd's own units the manager sees these alone: nothing else is started with it, and these end it.
UNITS = ("app.slice", "background.slice", "session.slice", "basic.target", "paths.target", "sockets.target", "timers.target",
         "shutdown.target", "exit.target", "systemd-exit.service", "default.target", "dbus.socket", "dbus.service")  # fmt: skip
SECONDS = 15.0


@dataclass
class UserManager:
    """A manager that answers."""

    environment: dict[str, str]  # what finds it
    own: bool  # is it the machine's own?
    cgroup: Path
    process: subprocess.Popen[bytes] | None = None  # of one that was started here

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Call `systemctl --user`; return what it says."""
        result = subprocess.run(
            ["systemctl", "--user", "--no-pager", "--plain", "--no-legend", *arguments],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert not check or result.returncode == 0, result.stderr
        return result.stdout

    def units(self, pattern: str = "sandbox-*") -> list[str]:
        """Return the units, loaded in whatever state, that the pattern fits."""
        return [line.split()[0] for line in self.systemctl("list-units", "--all", pattern).splitlines()]

    def failed(self) -> list[str]:
        return [line.split()[0] for line in self.systemctl("--failed", "list-units", "sandbox-*").splitlines()]

    def directory(self, unit: str) -> Path:
        """Return the cgroup of a unit."""
        return Path("/sys/fs/cgroup") / self.systemctl("show", "-P", "ControlGroup", unit).strip().lstrip("/")

    def wait_for_none(self, pattern: str = "sandbox-*", seconds: float = 10) -> list[str]:
        """Wait until no unit fits; return those that are left."""
        end = time.monotonic() + seconds * SLOWNESS
        while (left := self.units(pattern)) and time.monotonic() < end:
            time.sleep(0.05)
        return left


def why_none() -> str:
    """Return why there can be no user manager for tests, or nothing."""
    for program in (SYSTEMD, "dbus-daemon", "systemctl"):
        if not shutil.which(program):
            return f"{program}: not found"
    if not os.path.exists("/usr/lib/systemd/user/dbus.socket"):
        return "dbus-user-session is not installed"
    if not os.path.isdir("/run/systemd/system"):
        return "/run/systemd/system is not there: run the tests by ./dev test as root"
    own = own_cgroup()
    if own is None or not os.access(own.parent, os.W_OK):
        return "no cgroup beside ours can be made"
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sbx-", dir=_runtime()) as directory,
            running(Path(directory)) as manager,
        ):
            manager.systemctl("show-environment")
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        return f"systemd --user: {error}"
    return ""


def _runtime() -> str:
    directory = os.environ.get("XDG_RUNTIME_DIR", "")
    return directory if directory and os.access(directory, os.W_OK) else "/tmp"


def machines_own() -> dict[str, str] | None:
    """Return the variables that find the manager that this machine has for us, None where there is none."""
    if "SANDBOX_GUEST" not in os.environ and not os.path.exists("/run/systemd/private"):
        return None
    environment = {"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"}
    answer = subprocess.run(
        ["systemctl", "--user", "show-environment"], env={**os.environ, **environment}, capture_output=True, check=False
    )
    return environment if answer.returncode == 0 else None


@contextlib.contextmanager
def running(runtime: Path, *, own: bool = False) -> Iterator[UserManager]:
    """Have a user manager: the machine's, or one of our `own`, whose runtime directory, with its bus, is `runtime`."""
    found = None if own else machines_own()
    if found is not None:
        (runtime / "bus").unlink(missing_ok=True)  # a test's own would hide it
        bus = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={found['XDG_RUNTIME_DIR']}/bus"}
        manager = UserManager({**found, **bus}, own=True, cgroup=Path())
        manager.cgroup = _cgroup_of(manager)
        yield manager
        return
    beside = own_cgroup()
    assert beside is not None
    above = beside.parent / f"manager-{os.getpid()}-{runtime.name}"
    cgroup = above / f"user@{os.geteuid()}.service"
    cgroup.mkdir(parents=True)
    manager = UserManager({"XDG_RUNTIME_DIR": str(runtime)}, own=False, cgroup=cgroup)
    try:
        for controller in (beside.parent / "cgroup.controllers").read_text().split():
            (above / "cgroup.subtree_control").write_text(f"+{controller}")
        _start(manager, runtime)
        yield manager
    finally:
        _end(manager)
        _remove(above)


def _start(manager: UserManager, runtime: Path) -> None:
    (runtime / "bus").unlink(missing_ok=True)
    units = runtime / "units"
    units.mkdir()
    for name in UNITS:
        (units / name).symlink_to(f"/usr/lib/systemd/user/{name}")
    (units / "sockets.target.wants").mkdir()
    (units / "sockets.target.wants/dbus.socket").symlink_to("../dbus.socket")
    environment = {
        "HOME": str(runtime),
        "PATH": os.environ["PATH"],
        "XDG_RUNTIME_DIR": str(runtime),
        "SYSTEMD_UNIT_PATH": str(units),
        "SYSTEMD_LOG_TARGET": "console",
        "SYSTEMD_LOG_LEVEL": "warning",
    }
    with open(runtime / "manager.log", "wb") as log:
        # It is in its cgroup from its first instruction on.
        script = 'echo $$ >"$1/cgroup.procs" && exec "$2" --user'
        command = ["sh", "-c", script, "sh", str(manager.cgroup), SYSTEMD]
        manager.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait(manager, runtime, (runtime / "bus").exists)
        _wait(manager, runtime, lambda: _has_name(environment))


def _has_name(environment: dict[str, str]) -> bool:
    """Is the manager on the bus, too?"""
    bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner")
    command = ["busctl", "--user", "call", *bus, "s", "org.freedesktop.systemd1"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout == "b true\n"


def _wait(manager: UserManager, runtime: Path, is_ready: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_ready():
        if time.monotonic() > end or (manager.process and manager.process.poll() is not None):
            raise OSError((runtime / "manager.log").read_text() or "it does not answer")
        time.sleep(0.02)


def _cgroup_of(manager: UserManager) -> Path:
    return Path("/sys/fs/cgroup") / manager.systemctl("show", "-P", "ControlGroup").strip().lstrip("/")


def _end(manager: UserManager) -> None:
    """Let it end what it runs, the bus too, and itself, if it can still be told."""
    process = manager.process
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _remove(above: Path) -> None:
    """Remove the manager's cgroups, and end what is left in them."""
    with contextlib.suppress(OSError):
        (above / "cgroup.kill").write_text("1")
    for _ in range(100):
        for directory, _, _ in os.walk(above, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        if not above.exists():
            return
        time.sleep(0.05)
