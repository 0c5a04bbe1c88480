"""Attacks that take more than one sandbox, or somebody outside to be fooled: races, what lingers, what is printed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Sandbox, descendants
from needs import needs

pytestmark = needs("userns")

ESCAPE = "\x1b]0;owned\x07"
PYTHON = "/usr/bin/python3"

# Exchange two names until there is a file "stop".
RENAMER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
left, right = (os.fsencode(name) for name in sys.argv[1:])
print("ready", flush=True)
while not os.path.exists("stop"):
    for _ in range(2000):
        libc.renameat2(-100, left, -100, right, 2)
"""


@contextmanager
def renaming(sandbox: Sandbox, project: Path, left: str, right: str) -> Iterator[None]:
    """Have a first sandbox exchange two names in the project, as long as the block lasts."""
    process = sandbox.popen("run", PYTHON, "-c", RENAMER, left, right)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield
        assert process.poll() is None, "the renamer has ended"
    finally:
        (project / "stop").touch()
        process.wait(20)


RACED = {
    "read": ("--read", "./data"),
    "read a file": ("--read", "./data/letter"),
    "write": ("--write", "./data"),
    "hide": ("--hide", "./data/letter"),
    "tmp": ("--tmp", "./data"),
    "start there": ("--cwd", "./data"),
}


@pytest.mark.parametrize("options", RACED.values(), ids=RACED)
def test_a_name_that_changes_while_a_second_sandbox_starts(
    sandbox: Sandbox, home: Path, project: Path, options: tuple[str, str]
) -> None:
    """The first sandbox would have the second one show, or write, what lies outside both."""
    outside = home / "private"
    outside.mkdir()
    (outside / "letter").write_text("dear canary")
    (project / "data").mkdir()
    (project / "data/letter").write_text("mine")
    (project / "link").symlink_to(outside)
    script = f"cat data/letter letter {outside}/letter 2>/dev/null; echo x > data/new; echo x > {outside}/new; pwd; ls"
    before = sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*"))
    statuses = set()
    with renaming(sandbox, project, "data", "link"):
        for _ in range(6):
            result = sandbox("run", *options, "sh", "-c", script)
            statuses.add(result.returncode)
            assert "canary" not in result.stdout
            assert str(outside) not in result.stdout

    assert sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*")) == before
    assert statuses <= {0, 1, 2, 125}


def test_a_directory_above_what_is_hidden_changes_while_a_second_sandbox_starts(
    sandbox: Sandbox, project: Path
) -> None:
    """Either it is hidden, or it is not there by that name, or the second one does not start."""
    for name in ("a", "b"):
        (project / name).mkdir()
    (project / "a/key").write_text("canary")
    with renaming(sandbox, project, "a", "b"):
        for _ in range(8):
            result = sandbox("run", "--hide", "?./a/key", "--hide", "?./b/key", "cat", "a/key", "b/key")
            assert result.returncode in (0, 1, 125)
            if result.returncode == 125:
                assert "canary" not in result.stdout


def test_what_is_replaced_outside_is_covered_no_longer(sandbox: Sandbox, project: Path) -> None:
    """The kernel takes a mount away with the file that it lies on.  Of a hidden directory that is said of the directory alone."""
    for name in ("file", "directory/file"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("canary")
    script = "cat file directory/file; echo up; read line; cat file; cat directory/file directory/new"
    process = sandbox.popen(
        "run", "--hide", "./file", "--hide", "./directory", "sh", "-c", script, stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    for name in ("file", "directory/file"):
        (project / "new").write_text(f"new canary in {name}")
        (project / "new").replace(project / name)
    (project / "directory/new").write_text("newer canary")
    stdout, _ = process.communicate("go\n")

    assert stdout == "new canary in file"


LINGERER = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
def linger(depth):
    os.setsid() if depth else None
    libc.prctl(1, 0)    # PR_SET_PDEATHSIG: nothing
    libc.prctl(36, 1)   # PR_SET_CHILD_SUBREAPER
    for _ in range(3):
        if depth < 4 and not os.fork():
            linger(depth + 1)
    for number in range(1, 65):
        try: os.kill(1, number)
        except OSError: pass
    while True:
        time.sleep(100)
linger(0)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("profile", ["build", "shell"])
def test_what_will_not_end_is_ended(sandbox: Sandbox, project: Path, end: signal.Signals, profile: str) -> None:
    """A hundred and more processes in sessions of their own, deaf to all signals, that want to outlive the monitor."""
    process = sandbox.popen("run", "-p", profile, PYTHON, "-c", LINGERER)
    below: set[int] = set()
    for _ in range(500):
        below = descendants(process.pid)
        if len(below) > 120:
            break
        time.sleep(0.02)
    assert len(below) > 120
    process.send_signal(end)
    if end == signal.SIGTERM:  # it is passed on, and nobody listens
        time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    process.wait(10)
    for _ in range(300):
        if all(_state(pid) == "Z" for pid in below):
            break
        time.sleep(0.01)

    assert not [pid for pid in below if _state(pid) != "Z"]
    assert sandbox("run", "true").returncode == 0  # and takes away the left-over directory


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def test_a_fork_bomb_is_bounded_where_a_limit_is_given(sandbox: Sandbox, project: Path, home: Path) -> None:
    (home / "few.toml").write_text('extends = "build"\n[limits]\nrlimits = { nproc = 40 }\n')
    bomb = (
        "import os, time\n"
        "count = 0\n"
        "while count < 5000:\n"
        "    try:\n"
        "        if not os.fork(): time.sleep(100)\n"
        "        count += 1\n"
        "    except BlockingIOError:\n"
        "        break\n"
        "print(count)\n"
    )
    result = sandbox("run", "-p", str(home / "few.toml"), PYTHON, "-c", bomb)

    assert result.returncode == 0, result.stderr
    assert 20 < int(result.stdout) <= 40
    subprocess.run(["true"], check=True)


@pytest.mark.parametrize("kept", [False, True], ids=["cold", "kept"])
@pytest.mark.parametrize("what", ["arguments", "variables", "one long argument"])
def test_as_much_as_the_kernel_takes_arrives_whole_or_is_refused(sandbox: Sandbox, what: str, kept: bool) -> None:
    """An environment and a command line of nearly all the room that there is."""
    words, variables = [], {}
    if what == "variables":
        variables = {f"LC_X{number}": "x" * 100_000 for number in range(18)}
    elif what == "arguments":
        words = ["x" * 999] * 1800
    else:
        words = ["x" * 131_000]
    script = "import os, sys; print(sum(map(len, sys.argv[1:])) + sum(len(v) for k, v in os.environ.items() if k[:4] == 'LC_X'))"
    command = ["run", "-p", "build", "--", PYTHON, "-c", script]
    if kept:
        sandbox(*command, check=True)
    result = sandbox(*command, *words, env=variables)

    if result.returncode == 0:
        assert int(result.stdout) == sum(map(len, words)) + sum(map(len, variables.values()))
    else:
        assert result.returncode in (125, 126)
        assert "Argument list too long" in result.stderr
        assert result.stdout == ""


PRINTED = {
    "a command": (f"./{ESCAPE}",),
    "a profile": ("-p", f"{ESCAPE}", "true"),
    "a profile's path": ("-p", f"./{ESCAPE}.toml", "true"),
    "a directory": ("--cwd", f"/{ESCAPE}", "true"),
    "a path to read": ("--read", f"/{ESCAPE}", "true"),
    "a variable": ("--env", f"{ESCAPE}=1", "true"),
    "a host name": ("--hostname", ESCAPE, "true"),
    "an option": (f"--{ESCAPE}", "true"),
    "a script's interpreter": ("./script",),
    "a key": ("-p", "./key.toml", "true"),
    "a value": ("-p", "./value.toml", "true"),
    "a type": ("-p", "./type.toml", "true"),
    "a link": ("--read", "./link", "true"),
}


@pytest.mark.parametrize("words", PRINTED.values(), ids=PRINTED)
def test_no_name_commands_the_terminal(sandbox: Sandbox, project: Path, words: tuple[str, ...]) -> None:
    """Names that an earlier run could have made, in whatever we complain about."""
    (project / "script").write_text(f"#!/{ESCAPE}\n")
    (project / "script").chmod(0o755)
    (project / "link").symlink_to(f"/{ESCAPE}")
    quoted = ESCAPE.replace("\x1b", "\\u001b").replace("\x07", "\\u0007")
    (project / "key.toml").write_text(f'extends = "build"\n[filesystem]\n"{quoted}" = 1\n')
    (project / "value.toml").write_text(f'extends = "build"\n[network]\nmode = "{quoted}"\n')
    (project / "type.toml").write_text(f'extends = "{quoted}"\n')
    result = sandbox("run", *words)

    # A variable and a host name may be anything, and nothing is said of them.
    assert result.stderr if result.returncode else words[0] in ("--env", "--hostname")
    assert not {"\x1b", "\x07"} & set(result.stdout + result.stderr)


def test_what_a_profile_says_of_itself_does_not_command_the_terminal(sandbox: Sandbox, home: Path) -> None:
    profiles = home / ".config/sandbox/profiles"
    profiles.mkdir(parents=True)
    quoted = ESCAPE.replace("\x1b", "\\u001b").replace("\x07", "\\u0007")
    (profiles / "evil.toml").write_text(f'description = "{quoted}"\n[environment]\nset = {{ A = "{quoted}" }}\n')
    for words in (
        ("profile", "list"),
        ("profile", "show", "evil"),
        ("explain", "-p", "evil", "true"),
        ("profile", "check", "evil"),
    ):
        result = sandbox(*words)
        assert not {"\x1b", "\x07"} & set(result.stdout + result.stderr), words


def test_what_runs_does_not_command_the_terminal(sandbox: Sandbox, project: Path) -> None:
    """Its words and its name for itself are the program's."""
    process = sandbox.popen("run", "--name", "evil", "sh", "-c", "echo up; cat", ESCAPE, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    for words in (
        ("ps",),
        ("ps", "--json"),
        ("inspect", "evil"),
        ("exec", "evil", f"./{ESCAPE}"),
        ("kill", "evil", ESCAPE),
        ("inspect", ESCAPE),
    ):
        result = sandbox(*words)
        assert result.stdout + result.stderr
        assert not {"\x1b", "\x07"} & set(result.stdout + result.stderr), words
    process.communicate("")


PLACED = {
    "symlink": "ln -s {victim} report.json",
    "symlink to nothing": "ln -s {home}/made report.json",
    "hard link": "ln fixed report.json",
    "directory": "mkdir report.json",
    "fifo": "mkfifo report.json",
    "directory moved": "mkdir ../moved 2>/dev/null; cd ..; mv out away; ln -s {home} out",
}


@pytest.mark.parametrize("kept", [False, True], ids=["cold", "kept"])
@pytest.mark.parametrize("script", PLACED.values(), ids=PLACED)
def test_a_report_is_not_written_where_the_program_leads_it(
    sandbox: Sandbox, home: Path, project: Path, script: str, kept: bool
) -> None:
    """It is written outside, with the user's rights, after the program could do what it liked to the directory."""
    victim = home / "victim"
    victim.write_text("mine")
    (project / "out").mkdir()
    (project / "out/fixed").write_text("fixed")
    options = ("run", "--report", "./out/report.json", "sh", "-c")
    if kept:
        sandbox(*options, "true", check=True)
        (project / "out/report.json").unlink()
    before = sorted(home.iterdir())
    result = sandbox(*options, f"cd out; {script.format(victim=victim, home=home)}; echo ran")

    assert result.stdout == "ran\n", result.stderr
    assert victim.read_text() == "mine"
    assert sorted(home.iterdir()) == before
    assert not [path for path in project.rglob("fixed") if path.read_text() != "fixed"]
