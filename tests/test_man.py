"""Man pages: what the wheel installed is of this source, well-formed, and holds every verb and option."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from conftest import BINARY
from needs import CHECKOUT, needs

from sandbox.cli import man
from sandbox.cli.app import app
from sandbox.cli.manual import Page, page
from sandbox.engine.options import GLOBAL, VERBS
from sandbox.profile.schema import Profile

SHARE = BINARY.parent.parent / "share"
INSTALLED = {path.name: path for path in SHARE.glob("man/man*/sandbox*")}
TOP = page(typer.main.get_command(app))


def pages(top: Page) -> Iterator[Page]:
    yield top
    for verb in top.verbs:
        yield from pages(verb)


def shown(path: Path) -> str:
    """Return a page as man(1) shows it, in one line, hyphenation undone."""
    result = subprocess.run(
        ["man", "--warnings", "--no-hyphenation", "--no-justification", "-l", path],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "500", "LANG": "C.UTF-8", "GROFF_NO_SGR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not result.stderr
    return " ".join(re.sub(".\b", "", result.stdout).split())


def without_date(text: str) -> str:
    return re.sub(r'"\d{4}-\d\d-\d\d"', '"DATE"', text)


def test_what_is_installed_is_of_this_source() -> None:
    written = man.write("0.1.0")

    assert INSTALLED.keys() == written.keys()
    for name, path in INSTALLED.items():
        assert path.parent.name == f"man{name[-1]}"
        assert without_date(path.read_text()) == without_date(written[name])
    for name in ("bash-completion/completions/sandbox.bash", "zsh/site-functions/_sandbox"):
        assert "_sandbox_profiles" in (SHARE / name).read_text()
    assert "__sandbox_profiles" in (SHARE / "fish/vendor_completions.d/sandbox.fish").read_text()


@needs("mandoc")
@pytest.mark.parametrize("path", INSTALLED.values(), ids=INSTALLED)
def test_mandoc_has_nothing_to_say(path: Path) -> None:
    result = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True, check=False)

    assert not result.stdout + result.stderr


@needs("man")
@pytest.mark.parametrize("entry", TOP.verbs, ids=lambda entry: entry.path[-1])
def test_a_page_holds_every_option_with_its_words(entry: Page) -> None:
    text = shown(INSTALLED[f"sandbox-{entry.path[-1]}.1"])

    for verb in pages(entry):
        assert " ".join(verb.path) in text
        assert verb.summary in text
        for row in (*verb.options, *verb.arguments):
            assert f"{row.label if row.names else row.metavar} {row.words}" in text
        for example in verb.examples:
            assert " ".join(example.split()) in text


@needs("man")
def test_the_programs_page_names_all_others() -> None:
    text = shown(INSTALLED["sandbox.1"])

    for name in INSTALLED.keys() - {"sandbox.1"}:
        assert f"{name[:-2]}({name[-1]})" in text
    for status in ("124", "125", "126", "127", "128+N"):
        assert status in text


@needs("man")
def test_the_engines_page_holds_its_verbs_and_options() -> None:
    text = shown(INSTALLED["sandbox-oci.1"])

    for verb in VERBS.values():
        assert f" {verb.name.upper()} " in text
        for option in verb.options:
            assert option.hidden or f"--{option.long}" in text
    assert all(f"--{option.long}" in text for option in GLOBAL if not option.hidden)


@needs("man")
def test_the_format_s_page_holds_every_key() -> None:
    text = shown(INSTALLED["sandbox-profile.5"])

    for section in Profile.__struct_fields__:
        keys = getattr(getattr(Profile(), section), "__struct_fields__", ())
        for key in keys or (section,):
            assert re.search(rf"[ \[]{key.rstrip('_')}[ \]]", text, re.IGNORECASE)
    assert 'write = ["~/.cache/ccache"]' in text
    assert "`" not in text


def test_the_date_is_that_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")

    assert '"1970-01-02"' in man.write("0.1.0")["sandbox.1"]


def test_the_build_needs_no_more_than_it_says() -> None:
    """pip builds in an environment of its own, which holds what pyproject.toml requires for that."""
    code = f"""
import sys
for name in ("platformdirs", "tomli_w", "prctl", "pyroute2", "jeepney"): sys.modules[name] = None
sys.argv = ["man.py", "0.1.0", "--names"]
import runpy; runpy.run_path({str(CHECKOUT / "sandbox/cli/man.py")!r}, run_name="__main__")"""
    result = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )

    assert set(result.stdout.split()) == INSTALLED.keys()
