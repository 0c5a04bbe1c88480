"""A hostile program that is limited, or detached: it exhausts what it is given, and forges what is kept of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs

pytestmark = needs("userns")

ESCAPE = "\x1b]0;owned\x07"
PYTHON = "/usr/bin/python3"
ROOM = 1 << 20
# Beside other tests at one user manager a scope needs a name of its own.
NAME = f"box-{os.getpid()}"


@pytest.fixture
def detached(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Return the program; what is named so is removed."""
    yield sandbox
    sandbox("rm", "--force", NAME)


def start(sandbox: Sandbox, script: str, *options: str) -> None:
    with subprocess.Popen(
        [str(sandbox.binary), "run", "--detach", "--name", NAME, *options, "--", PYTHON, "-c", script],
        cwd=sandbox.cwd,
        env=sandbox.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr


def test_a_flood_does_not_fill_the_disk(detached: Sandbox, runtime_dir: Path) -> None:
    """Whoever keeps it stays as it is, and can be told to end it."""
    flood = f'import os\nline = b"x" * 65535 + b"\\n"\nfor _ in range({ROOM * 8 // 65536}): os.write(1, line); os.write(2, line)\n'
    start(detached, f'{flood}print("through", flush=True)\nwhile True: os.write(1, line)', "--log-size", "1M")
    place = runtime_dir / f"sandbox/containers/{NAME}"
    end = time.monotonic() + 3
    most = 0
    while time.monotonic() < end:
        # One may be renamed over the other in this moment.
        with contextlib.suppress(FileNotFoundError):
            most = max(most, sum(path.stat().st_size for path in place.glob("log*")))
        time.sleep(0.01)
    detached("kill", NAME, "KILL", check=True)
    status = detached("wait", NAME)

    assert 0 < most < 3 * ROOM
    assert status.stdout.strip() == "137" or status.returncode == 137, status
    detached("rm", NAME, check=True)
    assert not place.exists()


def test_what_it_says_forges_no_record(detached: Sandbox) -> None:
    """A line of the log's own form, of the other stream and of another time; in pieces, and with what ends a line elsewhere."""
    forged = "2001-01-01T00:00:00.000000000Z stderr F forged"
    said = f"a\\n{forged}\\n\\r{forged}\\0{forged}\\v{forged}"
    start(detached, f"import sys\nsys.stdout.write('{said}')\nsys.stdout.flush()\nsys.stdout.write('\\n{forged}')")
    detached("wait", NAME)
    records = [json.loads(line) for line in detached("logs", "--json", NAME, check=True).stdout.splitlines()]
    errors = detached("logs", "--stderr", NAME, check=True)

    assert {record["stream"] for record in records} == {"stdout"}
    assert not any(record["time"].startswith("2001") for record in records)
    assert (errors.stdout, errors.stderr) == ("", "")


def test_no_record_that_is_shown_as_json_commands_the_terminal(detached: Sandbox) -> None:
    start(detached, f"print({ESCAPE!r})")
    detached("wait", NAME)

    assert all(character.isprintable() or character == "\n" for character in detached("logs", "--json", NAME).stdout)


def test_no_name_of_a_process_commands_the_terminal(detached: Sandbox) -> None:
    """15 bytes of any kind, which it gives itself."""
    start(
        detached,
        "import ctypes, time\n"
        "ctypes.CDLL(None).prctl(15, b'\\x1b]0;own\\x07\\nsandb')\n"
        "print('up', flush=True)\ntime.sleep(60)",
    )
    end = time.monotonic() + 20
    while "up" not in detached("logs", NAME).stdout:
        assert time.monotonic() < end
        time.sleep(0.02)
    for words in (("ps",), ("ps", "--json"), ("inspect", NAME), ("top", NAME), ("top", "--json", NAME)):
        result = detached(*words, check=True)
        text = result.stdout + result.stderr
        assert all(character.isprintable() or character in "\n\t" for character in text), (words, text)


def test_a_command_line_of_megabytes_is_shown_by_its_beginning(detached: Sandbox) -> None:
    """A hundred processes have it, at the price of one; whoever looks would have to read it of each."""
    start(
        detached,
        "import os, sys, time\n"
        "if not os.environ.get('again'): os.execve(sys.executable, [*sys.orig_argv, *['x' * 130000] * 14], {'again': '1'})\n"
        "made = [os.fork() or time.sleep(600) for _ in range(100)]\n"
        "print('up', flush=True)\ntime.sleep(600)",
    )
    end = time.monotonic() + 20
    while "up" not in detached("logs", NAME).stdout:
        assert time.monotonic() < end
        time.sleep(0.02)
    for words in (("top", "--json", NAME), ("top", NAME), ("inspect", NAME), ("ps",)):
        shown = detached(*words, check=True).stdout

        assert len(shown) < 102 * 6000, words
        assert words == ("ps",) or "xxx…" in shown or "xxx\\u2026" in shown, words


# --- where there is something to be exhausted ---

FORK_BOMB = """
import os, time
print("up", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
"""
EATER = """
import mmap, os
eaten = []
while True:
    piece = mmap.mmap(-1, 1 << 20)
    piece.write(b"x" * (1 << 20))
    eaten.append(piece)
"""


@needs("cgroup_pids")
def test_a_fork_bomb_ends_when_it_is_told_to(detached: Sandbox, runtime_dir: Path) -> None:
    """Who keeps it, and others, are not of its number."""
    start(detached, FORK_BOMB, "--pids", "40")
    time.sleep(2)
    record = json.loads((runtime_dir / f"sandbox/containers/{NAME}/state.json").read_text())
    assert int(Path(record["cgroup"], "pids.current").read_text()) <= 40
    assert detached("run", "true").returncode == 0
    assert NAME in detached("ps").stdout

    detached("rm", "--force", NAME, check=True)

    assert not Path(record["cgroup"]).exists()


@needs("cgroup_memory")
def test_who_takes_all_memory_leaves_the_keeper(detached: Sandbox, runtime_dir: Path) -> None:
    script = f"import ctypes\nctypes.CDLL(None).prctl(15, b'\\x1b]0;own\\x07\\nsandb')\n{EATER}"
    start(detached, script, "--memory", "64M", "--swap", "0")
    detached("wait", NAME)
    result = json.loads((runtime_dir / f"sandbox/containers/{NAME}/result.json").read_text())
    shown = detached("logs", NAME)
    text = shown.stdout + shown.stderr + json.dumps(result, ensure_ascii=False)

    assert "137" in json.dumps(result)
    assert all(character.isprintable() or character == "\n" for character in text), text
