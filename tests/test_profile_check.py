"""`sandbox profile check`: everything that is wrong at once, with line and cure; and what is weak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Sandbox
from needs import CHECKOUT

SHIPPED = sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.toml"))

WRONG = """\
descripion = "x"
extends = ["bild", "build", "./below.toml"]
[filesystem]
reed = ["/usr"]
read = [
  "/nosuch",
  3,
  "relative",
  "?/fine",
  "$NOPE/x",
  4,
  "/etc/nothere",
]
write = ["/"]
hide = ["./absent"]
[network]
mode = "of"
[limits]
rlimits = { nofil = 3, core = { soft = 3, hard = 1 }, as = { soft = 1, hard = 1, hrd = 2 } }
memory = "many"
timeout = "never"
[security]
capabilities = ["CHOWN", "SYS_ADMIN", "NET_BIND_SERVCE"]
seccomp = "maybe"
[process]
umask = "9"
nice = 99
name = "/x"
hostname = 3
[environment]
keep = ["A=B"]
set = { X = 3, Y = "$UNSET_VAR" }
[oci.linux.sysctl]
a = 3
[oci.bogus]
x = 1
"""
# line: key: a part of the message; "|": a part of the cure
EXPECTED = """\
1: descripion: unknown key | did you mean description
2: extends[0]: no profile "bild" | did you mean build
4: filesystem.reed: unknown key | did you mean read
6: filesystem.read[0]: /nosuch: No such file or directory | mark it optional
7: filesystem.read[1]: expected a text | for example
8: filesystem.read[2]: "relative": is not an absolute path | begin it with
10: filesystem.read[4]: the variable NOPE is not set | "?$NOPE/x"
11: filesystem.read[5]: expected a text | for example
12: filesystem.read[6]: /etc/nothere: No such file or directory | mark it optional
14: filesystem.write[0]: the whole system would be writable | name the directories
15: filesystem.hide[0]: it could be made inside | create it
17: network.mode: invalid enum value 'of' | write "host" or "none"
19: limits.rlimits.as.hrd: unknown key | did you mean hard
19: limits.rlimits.nofil: no limit is called "nofil" | did you mean nofile
19: limits.rlimits.core: the soft limit 3 is over the hard limit 1 |
20: limits.memory: "many" is not a size | write "512M"
21: limits.timeout: "never" is not a time | write "90s"
23: security.capabilities[1]: CAP_SYS_ADMIN can unmount | use security.nested
23: security.capabilities[2]: unknown capability "CAP_NET_BIND_SERVCE" | did you mean NET_BIND_SERVICE
24: security.seccomp: no filter is called "maybe" | write "default"
26: process.umask: "9" is not a umask | write three octal digits
27: process.nice: 99 is not a nice value | write -20 to 19
28: process.name: "/x" cannot be the name of a sandbox | use at most
29: process.hostname: expected a text | for example
31: environment.keep[0]: "A=B" is not the name of a variable | write the name alone
32: environment.set.X: expected a text | for example
32: environment.set.Y: the variable UNSET_VAR is not set | set it
33: oci.linux.sysctl: expected `str`, got `int` | see the OCI
35: oci.bogus: unknown field `bogus` | see the OCI
"""


def found(sandbox: Sandbox, *names: str, status: int) -> list[dict[str, Any]]:
    result = sandbox("profile", "check", "--json", *names)
    assert result.returncode == status, result.stderr + result.stdout
    assert result.stderr == ""
    return list(json.loads(result.stdout))


@pytest.fixture
def profiles(home: Path) -> Path:
    path = home / ".config/sandbox/profiles"
    path.mkdir(parents=True)
    return path


def test_everything_that_is_wrong_is_found_at_once(sandbox: Sandbox, project: Path) -> None:
    (project / "wrong.toml").write_text(WRONG)
    (project / "below.toml").write_text('extends = "./wrong.toml"\n[user]\nuid = -1\n')
    rows = found(sandbox, "./wrong.toml", status=1)
    own = {
        (row["line"], row["key"]): row for row in rows if (row["severity"], row["file"]) == ("error", "./wrong.toml")
    }

    for line in EXPECTED.splitlines():
        number, key, rest = line.split(": ", 2)
        message, _, cure = rest.partition(" |")
        row = own.pop((int(number), key), {"message": f"nothing at {number}: {key}", "hint": ""})
        assert message in row["message"]
        assert cure.strip() in row["hint"]
    assert not own
    below = {row["key"]: row["message"] for row in rows if row["file"] == "./below.toml"}
    assert below == {
        "extends": "goes in a circle: wrong extends below extends wrong",
        "user.uid": "-1 is not an id",
    }


def test_what_is_said_is_what_a_run_says(sandbox: Sandbox, project: Path) -> None:
    (project / "a.toml").write_text('extends = "build"\n[filesystem]\nread = ["/nosuch"]\n')
    said = sandbox("profile", "check", "./a.toml").stdout
    refused = sandbox("run", "-p", "./a.toml", "true").stderr

    assert said == refused.removeprefix("sandbox: ")
    assert said == (
        "./a.toml:3: filesystem.read[0]: /nosuch: No such file or directory\n"
        '  hint: create it, or mark it optional with "?/nosuch"\n'
    )


@pytest.mark.parametrize(
    "text, where, message",
    [
        (b"a = [\n", "./a.toml", "is not TOML"),
        (b'\n[x\nb = "', "./a.toml", "is not TOML"),
        (b"\xff", "./a.toml", "is not TOML"),
        (b"[oci]\nx" + b".a" * 3000 + b" = 1", "./a.toml", "is nested too deeply"),
        (b"x = " + b"[" * 100_000, "./a.toml", "is nested too deeply"),
        (b"[filesystem]\nread = 3", "./a.toml:2", "expected a list"),
        (b"filesystem = []", "./a.toml:1", "expected a table"),
    ],
)
def test_a_document_that_cannot_be_read(sandbox: Sandbox, project: Path, text: bytes, where: str, message: str) -> None:
    (project / "a.toml").write_bytes(text)
    result = sandbox("profile", "check", "./a.toml")

    assert result.returncode == 1
    assert result.stdout.startswith(where)
    assert message in result.stdout


def test_what_is_not_found_to_extend_is_not_called_weak(sandbox: Sandbox, project: Path) -> None:
    (project / "a.toml").write_text('extends = "biuld"\n')

    assert [row["severity"] for row in found(sandbox, "./a.toml", status=1)] == ["error"]


def test_a_profile_that_is_not_there(sandbox: Sandbox) -> None:
    rows = found(sandbox, "biuld", "./none.toml", status=1)

    assert [(row["file"], row["hint"]) for row in rows] == [("biuld", "did you mean build?"), ("./none.toml", "")]


def test_the_shipped_profiles_are_fine(sandbox: Sandbox) -> None:
    # Where there is an X server, that is what desktop-x11 is warned of.
    assert not [row for row in found(sandbox, *SHIPPED, status=0) if row["file"] != "desktop-x11.toml"]
    assert sandbox("profile", "check", "build", "rust").stdout == "build, rust: nothing is wrong\n"


WEAK = {
    'write = ["~/.local", "."]': ("filesystem.write[0]", "executed or obeyed outside"),
    'read = ["~"]\n[network]\nmode = "host"': ("network.mode", "can be sent away"),
    '[security]\nseccomp = "off"': ("security.seccomp", "every system call"),
    "[security]\nno_new_privs = false": ("security.no_new_privs", "setuid"),
    '[security]\ncapabilities = ["NET_RAW"]': ("security.capabilities[0]", "NET_RAW"),
    'read = ["~/.local"]\nhide = ["~/.local"]': ("filesystem.read[0]", "which wins"),
    'read = ["~/.ssh"]': ("filesystem.read[0]", "is hidden by secrets.toml:"),
    '[environment]\nset = { A = "1" }\nunset = ["A"]': ("environment.set.A", "which wins"),
    '[environment]\nkeep = ["A"]\nunset = ["A"]': ("environment.keep[0]", "which wins"),
    'read = ["@/docker.sock"]': ("filesystem.read[0]", "is root"),
    '[[oci.mounts]]\ndestination = "/x"\ntype = "tmpfs"\nsource = "x"': ("oci.mounts[0]", "past the rules"),
}


@pytest.mark.parametrize("text", WEAK)
def test_what_is_weak_is_a_warning(sandbox: Sandbox, home: Path, project: Path, text: str) -> None:
    (home / ".local/bin").mkdir(parents=True)
    (home / "docker.sock").touch()
    (project / "a.toml").write_text(f'extends = "build"\n[filesystem]\n{text}\n'.replace("@", str(home)))
    key, message = WEAK[text]
    rows = found(sandbox, "./a.toml", status=0)

    assert [(row["severity"], row["key"]) for row in rows] == [("warning", key)]
    assert message in rows[0]["message"]
    assert rows[0]["hint"]


def test_a_profile_without_the_secrets_is_weak(sandbox: Sandbox, project: Path) -> None:
    (project / "a.toml").write_text('[filesystem]\nread = ["/usr"]\n')

    assert sandbox("profile", "check", "./a.toml").stdout == (
        './a.toml: warning: nothing hides your keys and tokens\n  hint: extend "base", "build" or "secrets"\n'
    )


def test_a_projects_own_profile_need_hide_nothing(sandbox: Sandbox, project: Path) -> None:
    """It is laid over one that does."""
    (project / ".sandbox.toml").write_text('[network]\nmode = "none"\n')

    assert sandbox("profile", "check", ".sandbox.toml").stdout == ".sandbox.toml: nothing is wrong\n"


def test_it_does_not_matter_where_one_is(sandbox: Sandbox, home: Path, profiles: Path) -> None:
    """In the home directory nothing can be run that has it writable: that is not the profile's fault."""
    (profiles / "mine.toml").write_text('extends = "build"\n')
    for directory in (home, Path("/"), profiles):
        assert sandbox("profile", "check", "build", "mine", cwd=directory).stdout == "build, mine: nothing is wrong\n"


def test_it_makes_nothing(sandbox: Sandbox, home: Path) -> None:
    sandbox("profile", "check", "rust", "agent", check=True)

    assert not (home / ".cache").exists()
    assert not list((home / "project").iterdir())
