"""The runtime directory is full, read-only or gone; two runs want one name; what a plan is made from changes meanwhile."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox
from needs import needs
from test_run import wait_for

pytestmark = needs("userns")

# A tmpfs of the test's own as runtime directory, as the caller, who keeps the right to change it.
WITHIN = ["unshare", "--map-current-user", "--keep-caps", "--mount", "--", "sh", "-ec"]


def in_own_tmpfs(sandbox: Sandbox, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that finds its tmpfs at $XDG_RUNTIME_DIR, and the program as `run`, which tells the status."""
    place = Path(sandbox.environment["HOME"]) / "full"
    place.mkdir(mode=0o700)
    ids = f"uid={os.geteuid()},gid={os.getegid()},mode=700"
    prepare = (
        f"mount -t tmpfs -o {options},{ids} none {place}; export XDG_RUNTIME_DIR={place}; "
        f'run() {{ {BINARY} run "$@" && echo =0 || echo =$?; }}; '
    )
    return subprocess.run(
        [*WITHIN, prepare + script],
        cwd=sandbox.cwd,
        env=sandbox.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs("mountns")
def test_a_full_runtime_directory_is_an_error_that_says_so(sandbox: Sandbox) -> None:
    result = in_own_tmpfs(
        sandbox,
        "size=256k",
        """
        run -- echo first
        dd if=/dev/zero of=$XDG_RUNTIME_DIR/filler bs=4k 2>/dev/null || :
        run -- echo kept
        run --hostname other -- echo fresh
        find $XDG_RUNTIME_DIR/sandbox/containers $XDG_RUNTIME_DIR/sandbox/plans -mindepth 1 ! -name '*.plan' ! -name '*.bpf'
        rm $XDG_RUNTIME_DIR/filler
        run -- echo again
        run --hostname other -- echo again
        find $XDG_RUNTIME_DIR/sandbox/containers -mindepth 1
        """,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == "first =0 =125 =125 again =0 again =0".split()
    assert result.stderr.count("No space left on device") == 2
    assert result.stderr.count("cannot keep ") == 2
    assert "Traceback" not in result.stderr


@needs("mountns")
def test_a_runtime_directory_without_inodes_is_an_error_that_says_so(sandbox: Sandbox) -> None:
    result = in_own_tmpfs(
        sandbox,
        "nr_inodes=40",
        """
        run -- echo first
        for n in $(seq 60); do mkdir $XDG_RUNTIME_DIR/$n 2>/dev/null || break; done
        run -- echo kept
        rmdir $XDG_RUNTIME_DIR/1
        run -- echo kept
        rmdir $XDG_RUNTIME_DIR/[2-9]
        run -- echo again
        find $XDG_RUNTIME_DIR/sandbox/containers -mindepth 1
        """,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == "first =0 =125 =125 again =0".split()
    assert result.stderr.count("No space left on device") == 2


@needs("mountns")
def test_a_read_only_runtime_directory_is_an_error_that_says_so(sandbox: Sandbox) -> None:
    result = in_own_tmpfs(
        sandbox,
        "size=1m",
        """
        run -- echo first
        mount -o remount,ro $XDG_RUNTIME_DIR
        run -- echo kept
        run --hostname other -- echo fresh
        mount -o remount,rw $XDG_RUNTIME_DIR
        run -- echo again
        """,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == "first =0 =125 =125 again =0".split()
    assert result.stderr.count("Read-only file system") == 2


@needs("mountns")
def test_an_empty_runtime_directory_that_is_read_only_from_the_start_is_an_error_too(sandbox: Sandbox) -> None:
    result = in_own_tmpfs(sandbox, "size=1m", "mount -o remount,ro $XDG_RUNTIME_DIR; run -- echo first")

    assert result.stdout.split() == ["=125"]
    assert "cannot make" in result.stderr
    assert "Read-only file system" in result.stderr
    assert "hint: set XDG_RUNTIME_DIR" in result.stderr


@pytest.mark.parametrize("way", ["removed", "exchanged"])
def test_a_runtime_directory_that_goes_while_a_sandbox_runs(
    sandbox: Sandbox, project: Path, runtime_dir: Path, way: str
) -> None:
    process = sandbox.popen("run", "sh", "-c", "echo up > ready; until [ -e go ]; do sleep 0.01; done; exit 7")
    wait_for(project / "ready")
    state = runtime_dir / "sandbox"
    if way == "removed":
        shutil.rmtree(state)
    else:
        state.rename(runtime_dir / "elsewhere")
        (state / "containers").mkdir(parents=True, mode=0o700)
        state.chmod(0o700)
    (project / "go").touch()
    _, stderr = process.communicate(timeout=30)

    assert (process.returncode, stderr) == (7, "")
    assert sandbox("run", "true").returncode == 0
    if way == "exchanged":
        assert os.listdir(runtime_dir / "elsewhere/containers") == []


def test_one_name_at_once_is_one_sandbox(sandbox: Sandbox, project: Path) -> None:
    """Of many that ask for a name in the same moment one has it; each of the others says why not."""
    sandbox("run", "--name", "mine", "true", check=True)
    for _ in range(5):
        (project / "go").unlink(missing_ok=True)
        started = [
            sandbox.popen("run", "--name", "mine", "sh", "-c", "echo ran; until [ -e go ]; do sleep 0.01; done")
            for _ in range(8)
        ]
        # Those that are refused end by themselves.
        end = time.monotonic() + 30
        while sum(process.poll() is None for process in started) > 1 and time.monotonic() < end:
            time.sleep(0.01)
        (project / "go").touch()
        results = [(*process.communicate(timeout=30), process.returncode) for process in started]

        assert sorted(status for *_, status in results) == [0] + [125] * 7
        assert "".join(stdout for stdout, *_ in results) == "ran\n"
        assert all("mine" in stderr for _, stderr, status in results if status)


# --- what a plan is made from ---


@contextmanager
def writing(write: Callable[[str], None], contents: list[str]) -> Iterator[None]:
    """Write one content after the other, again and again."""
    done = threading.Event()

    def work() -> None:
        for content in itertools.cycle(contents):
            if done.is_set():
                return
            write(content)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def profile(word: str) -> str:
    """Return a profile that says a word in two places, far apart."""
    filler = "".join(f"# {word} line {number} of a long comment\n" for number in range(200))
    return f'extends = "build"\n[environment.set]\nFIRST = "{word}"\n{filler}LAST = "{word}"\n'


def test_a_profile_that_is_exchanged_again_and_again_is_read_as_one_or_the_other(
    sandbox: Sandbox, project: Path
) -> None:
    path, aside = project / "p.toml", project / "aside"

    def exchange(content: str) -> None:
        aside.write_text(content)
        aside.rename(path)

    exchange(profile("one"))
    with writing(exchange, [profile("one"), profile("two")]):
        results = [sandbox("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST $LAST") for _ in range(12)]
    assert {result.stdout for result in results} <= {"one one\n", "two two\n", ""}
    assert {result.returncode for result in results} <= {0, 125}
    for result in results:  # it is made read-only inside by its name, which at that moment may mean no file any more
        assert result.returncode == 0 or result.stderr.startswith("sandbox: protects the profile in use: "), (
            result.stderr
        )

    exchange(profile("three"))
    assert sandbox("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST $LAST").stdout == "three three\n"


def test_a_profile_that_is_overwritten_in_place_is_whole_or_an_error(sandbox: Sandbox, project: Path) -> None:
    """A file that is written while it is read may be seen half, as by anybody; it is never kept as anything else than it is."""
    path = project / "p.toml"

    def overwrite(content: str) -> None:
        path.write_text(content)

    overwrite(profile("one"))
    with writing(overwrite, [profile("one"), profile("two")]):
        for _ in range(12):
            result = sandbox("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST $LAST")
            assert "Traceback" not in result.stderr
            assert result.returncode in (0, 125), result.stderr
    overwrite(profile("three"))
    for _ in range(2):
        assert sandbox("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST $LAST").stdout == "three three\n"


def test_equal_size_and_time_do_not_hide_another_content(sandbox: Sandbox, project: Path) -> None:
    """touch(1) sets a file's mtime to whatever one likes; the ctime is the kernel's."""
    path = project / "p.toml"
    path.write_text(profile("one"))
    assert sandbox("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST").stdout == "one\n"
    before = path.stat()
    with path.open("r+") as file:
        file.write(profile("two"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()

    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert sandbox("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST").stdout == "two\n"


def test_a_change_in_the_same_tick_of_the_clock_is_seen(sandbox: Sandbox, project: Path) -> None:
    """The kernel's file times stand still for some milliseconds: what was written within one is not told apart by them."""
    path = project / "p.toml"
    order = random.Random(7)
    for number in range(12):
        words = [f"a{number:02}", f"b{number:02}"]
        path.write_text(profile(words[0]))
        process = sandbox.popen("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST")
        time.sleep(order.uniform(0, 0.15))
        path.write_text(profile(words[1]))
        process.communicate(timeout=30)

        assert sandbox("run", "-p", "./p.toml", "sh", "-c", "echo $FIRST").stdout == f"{words[1]}\n"


@needs("mountns")
def test_half_a_profile_is_not_left_for_a_whole_one(sandbox: Sandbox) -> None:
    (sandbox.cwd / ".sandbox.toml").write_text('[network]\nmode = "host"\n')
    result = in_own_tmpfs(
        sandbox,
        "size=64k",
        f"""
        dd if=/dev/zero of=$XDG_RUNTIME_DIR/filler bs=4k 2>/dev/null || :
        {BINARY} profile new mine --output $XDG_RUNTIME_DIR/mine.toml || echo =$?
        ls $XDG_RUNTIME_DIR
        XDG_CONFIG_HOME=$XDG_RUNTIME_DIR {BINARY} profile trust --yes >trusted || echo =$?
        """,
    )

    assert result.stdout.split() == ["=125", "filler", "=125"]
    place = Path(sandbox.environment["HOME"]) / "full"
    words = result.stderr.splitlines()
    assert words[0] == f"sandbox: profile new: cannot write {place}/mine.toml: No space left on device"
    assert words[1] == f"  cause: the file system of {place} is full"
    assert ": No space left on device" in words[3]
    assert words[4:] == [words[1], f"  hint: make room: df -h {place}"]
