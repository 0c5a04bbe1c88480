"""Who the command is, what it is passed, and what it may not do without."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs

pytestmark = needs("userns")

OWN = (os.geteuid(), os.getegid())


@pytest.mark.parametrize("start", ["cold", "kept"])
@pytest.mark.parametrize(
    "user, ids", [("0", (0, OWN[1])), ("0:0", (0, 0)), ("1000:5", (1000, 5)), ("4294967294", (4294967294, OWN[1]))]
)
def test_user(sandbox: Sandbox, start: str, user: str, ids: tuple[int, int]) -> None:
    for _ in range(2 if start == "kept" else 1):
        result = sandbox("run", "--user", user, "sh", "-c", "id -u; id -g; touch made; stat -c %u:%g made")

    assert result.stdout.split() == [str(ids[0]), str(ids[1]), f"{ids[0]}:{ids[1]}"], result.stderr
    status = (sandbox.cwd / "made").stat()
    assert (status.st_uid, status.st_gid) == OWN  # outside it is always the caller


def test_user_wins_over_the_profile(sandbox: Sandbox, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[user]\nuid = 7\ngid = 8\n')
    result = sandbox("run", "-p", "./p.toml", "--user", "9", "sh", "-c", "id -u; id -g")

    assert result.stdout.split() == ["9", "8"]


@pytest.mark.parametrize(
    "user",
    [
        *("", ":", "0:", ":0", "root", "-1", "+1", " 1", "1 ", "1\n", "00", "010", "0x0", "1_0", "1.0", "1e3", "0:0:0"),
        *("\N{SUPERSCRIPT TWO}", "\N{FULLWIDTH DIGIT ONE}", "nobody:nogroup", "0:-1"),
        *("4294967295", "4294967296", "18446744073709551616", "0:4294967295"),
    ],
)
def test_a_user_that_is_no_number_is_never_guessed(sandbox: Sandbox, user: str) -> None:
    result = sandbox("run", f"--user={user}", "touch", "ran")

    assert result.returncode == 125
    assert result.stderr.startswith("sandbox: --user")
    assert "Traceback" not in result.stderr
    assert not (sandbox.cwd / "ran").exists()


@pytest.mark.parametrize("start", ["cold", "kept"])
def test_keep_env_passes_everything_in(sandbox: Sandbox, start: str) -> None:
    odd = {"FOO": "bar", "API_TOKEN": "t", "PATH": "/usr/bin:/bin:/odd", "with space": "x", "LD_PRELOAD": ""}
    if start == "kept":
        sandbox("run", "--keep-env", "true", check=True)  # and with other values: they are no part of the plan
    result = sandbox("run", "--keep-env", "env", "-0", env=odd)

    found = dict(entry.split("=", 1) for entry in result.stdout.split("\0") if entry)
    expected = {**sandbox.environment, **odd}
    assert {name: found.get(name) for name in expected} == expected


def test_what_the_profile_unsets_or_sets_holds_with_keep_env(sandbox: Sandbox, project: Path) -> None:
    (project / "p.toml").write_text(
        'extends = "build"\n[environment]\nunset = ["LD_*", "GONE"]\nset = { HOME = "/tmp" }\n'
    )
    env = {"LD_PRELOAD": "/evil.so", "LD_LIBRARY_PATH": "/evil", "GONE": "1", "STAYS": "1"}
    result = sandbox("run", "-p", "./p.toml", "--keep-env", "--env", "CI=yes", "env", env=env)

    found = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert {"STAYS", "HOME", "CI", "GONE"} & found.keys() == {"STAYS", "HOME", "CI"}
    assert not any(name.startswith("LD_") for name in found)
    assert (found["HOME"], found["CI"]) == ("/tmp", "yes")


def test_without_keep_env_nothing_is_passed_in(sandbox: Sandbox) -> None:
    assert "API_TOKEN" not in sandbox("run", "env", env={"API_TOKEN": "t"}).stdout


@pytest.mark.parametrize("option, pid", [("--init", "2"), ("--no-init", "1")])
def test_init(sandbox: Sandbox, project: Path, option: str, pid: str) -> None:
    (project / "p.toml").write_text(f'extends = "build"\n[process]\ninit = {"false" if pid == "2" else "true"}\n')

    assert sandbox("run", "-p", "./p.toml", option, "sh", "-c", "echo $$").stdout == f"{pid}\n"


def test_strict_has_nothing_against_what_is_in_force(sandbox: Sandbox, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[limits]\nrlimits = { nofile = 64 }\ntimeout = "1h"\n')
    result = sandbox("run", "-p", "./p.toml", "--strict", "sh", "-c", "ulimit -n")

    assert (result.stdout, result.stderr) == ("64\n", "")


@pytest.mark.parametrize("verb", ["run", "explain", "spec"])
def test_the_long_way_round_understands_the_same(sandbox: Sandbox, verb: str) -> None:
    """`--dry-run`, `explain` and `spec` are parsed by typer."""
    options = ["--user", "3:4", "--keep-env", "--no-init", "--timeout", "90s", "--timeout-grace", "1s", "--strict"]
    result = sandbox(verb, *(["--dry-run"] if verb == "run" else []), *options, "true")

    assert result.returncode == 0, result.stderr
    if verb == "spec":
        assert '"dev.sandbox.timeout": "90"' in result.stdout
    else:
        assert "become uid 3, gid 4" in result.stdout
        assert "ask the command to end after 90 s, and kill it 1 s later" in result.stdout
        assert "process 1" not in result.stdout


def test_what_an_option_cannot_show_is_said(sandbox: Sandbox, home: Path) -> None:
    """`hide` beats it at the same path, and a program that does not find its keys says nothing of that."""
    result = sandbox("run", "--read", home / ".ssh", "--", "ls", home)

    assert ".ssh" not in result.stdout
    assert re.fullmatch(
        rf"sandbox: note: --read {home}/.ssh shows nothing, as secrets.toml:\d+: filesystem.hide\[\d+\] hides it; "
        "what lies in it can be named\n",
        result.stderr,
    )
    again = sandbox("run", "--read", home / ".ssh", "--", "ls", home)
    assert again.stderr == result.stderr, "by a plan that was kept, too"
    assert sandbox("run", "--read", home / ".config", "--", "true").stderr == ""
