"""The verbs that only say something: what they say is true, and readable in a pipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Sandbox

from sandbox.cli.options import OPTIONS
from sandbox.cli.verb_line import parse_verb
from sandbox.errors import UsageError


def test_the_version(sandbox: Sandbox) -> None:
    assert sandbox("--version", check=True).stdout == "sandbox 0.1.0\n"


@pytest.mark.parametrize("verb", ["run", "spec", "explain", "profile"])
def test_help_names_every_option_with_its_words(sandbox: Sandbox, verb: str) -> None:
    text = " ".join(sandbox(verb, "--help", env={"COLUMNS": "200"}, check=True).stdout.split())

    for option in OPTIONS:
        if verb in option.verbs:
            assert option.name in text
            assert option.help in text


def test_explain_says_where_each_operation_comes_from(sandbox: Sandbox, project: Path) -> None:
    lines = sandbox("explain", "--hide", "?./secret", "--", "make", check=True).stdout.splitlines()
    (write,) = [line for line in lines if f"bind {project} (writable)" in line]

    assert write.startswith("build.toml:")
    assert "filesystem.write[0]" in write
    assert not [line for line in lines if line != line.rstrip()]


def test_explain_in_json_is_what_a_run_does(sandbox: Sandbox, project: Path) -> None:
    document = json.loads(sandbox("explain", "--json", "--hostname", "box", check=True).stdout)

    (hostname,) = [step for step in document if step["operation"] == "SetHostname"]
    assert hostname["fields"] == {"name": "box"}
    assert hostname["from"] == "--hostname box"
    assert document[-1]["operation"] == "SeccompFilter"


def test_profiles_are_listed_and_a_broken_one_with_its_reason(sandbox: Sandbox, home: Path) -> None:
    own = home / ".config/sandbox/profiles"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text('description = "my own"\nextends = "build"\n')
    (own / "broken.toml").write_text("[filesystem\n")
    lines = {line.split()[0]: line for line in sandbox("profile", "list", check=True).stdout.splitlines()}

    assert {"base", "build", "untrusted", "shell", "mine", "broken"} <= lines.keys()
    assert "shipped" in lines["build"]
    assert "my own" in lines["mine"]
    assert "is not TOML" in lines["broken"]


def test_a_profile_is_shown_after_inheritance_with_each_values_origin(sandbox: Sandbox, home: Path) -> None:
    own = home / ".config/sandbox/profiles"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text('extends = "build"\n[process]\nhostname = "mine"\n')
    lines = sandbox("profile", "show", "mine", check=True).stdout.splitlines()

    (hostname,) = [line.split() for line in lines if line.startswith("process.hostname")]
    (network,) = [line.split() for line in lines if line.startswith("network.mode")]
    assert hostname == ["process.hostname", "~/.config/sandbox/profiles/mine.toml:3:", "process.hostname", '"mine"']
    assert network[1].startswith("base.toml:")


@pytest.mark.parametrize("verb", ["run", "spec", "explain"])
def test_a_misspelt_profile_is_guessed(sandbox: Sandbox, verb: str) -> None:
    result = sandbox(verb, "-p", "biuld", *(["true"] if verb == "run" else []))

    assert result.returncode == 125
    assert result.stderr == 'sandbox: --profile: no profile "biuld"\n  hint: did you mean build?\n'


def test_a_spec_says_what_is_kept_of_the_environment(sandbox: Sandbox) -> None:
    spec = json.loads(sandbox("spec", "--own-ids", "--", "make", env={"LC_ALL": "C", "TOKEN": "x"}, check=True).stdout)

    assert "LC_ALL=C" in spec["process"]["env"]
    assert not [variable for variable in spec["process"]["env"] if variable.startswith("TOKEN=")]
    assert spec["process"]["args"] == ["make"]


PARSED: dict[str, tuple[list[str], dict[str, object]]] = {
    "nothing": ([], {}),
    "attached": (["--hostname=a=b"], {"hostname": "a=b"}),
    "apart": (["--hostname", "--tty"], {"hostname": "--tty"}),
    "short": (["-pa", "-p", "b"], {"profile": ["a", "b"]}),
    "a flag and its opposite": (["--tty", "--no-tty"], {"tty": False}),
    "empty": (["--name="], {"name": ""}),
}


@pytest.mark.parametrize("arguments, values", PARSED.values(), ids=PARSED.keys())
def test_options_are_parsed(arguments: list[str], values: dict[str, object]) -> None:
    assert parse_verb("run", arguments) == (values, [])


@pytest.mark.parametrize("arguments", [["--nosuch"], ["--tty=yes"], ["--hostname"], ["-x"], ["--read"]])
def test_options_that_cannot_be_parsed_are_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_verb("run", arguments)
