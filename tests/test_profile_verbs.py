"""`sandbox profile new`, `keys`, `edit`, `show` and `list`, as a person meets them."""

from __future__ import annotations

import json
import os
import pty
import re
import tomllib
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import CHECKOUT

from sandbox.profile.reference import entries

SHIPPED = sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.toml"))


@pytest.fixture
def profiles(home: Path) -> Path:
    return home / ".config/sandbox/profiles"


# --- new ---


@pytest.mark.parametrize("base", ["agent", "build", "secrets"])
def test_a_new_profile_is_fine_and_does_what_it_extends_does(sandbox: Sandbox, profiles: Path, base: str) -> None:
    result = sandbox("profile", "new", "mine", "--from", base, check=True)
    path = profiles / "mine.toml"

    assert result.stdout == f"{path}\n"
    assert tomllib.loads(path.read_text())["extends"] == base
    assert sandbox("profile", "check", "mine").stdout == "mine: nothing is wrong\n"


def test_every_example_in_a_new_profile_can_be_taken(sandbox: Sandbox, project: Path) -> None:
    sandbox("profile", "new", "mine", "--output", "mine.toml", check=True)
    text, examples = re.subn(r"(?m)^# ([a-z_]+ = )", r"\1", (project / "mine.toml").read_text())

    assert examples >= 10
    assert {"filesystem", "environment", "network", "limits", "process"} <= tomllib.loads(text).keys()
    (project / "mine.toml").write_text(text)
    result = sandbox("profile", "check", "./mine.toml")
    # What the examples name need not exist here.
    assert all(": No such file or directory" in line for line in result.stdout.splitlines() if "hint" not in line)


def test_what_is_there_is_never_overwritten(sandbox: Sandbox, project: Path, profiles: Path) -> None:
    profiles.mkdir(parents=True)
    (profiles / "mine.toml").write_text("# mine")
    (project / "dangling.toml").symlink_to("elsewhere")
    for arguments in (("mine",), ("x", "--output", "dangling.toml")):
        result = sandbox("profile", "new", *arguments)
        assert result.returncode == 125
        assert "is there already" in result.stderr
    assert (profiles / "mine.toml").read_text() == "# mine"
    assert not (project / "elsewhere").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("a/b",), 'sandbox: profile new: "a/b" cannot be the name of a profile'),
        (("x", "--from", "biuld"), 'sandbox: --from: no profile "biuld"\n  hint: did you mean build?'),
        (("x", "--output", "/proc/x"), "sandbox: profile new: cannot write /proc/x"),
    ],
)
def test_what_cannot_be_made(sandbox: Sandbox, arguments: tuple[str, ...], message: str) -> None:
    result = sandbox("profile", "new", *arguments)

    assert result.returncode == 125
    assert result.stderr.startswith(message)


def test_one_that_takes_a_shipped_name_says_so(sandbox: Sandbox) -> None:
    result = sandbox("profile", "new", "build", check=True)

    assert 'note: from now on "build" is yours' in result.stderr
    assert sandbox("profile", "check", "build").returncode == 0


# --- keys ---


def test_every_key_is_there(sandbox: Sandbox) -> None:
    rows = json.loads(sandbox("profile", "keys", "--json", check=True).stdout)
    plain = sandbox("profile", "keys", check=True).stdout

    assert [row["key"] for row in rows] == [entry.key for entry in entries()]
    assert all(row["description"] and row["type"] for row in rows)
    heads = [line.partition("  ")[0] for line in plain.splitlines() if line and not line.startswith(" ")]
    assert heads == [row["key"] for row in rows]
    assert "\x1b" not in plain


def test_a_section_or_one_key(sandbox: Sandbox) -> None:
    assert "network.mode  " in sandbox("profile", "keys", "network", check=True).stdout
    umask = sandbox("profile", "keys", "process.umask", check=True).stdout
    assert umask.startswith("process.umask  string\n")
    assert '    umask = "027"\n' in umask
    assert "process.nice" not in umask


def test_a_section_that_is_not_there(sandbox: Sandbox) -> None:
    result = sandbox("profile", "keys", "netwrok")

    assert result.returncode == 125
    assert 'there is no section or key "netwrok"\n  hint: did you mean network' in result.stderr


# --- edit ---


def edit(sandbox: Sandbox, home: Path, name: str, editor: str, *, answers: str = "") -> tuple[int, str]:
    """Edit a profile on a terminal, with a script for an editor; return the status and what was seen."""
    program = home / "editor"
    program.write_text(f"#!/bin/sh\n{editor}\n")
    program.chmod(0o755)
    master, slave = pty.openpty()
    process = sandbox.popen("profile", "edit", name, stdin=slave, env={"EDITOR": str(program), "VISUAL": None})
    os.close(slave)
    os.write(master, answers.encode())
    try:
        stdout, stderr = process.communicate(timeout=30)
    finally:
        os.close(master)
    return process.returncode, stdout + stderr


@pytest.fixture
def mine(sandbox: Sandbox, profiles: Path) -> Path:
    profiles.mkdir(parents=True)
    path = profiles / "mine.toml"
    path.write_text('extends = "build"\n')
    path.chmod(0o640)
    return path


def test_a_change_is_saved_whole(sandbox: Sandbox, home: Path, mine: Path) -> None:
    before = mine.stat()
    status, _ = edit(sandbox, home, "mine", 'echo "process.nice = 3" >>"$1"')

    assert status == 0
    assert mine.read_text() == 'extends = "build"\nprocess.nice = 3\n'
    assert mine.stat().st_ino != before.st_ino, "replaced, not written over"
    assert mine.stat().st_mode == before.st_mode
    assert [entry.name for entry in mine.parent.iterdir()] == ["mine.toml"]


def test_while_something_is_wrong_it_can_be_edited_again(sandbox: Sandbox, home: Path, mine: Path) -> None:
    script = 'if grep -q bad "$1"; then echo "process.nice = 4" >"$1"; else echo "bad = 1" >>"$1"; fi'
    status, seen = edit(sandbox, home, "mine", script, answers="e\n")

    assert status == 0
    assert "mine.toml:2: bad: unknown key" in seen
    assert "edit again (e), discard the changes (x), or save it as it is (s)?" in seen
    assert mine.read_text() == "process.nice = 4\n"


@pytest.mark.parametrize("answers, kept", [("x\n", False), ("\x04", False), ("s\n", True)])
def test_what_is_wrong_is_saved_only_when_it_is_wanted(
    sandbox: Sandbox, home: Path, mine: Path, answers: str, kept: bool
) -> None:
    before = mine.read_text()
    status, _ = edit(sandbox, home, "mine", 'echo "bad = 1" >>"$1"', answers=answers)

    assert status == 0
    assert mine.read_text() == before + ("bad = 1\n" if kept else "")


def test_an_editor_that_fails_changes_nothing(sandbox: Sandbox, home: Path, mine: Path) -> None:
    status, seen = edit(sandbox, home, "mine", 'echo x >"$1"; exit 1')

    assert status == 125
    assert "ended with status 1" in seen
    assert mine.read_text() == 'extends = "build"\n'


def test_without_a_change_nothing_is_written(sandbox: Sandbox, home: Path, mine: Path) -> None:
    before = mine.stat()
    _, seen = edit(sandbox, home, "mine", "true")

    assert "is left as it is" in seen
    assert (mine.stat().st_ino, mine.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_shipped_profile_is_copied_when_that_is_wanted(sandbox: Sandbox, home: Path, profiles: Path) -> None:
    status, seen = edit(sandbox, home, "shell", "true", answers="n\n")
    assert status == 125
    assert not profiles.exists()

    status, seen = edit(sandbox, home, "shell", 'echo >>"$1"', answers="y\n")
    assert status == 0
    assert '"shell" is shipped. A copy of yours' in seen
    assert (profiles / "shell.toml").read_text() == (CHECKOUT / "profiles/shell.toml").read_text() + "\n"


def test_a_profile_that_extends_the_shipped_one_of_its_name(sandbox: Sandbox, home: Path, profiles: Path) -> None:
    profiles.mkdir(parents=True)
    (profiles / "build.toml").write_text("bad = 1\n")
    status, seen = edit(sandbox, home, "build", """echo 'extends = "build"' >"$1" """)

    assert status == 0
    assert "unknown key" not in seen
    assert (profiles / "build.toml").read_text() == 'extends = "build"\n'


def test_without_a_terminal_nothing_is_edited(sandbox: Sandbox, mine: Path) -> None:
    result = sandbox("profile", "edit", "mine", env={"EDITOR": "/bin/false"})

    assert result.returncode == 125
    assert "an editor needs a terminal" in result.stderr
    assert mine.exists()


# --- show, list ---


def test_what_the_secrets_hide_is_counted(sandbox: Sandbox, mine: Path) -> None:
    mine.write_text('extends = "build"\n[filesystem]\nhide = ["?./own"]\n')
    folded = sandbox("profile", "show", "mine", check=True).stdout
    whole = sandbox("profile", "show", "mine", "--all", check=True).stdout
    hidden = [line for line in whole.splitlines() if "secrets.toml:" in line and "filesystem.hide[" in line]

    assert f"{len(hidden)} paths; --all lists them" in folded
    assert "secrets.toml:" not in folded
    assert '"?./own"' in folded
    assert '"?~/.ssh"' in whole
    assert '"?~/.ssh"' in sandbox("profile", "show", "secrets", check=True).stdout


def test_the_list_fits_a_terminal(sandbox: Sandbox, mine: Path) -> None:
    mine.write_text(f'description = "{"long " * 40}"\n')
    master, slave = pty.openpty()
    process = sandbox.popen("profile", "list", stdout=slave, env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    os.close(slave)
    seen = b""
    while True:
        try:
            seen += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    assert process.wait(10) == 0
    lines = [line.rstrip("\r") for line in seen.decode().splitlines()]

    assert max(map(len, lines)) <= 80
    starts = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert {"mine", *SHIPPED} <= starts
    assert any(line.split()[:2] == ["mine", "yours"] for line in lines)
