"""`.sandbox.toml` in force, as a user meets it: refused, approved, kept in a plan, and written from inside."""

from __future__ import annotations

import os
import pty
import shutil
import time
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs

pytestmark = needs("userns")

NAME = ".sandbox.toml"
LOOSE = '[network]\nmode = "host"\n'
REFUSED = f"""\
sandbox: ~/project/{NAME}: asks for more than your profile allows, and you have not trusted it
  ~/project/{NAME}:2: network.mode: "host", where your profile has "none"
  hint: to see it and decide: sandbox profile trust
  hint: to run without it: --no-project
"""
INTERFACES = ("ls", "/sys/class/net")


@pytest.fixture
def file(project: Path) -> Path:
    """Return the project's file, which is not there yet; its directory is the user's alone."""
    project.chmod(0o755)
    return project / NAME


def write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o644)


def test_what_tightens_is_in_force_at_once(sandbox: Sandbox, file: Path) -> None:
    (file.parent / "key").write_text("secret")
    (file.parent / "src").mkdir()
    write(file, '[filesystem]\nhide = ["./key"]\nread = ["./src"]\n[limits]\nrlimits = { nofile = 77 }\n')
    result = sandbox("run", "sh", "-c", "cat key; ulimit -n; touch new src/new")

    assert result.stdout == "77\n"
    assert result.stderr.count("Read-only file system") == 1
    assert sandbox("run", "--no-project", "cat", "key").stdout == "secret"


def test_it_is_found_from_a_directory_below(sandbox: Sandbox, file: Path) -> None:
    (file.parent / "sub").mkdir()
    write(file, "[limits]\nrlimits = { nofile = 77 }\n")

    assert sandbox("run", "sh", "-c", "ulimit -n", cwd=file.parent / "sub").stdout == "77\n"


def test_what_loosens_is_refused_until_exactly_it_is_trusted(sandbox: Sandbox, file: Path) -> None:
    write(file, LOOSE)
    for verb in ("run", "explain", "spec"):
        refused = sandbox(verb, "true")
        assert (refused.returncode, refused.stderr) == (125, REFUSED)
    unasked = sandbox("profile", "trust")
    assert unasked.returncode == 125
    assert "there is nobody to ask" in unasked.stderr
    assert sandbox("run", "true").returncode == 125

    shown = sandbox("profile", "trust", "--yes", check=True).stdout
    assert f'{NAME}:2: network.mode  "host"' in shown
    assert sandbox("run", *INTERFACES).stdout == "\n".join(sorted(os.listdir("/sys/class/net"))) + "\n"
    assert "in force" in sandbox("profile", "trust", "--list").stdout
    write(file, LOOSE + "\n")
    assert sandbox("run", "true").stderr == REFUSED
    assert "changed since" in sandbox("profile", "trust", "--list").stdout
    write(file, LOOSE)
    assert sandbox("run", "true").returncode == 0
    sandbox("profile", "untrust", check=True)
    assert sandbox("run", "true").stderr == REFUSED


def test_a_plan_is_made_anew_when_a_file_appears_changes_or_goes(sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    show = ("run", "sh", "-c", "ulimit -n")
    (file.parent / "a/b").mkdir(parents=True)
    sandbox.cwd = file.parent / "a/b"
    before = sandbox(*show).stdout
    write(file, "[limits]\nrlimits = { nofile = 77 }\n")
    assert sandbox(*show).stdout == "77\n"
    write(file, "[limits]\nrlimits = { nofile = 78 }\n")
    assert sandbox(*show).stdout == "78\n"
    write(file.parent / "a" / NAME, "[limits]\nrlimits = { nofile = 76 }\n")
    assert sandbox(*show).stdout == "76\n"
    # A launcher without a Python beside it can run a kept plan, and nothing else.
    binary, alone = sandbox.binary, tmp_path / "sandbox"
    sandbox.binary = Path(shutil.copy(binary, alone))
    assert sandbox(*show).stdout == "76\n"
    (file.parent / "a" / NAME).unlink()
    assert sandbox(*show).returncode == 125
    sandbox.binary = binary
    file.unlink()
    assert sandbox(*show).stdout == before


def test_what_a_program_writes_there_is_never_looser(sandbox: Sandbox, file: Path, home: Path) -> None:
    (home / "other").mkdir()
    attack = f'printf \'[network]\\nmode = "host"\\n[filesystem]\\nwrite = ["~"]\\n\' > {NAME}'
    sandbox("run", "sh", "-c", attack, check=True)
    assert sandbox("run", "ls", str(home)).returncode == 125
    write(file, "")
    inside = sandbox("run", "sh", "-c", f"{attack}; rm -f {NAME}; mv {NAME} x; ln -sf x {NAME}; true")

    assert file.read_text() == ""
    assert inside.stderr.count("Read-only file system") == 1
    assert sorted(os.listdir(file.parent)) == [NAME]


def test_what_was_approved_does_not_follow_where_it_is_led(sandbox: Sandbox, file: Path, home: Path) -> None:
    """The approval is of words; a program that may write the project can make them mean something else in a later run."""
    (file.parent / "data").mkdir()
    (home / "private").mkdir()
    (home / "private/letter").write_text("dear")
    write(file, f'[filesystem]\nread = ["./data"]\n{LOOSE}')
    sandbox("profile", "trust", "-p", "offline-test", "--yes", check=True)
    call = ("run", "-p", "offline-test", "cat", str(home / "private/letter"))
    assert "No such file" in sandbox(*call).stderr
    sandbox("run", "--no-project", "sh", "-c", f"rmdir data && ln -s {home}/private data", check=True)
    result = sandbox(*call)

    assert (result.returncode, result.stdout) == (125, "")
    assert f"data is a symlink in the project, and leads out of it to {home}/private" in result.stderr


def test_a_program_cannot_approve_it(sandbox: Sandbox, file: Path, home: Path) -> None:
    write(file, LOOSE)
    sandbox("profile", "trust", "--yes", check=True)
    place = home / ".config/sandbox/trusted"
    (approval,) = os.listdir(place)
    script = f"cat {place}/{approval}; ls {place}; touch {place}/x"
    for option in ((), ("--read", str(home)), ("--read", str(place))):
        result = sandbox("run", *option, "sh", "-c", script)
        assert not result.stdout
        assert os.listdir(place) == [approval]
    for tree in (home, place, place.parent):
        assert "writable inside" in sandbox("run", "--write", str(tree), "true").stderr


def test_a_file_planted_in_a_shared_directory_is_passed_over(sandbox: Sandbox, home: Path) -> None:
    shared = home / "shared"
    (shared / "mine").mkdir(parents=True, mode=0o755)
    shared.chmod(0o1777)
    write(shared / NAME, LOOSE)
    result = sandbox("run", *INTERFACES, cwd=shared / "mine")

    assert result.stdout == "lo\n"
    assert result.stderr == (
        f"sandbox: note: ~/shared/{NAME} is passed over: its directory can be written by everybody\n"
    )


def test_the_question_is_asked_on_a_terminal(sandbox: Sandbox, file: Path) -> None:
    write(file, '[filesystem]\nread = ["/tmp/\\u001b[31mred"]\n' + LOOSE)
    (red := Path("/tmp/\x1b[31mred")).touch()
    for answer, status in ((b"n\n", 125), (b"y\n", 0)):
        master, terminal = pty.openpty()
        process = sandbox.popen("profile", "trust", stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(master, 4096)
        os.write(master, answer)
        assert process.wait(20) == status
        time.sleep(0.1)
        shown += os.read(master, 4096)
        os.close(master)
        assert b"\x1b[31m" not in shown
        assert b"\\x1b[31mred" in shown
        assert (b"is trusted, as it is now" in shown) == (status == 0)
    red.unlink()


def test_what_needs_no_approval_is_said_so(sandbox: Sandbox, file: Path) -> None:
    write(file, "")

    assert "needs no approval" in sandbox("profile", "trust", check=True).stdout
    assert "was not trusted" in sandbox("profile", "untrust").stderr
    file.unlink()
    assert "there is no .sandbox.toml here, nor above" in sandbox("profile", "trust").stderr


def test_show_and_explain_name_its_lines(sandbox: Sandbox, file: Path) -> None:
    write(file, '[process]\nhostname = "here"\n[filesystem]\ntmp = ["./t"]\n')
    (file.parent / "t").mkdir()

    assert f"~/project/{NAME}:2: process.hostname" in sandbox("profile", "show", check=True).stdout
    assert NAME not in sandbox("profile", "show", "build", check=True).stdout
    assert f"~/project/{NAME}:4: filesystem.tmp[0]" in sandbox("explain", check=True).stdout


def test_a_stub_that_keeps_it_absent_is_not_taken_for_it(sandbox: Sandbox, file: Path) -> None:
    first = sandbox.popen("run", "-p", "agent", "--", "sh", "-c", f"touch {NAME}; echo; read x", stdin=-1)
    assert first.stdout is not None
    first.stdout.readline()
    assert file.is_dir()

    assert sandbox("run", "-p", "agent", "--", "sh", "-c", f"touch {NAME}/x || echo kept").stdout == "kept\n"
    assert sandbox("run", "echo", "ran").stdout == "ran\n"
    first.communicate("\n", timeout=20)
    assert not file.exists()
