"""podman, rootless, with everything of its own: storage, configuration, runtime directory, and an image of busybox.

What podman keeps lies below one directory of the session's; the runtime under test is named in each call, so that all
runtimes share the image.  No registry is asked, and no network is given to a container that does not ask for one.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import BINARY, _kill, _remove_tree, descendants
from needs import SLOWNESS, own_cgroup

IMAGE = "busybox"
SEARCH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
RUNTIMES = {"crun": "/usr/bin/crun", "runc": "/usr/sbin/runc", "sandbox-oci": str(BINARY.with_name("sandbox-oci"))}

# A runtime is known by its base name.  With JSON podman reads the runtime's log instead of its stderr; without cgroups it
# may say `--cgroup-manager disabled`, which is crun's own option.  The lock is a file's, as the one in shared memory is
# the user's: two sessions would take each other's.
CONFIGURATION = """
[containers]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime_supports_json = ["crun", "runc", "sandbox-oci"]
runtime_supports_nocgroups = ["crun"]
[engine.runtimes]
"""
STORAGE = '[storage]\ndriver = "{driver}"\nrunroot = "{place}/run"\ngraphroot = "{place}/root"\n'

# Said first where the output of `run` is looked at: conmon may read what comes before it has accepted podman's connection,
# and then only logs it; on a busy machine once in some hundred runs, with any runtime.
ATTACHED = "usleep 30000"

Result = subprocess.CompletedProcess[str]


@dataclass
class Podman:
    """podman with one runtime: call it with arguments, or `popen` it to live with it."""

    place: Path
    environment: dict[str, str]
    runtime: str = "crun"
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *args: str | os.PathLike[str]) -> list[str]:
        places = [f"--root={self.place}/root", f"--runroot={self.place}/run", f"--tmpdir={self.place}/tmp"]
        return ["podman", *places, f"--runtime={RUNTIMES[self.runtime]}", *map(str, args)]

    def popen(
        self, *args: str | os.PathLike[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start it, by default with pipes for stdout and stderr, in text."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {**self.environment, **(env or {})}
        settings = {"text": True, "cwd": self.place, **pipes, **options}
        process = subprocess.Popen(self.command(*args), env=environment, **settings)
        self._started.append(process)
        return process

    def __call__(
        self,
        *args: str | os.PathLike[str],
        input: str | None = None,  # noqa: A002 (as in subprocess.run)
        check: bool = True,
        timeout: float = 60,
        **options: Any,
    ) -> Result:
        """Run to the end; a failure fails the test unless `check` is false."""
        process = self.popen(*args, **({"stdin": subprocess.PIPE} if input is not None else {}), **options)
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _kill(descendants(process.pid) | {process.pid})
            stdout, stderr = process.communicate()
            pytest.fail(f"{error}\nstdout: {stdout}\nstderr: {stderr}")
        if check and process.returncode:
            pytest.fail(f"podman {' '.join(map(str, args))}: exit status {process.returncode}\n{stdout}{stderr}")
        return Result(process.args, process.returncode, stdout, stderr)

    def run(self, *options: str | os.PathLike[str], script: str, **kept: Any) -> Result:
        """Run a script of busybox's shell in a container that goes with it."""
        return self("run", "--rm", *options, IMAGE, "sh", "-c", f"{ATTACHED}; {script}", **kept)

    def start(self, *options: str | os.PathLike[str], name: str = "c", script: str, **kept: Any) -> None:
        """Leave a container running; the test may use its name."""
        self("run", "--detach", f"--name={name}", *options, IMAGE, "sh", "-c", script, **kept)

    def inspect(self, name: str = "c") -> dict[str, Any]:
        (found,) = json.loads(self("container", "inspect", name).stdout)
        return dict(found)

    def status(self, name: str = "c") -> str:
        return str(self.inspect(name)["State"]["Status"])

    def logs(self, name: str = "c") -> str:
        return self("logs", name).stdout

    def wait_for_log(self, text: str, name: str = "c") -> None:
        wait_until(lambda: text in self.logs(name), f"{text!r} in the log of {name}")

    def kept_by_runtime(self) -> list[str]:
        """Return what the runtimes still hold in their state directories."""
        runtime = Path(self.environment["XDG_RUNTIME_DIR"])
        places = ("crun", "runc", "sandbox/containers")
        kept = [
            f"{place}/{name}" for place in places if (runtime / place).is_dir() for name in os.listdir(runtime / place)
        ]
        return [name for name in kept if name != "crun/.cache"]  # what a newer crun has compiled, no container

    def close(self) -> None:
        """Remove every container, and fail where podman or the runtime keeps something of one."""
        for process in self._started:
            if process.poll() is None:
                _kill({process.pid})
            process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self._started.clear()
        self("rm", "--force", "--all", "--depend", "--time=0", "--volumes")
        left = self("ps", "--all", "--quiet").stdout.split() + self.kept_by_runtime()
        self._started.clear()
        if left:
            pytest.fail(f"left behind: {', '.join(left)}")


def wait_until(holds: Callable[[], object], what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds * SLOWNESS
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s for {what}")
        time.sleep(0.05)


def cgroup_parent() -> str:
    """Return the delegated cgroup, as podman and the runtime name it: from the top of cgroup2."""
    own = own_cgroup()
    assert own is not None
    return f"/{own.parent.relative_to('/sys/fs/cgroup')}"


def write_image(path: Path) -> None:
    """Write the root file system of an image: busybox, its applets, and the files that a login needs."""
    busybox = shutil.which("busybox", path=SEARCH)
    assert busybox
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "var/tmp", "data"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nplain:x:5:6:plain:/:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\nplain:x:6:\nother:x:7:plain\n")
        (root / "data/file").write_text("from the image\n")
        shutil.copy(busybox, root / "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        with tarfile.open(path, "w") as archive:
            archive.add(root, ".", filter=_as_root)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def prepare(place: Path, runtime: Path, driver: str = "overlay") -> Podman:
    """Write the configuration into an empty directory, and the image into a storage there.

    `runtime` becomes XDG_RUNTIME_DIR; its name is short, as a socket's path has room for 107 bytes.
    """
    runtimes = "".join(f'"{name}" = ["{path}"]\n' for name, path in RUNTIMES.items())
    (place / "containers.conf").write_text(CONFIGURATION + runtimes)
    (place / "storage.conf").write_text(STORAGE.format(driver=driver, place=place))
    environment = {
        "HOME": str(place),
        "USER": pwd.getpwuid(os.geteuid()).pw_name,
        "PATH": SEARCH,
        "XDG_RUNTIME_DIR": str(runtime),
        "TMPDIR": str(place),
        "CONTAINERS_CONF": str(place / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
    }
    podman = Podman(place, environment)
    write_image(place / "image.tar")
    podman("import", place / "image.tar", IMAGE)
    return podman


@contextmanager
def engine() -> Iterator[Podman]:
    """Give a podman with the image in its storage, and remove all of it afterwards."""
    parent = os.environ.get("XDG_RUNTIME_DIR", "")
    # Not in the home: for a user namespace of the container's own podman opens all directories above to others.
    place = Path(tempfile.mkdtemp(prefix="sbx-", dir="/var/tmp"))
    runtime = Path(tempfile.mkdtemp(prefix="sbx-", dir=parent if parent and os.access(parent, os.W_OK) else "/tmp"))
    podman = None
    try:
        podman = prepare(place, runtime)
        yield podman
    finally:
        if podman:
            # Ends the process that holds podman's user namespace, too.
            podman("system", "migrate", check=False)
        _remove_tree(place)
        _remove_tree(runtime)
