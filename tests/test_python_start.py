"""How Python is started: without site.py where what it needs lies beside the program, and without a trace in the call."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox

PACKAGES = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
SHOW = """#!/bin/sh
for word; do printf '[%s]' "$word"; done
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Return a directory as a virtual environment, in which python3 prints its arguments."""
    (tmp_path / "bin").mkdir()
    shutil.copy(BINARY, tmp_path / "bin/sandbox")
    (tmp_path / "bin/sandbox-oci").symlink_to("sandbox")
    (tmp_path / "bin/python3").write_text(SHOW)
    (tmp_path / "bin/python3").chmod(0o755)
    for package in ("sandbox", "msgspec"):
        (tmp_path / PACKAGES / package).mkdir(parents=True)
        (tmp_path / PACKAGES / package / "__init__.py").touch()
    return tmp_path


def arguments(prefix: Path, name: str, *words: str) -> str:
    """Return what python3 is given by the program at `bin/NAME`."""
    command = [str(prefix / "bin" / name), *words]
    result = subprocess.run(command, cwd=prefix, capture_output=True, text=True, env={}, check=True)
    assert not result.stderr
    return result.stdout


def test_a_run_is_compiled_without_site(prefix: Path) -> None:
    given = arguments(prefix, "sandbox", "run", "--", "true")

    assert given.startswith(
        "[-I][-S][-c][import sys; sys.path.append(sys.argv.pop(1)); from sandbox.cli.start import main; main()]"
        f"[{prefix}/{PACKAGES}][{prefix}/bin/sandbox]["
    )
    assert given.endswith("[run][--][true]")


def test_an_engines_call_too(prefix: Path) -> None:
    given = arguments(prefix, "sandbox-oci", "list")

    assert given.startswith(
        "[-I][-S][-c][import sys; sys.path.append(sys.argv.pop(1)); from sandbox.engine.start import"
    )
    assert given.endswith(f"[{prefix}/{PACKAGES}][{prefix}/bin/sandbox][list]")


@pytest.mark.parametrize("package", ["sandbox", "msgspec"])
def test_site_finds_what_lies_elsewhere(prefix: Path, package: str) -> None:
    shutil.rmtree(prefix / PACKAGES / package)

    for name, module in (("sandbox", "cli"), ("sandbox-oci", "engine")):
        given = arguments(prefix, name, *(["run", "--", "true"] if module == "cli" else ["list"]))
        assert given.startswith(f"[-I][-c][from sandbox.{module}.start import main; main()][{prefix}/bin/sandbox]")


def test_the_verbs_of_typer_are_started_with_site(prefix: Path) -> None:
    assert arguments(prefix, "sandbox", "profile", "list").startswith("[-I][-c][from sandbox.cli.start import")


def test_python_leaves_no_variable_behind(sandbox: Sandbox) -> None:
    """In the C locale it sets LC_CTYPE for its children (PEP 538)."""
    call = ("run", "-p", "shell", "--env", "LC_*", "--", "env")
    c_locale = {"LANG": None, "LC_ALL": None, "LC_CTYPE": None}
    fresh = sandbox(*call, env=c_locale, check=True).stdout
    kept = sandbox(*call, env=c_locale, check=True).stdout
    chosen = sandbox("run", "--env", "LC_*", "--", "env", env={**c_locale, "LC_CTYPE": "C.UTF-8"}, check=True).stdout

    assert "LC_CTYPE" not in fresh
    assert fresh == kept
    assert "LC_CTYPE=C.UTF-8\n" in chosen
