"""The end of a cgroup: what is in it goes, and nothing of anybody else's, whatever has its name by then."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle_world import make_bundle
from conftest import BINARY, Sandbox
from made_container import Maker, making
from needs import CHECKOUT, needs

from sandbox import Containers
from sandbox.errors import HostError, NoSuchContainer
from sandbox.kernel import cgroup

pytestmark = needs("userns", "cgroup2")

ENDED = 4194304  # beyond the numbers of processes
# In each of its cgroups, one in another, a process that is never the same: it starts the next, and ends.
BREEDER = """
import os, sys
top = sys.argv[1]
open(f"{top}/cgroup.procs", "w").write("0")
for depth in range(8):
    top += "/deep"
    os.mkdir(top)
    if os.fork() == 0:
        open(f"{top}/cgroup.procs", "w").write("0")
        os.close(1)
        os.execv(sys.argv[2], [sys.argv[2], "breed"])
print("up", flush=True)
os.read(0, 1)
"""


@pytest.fixture
def maker(runtime_dir: Path) -> Iterator[Maker]:
    with making(runtime_dir / "sandbox") as maker:
        yield maker


@pytest.fixture
def engine(sandbox: Sandbox) -> Sandbox:
    return Sandbox(sandbox.cwd, sandbox.environment, BINARY.with_name("sandbox-oci"))


def lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(") ")[2][0] not in "ZX"


def wait_until_dead(*pids: int) -> None:
    end = time.monotonic() + 10
    while any(map(lives, pids)):
        assert time.monotonic() < end
        time.sleep(0.005)


# Whoever comes by, and how many times at most: a start looks at sixteen places.
COMERS: dict[str, tuple[str, ...]] = {
    "a start": ("run", "true"),
    "ps": ("ps",),
    "the name": ("run", "--name", "left", "true"),
    "list": ("list",),
    "create": ("create", "--bundle", "BUNDLE", "left"),
    "state": ("state", "left"),
}


def come_by(comer: str, sandbox: Sandbox, engine: Sandbox) -> None:
    """Call what is to find the left-over; of what it says of its own business nothing is believed."""
    words = COMERS[comer]
    if comer == "create":
        bundle = sandbox.cwd / "bundle"
        if not bundle.exists():
            make_bundle(bundle)
        assert (
            engine.popen(
                *words[:2], str(bundle), *words[3:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ).wait(60)
            == 0
        )
        engine("delete", "--force", "left", check=True)
        return
    (engine if comer in ("list", "state") else sandbox)(*words)


@pytest.mark.parametrize("comer", COMERS)
def test_what_a_killed_monitor_has_left_goes_with_all_that_is_in_it(
    sandbox: Sandbox, engine: Sandbox, maker: Maker, comer: str
) -> None:
    pids = [maker.process(namespaces=False) for _ in range(2)]
    top = maker.cgroup(pids[0])
    (top / "below").mkdir()
    (top / "below/cgroup.procs").write_text(str(pids[1]))
    place = maker.record("left", pid=ENDED, start=1, cgroup=top, held=True)

    come_by(comer, sandbox, engine)

    wait_until_dead(*pids)
    assert not top.exists()
    assert not place.exists()


@pytest.mark.parametrize("comer", COMERS)
def test_who_has_its_name_by_now_is_left_alone(sandbox: Sandbox, engine: Sandbox, maker: Maker, comer: str) -> None:
    top = maker.cgroup()
    inode = top.stat().st_ino
    top.rmdir()
    top.mkdir()
    pid = maker.process(namespaces=False)
    (top / "cgroup.procs").write_text(str(pid))
    (top / "below").mkdir()
    place = maker.record("left", pid=ENDED, start=1, cgroup=top, inode=inode, held=True)

    come_by(comer, sandbox, engine)

    assert lives(pid)
    assert (top / "below").exists()
    assert not place.exists()


@pytest.mark.parametrize("comer", COMERS)
def test_one_that_was_about_to_be_made_goes_if_it_is_empty(
    sandbox: Sandbox, engine: Sandbox, maker: Maker, comer: str
) -> None:
    """The name was written down, and then its monitor was killed: before the cgroup was made, or right behind that."""
    empty, others = maker.cgroup(), maker.cgroup(pid := maker.process(namespaces=False))
    maker.record("left", pid=0, cgroup=empty, inode=0, held=True)
    come_by(comer, sandbox, engine)
    assert not empty.exists()

    place = maker.record("left", pid=0, cgroup=others, inode=0, held=True)
    come_by(comer, sandbox, engine)
    assert lives(pid)
    assert not place.exists()


@pytest.mark.parametrize(
    "verb", [("delete", "c"), ("delete", "--force", "c"), ("kill", "--all", "c", "KILL"), ("pause", "c")]
)
def test_of_a_container_that_lost_its_cgroup_nobody_else_is_hit(
    engine: Sandbox, maker: Maker, verb: tuple[str, ...]
) -> None:
    top = maker.cgroup()
    inode = top.stat().st_ino
    top.rmdir()
    top.mkdir()
    bystander = maker.process(namespaces=False)
    (top / "cgroup.procs").write_text(str(bystander))
    own = ENDED if verb == ("delete", "c") else maker.process()
    maker.record("c", pid=own, start=1 if own == ENDED else None, cgroup=top, inode=inode)

    engine(*verb)

    assert lives(bystander)
    assert "frozen 0" in (top / "cgroup.events").read_text()
    if verb[0] != "pause":
        wait_until_dead(own)

    engine("delete", "--force", "c")
    assert lives(bystander)


# --- those who do not want to go ---


@contextlib.contextmanager
def breeding(top: Path, program: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        ["python3", "-I", "-S", "-c", BREEDER, top, program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"up\n"
    try:
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


@pytest.fixture(scope="session")
def old_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program that ends a cgroup without cgroup.kill."""
    path = tmp_path_factory.mktemp("program") / "cgroup_end"
    # What is generated of the instruction set: a build of the program need not have been made here.
    made = [path.with_name(name) for name in ("plan_ops.h", "plan_ops.c", "options.h", "engine_options.h")]
    subprocess.run([sys.executable, "-B", CHECKOUT / "sandbox/plan/header.py", *made], check=True)
    sources = [
        CHECKOUT / "tests/programs/cgroup_end.c",
        *(CHECKOUT / f"nsinit/{name}.c" for name in ("cgroup_end", "listing", "sys")),
    ]
    flags = ["-std=gnu11", "-D_GNU_SOURCE=", "-I", CHECKOUT / "nsinit", "-I", path.parent, "-static"]
    subprocess.run(["gcc", *flags, "-o", path, *sources], check=True)
    return path


@needs("gcc")
def test_without_cgroup_kill_who_forks_is_stopped_and_killed(maker: Maker, old_kernel: Path) -> None:
    top = maker.cgroup()
    with breeding(top, old_kernel):
        result = subprocess.run([old_kernel, top, "3000"], capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 0, result.stderr
    assert not top.exists()


@needs("gcc")
def test_without_cgroup_kill_python_does_the_same(
    maker: Maker, old_kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cgroup.write

    def write(directory: str, name: str, value: str) -> None:
        if name == "cgroup.kill":
            raise FileNotFoundError(name)
        real(directory, name, value)

    monkeypatch.setattr(cgroup, "write", write)
    top = maker.cgroup()
    with breeding(top, old_kernel):
        cgroup.remove(str(top))

    assert not top.exists()


@needs("gcc")
def test_what_could_not_be_killed_is_no_longer_frozen(maker: Maker, old_kernel: Path) -> None:
    """Somebody outside puts one after the other into it."""
    top = maker.cgroup()
    with feeding(top):
        result = subprocess.run([old_kernel, top, "200"], capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode in (0, 1)
    assert not top.exists() or (top / "cgroup.freeze").read_text() == "0\n"


@contextlib.contextmanager
def feeding(top: Path) -> Iterator[None]:
    """Make cgroups in it from outside, as fast as goes, also in those just made."""
    stop = threading.Event()

    def feed() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with contextlib.suppress(OSError):
                os.makedirs(top / f"{number % 50}/{number}/{number}")

    threads = [threading.Thread(target=feed) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_who_makes_cgroups_meanwhile_is_not_waited_for_for_ever(engine: Sandbox, maker: Maker) -> None:
    top = maker.cgroup()
    maker.record("c", pid=ENDED, start=1, cgroup=top)
    with feeding(top):
        begin = time.monotonic()
        engine("delete", "--force", "c")
        assert time.monotonic() - begin < 30

    engine("delete", "--force", "c")
    for path in (top, *top.glob("*")):  # what the last call of the other has made behind it
        with contextlib.suppress(FileNotFoundError, OSError):
            cgroup.remove(str(path))
    assert not top.exists()


def test_python_does_not_wait_for_ever_either(maker: Maker) -> None:
    top = maker.cgroup()
    with feeding(top):
        begin = time.monotonic()
        with contextlib.suppress(HostError):
            cgroup.remove(str(top), 1)
        assert time.monotonic() - begin < 20

    cgroup.remove(str(top))
    assert not top.exists()


def test_a_left_over_whose_cgroup_does_not_go_is_kept_for_the_next(
    maker: Maker, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = maker.cgroup()
    place = maker.record("left", pid=ENDED, start=1, cgroup=top, held=True)
    containers = Containers(runtime_dir / "sandbox")

    def refuse(directory: str, seconds: float = 0) -> None:
        raise HostError(f"cannot remove {directory}")

    with monkeypatch.context() as patch:
        patch.setattr(cgroup, "remove", refuse)
        with pytest.raises(NoSuchContainer):
            containers.load("left")
    assert place.exists()

    with pytest.raises(NoSuchContainer):
        containers.load("left")
    assert not place.exists()
    assert not top.exists()
