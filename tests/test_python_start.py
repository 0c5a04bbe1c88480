"""How Python is started: without site.py where what it needs lies beside the program, and without a trace in the call."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox
from needs import needs

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


LEADING = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "OPENSSL_CONF")


@pytest.mark.parametrize("name", ["sandbox", "sandbox-oci"])
def test_the_callers_loader_is_not_pythons(prefix: Path, name: str) -> None:
    (prefix / "bin/python3").write_text('#!/bin/sh\nenv\necho "$@"\n')
    result = subprocess.run(
        [prefix / "bin" / name, "list"],
        env={**dict.fromkeys(LEADING, "/nowhere"), "KEPT": "x"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert not [line for line in result.stdout.splitlines() if line.startswith(LEADING)]
    assert "KEPT=x" in result.stdout.splitlines()
    assert "give_back(); " in result.stdout


@needs("userns")
def test_a_library_in_the_project_is_not_loaded_by_us(sandbox: Sandbox, project: Path) -> None:
    """An LD_LIBRARY_PATH that is relative, or ends in a colon, is common; what lies there may be a contained program's."""
    for library in ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1", "libpthread.so.0", "libdl.so.2"):
        (project / library).write_text("no library, and a loader that looks here says so")
    calls = (("run", "--timeout", "50", "/bin/echo", "x"), ("run", "/bin/nosuch"), ("profile", "list"), ("ps",))
    results = [sandbox(*words, env={"LD_LIBRARY_PATH": str(project)}) for words in calls]

    assert [result.returncode for result in results] == [0, 127, 0, 0]
    assert not [result.stderr for result in results if "shared" in result.stderr]


@needs("userns")
def test_the_command_gets_what_python_did_not(sandbox: Sandbox) -> None:
    """From Python, and from a kept plan, which serves whatever the value is."""
    for value in ("/one", "/one", "/two"):
        env = {"LD_LIBRARY_PATH": value, "OPENSSL_CONF": "/x"}
        kept = sandbox("run", "--env", "LD_LIBRARY_PATH", "--", "env", env=env, check=True).stdout.splitlines()
        everything = sandbox("run", "--keep-env", "--", "env", env=env, check=True).stdout

        assert f"LD_LIBRARY_PATH={value}" in kept
        assert "OPENSSL_CONF=/x" not in kept
        assert {f"LD_LIBRARY_PATH={value}", "OPENSSL_CONF=/x"} <= set(everything.splitlines())
        assert "ASIDE" not in everything


@needs("userns")
def test_a_profile_can_name_it(sandbox: Sandbox, project: Path) -> None:
    (project / "p.toml").write_text('extends = "build"\n[environment]\nset = { SEEN = "$LD_LIBRARY_PATH" }\n')

    assert "SEEN=/one" in sandbox("run", "-p", "./p.toml", "--", "env", env={"LD_LIBRARY_PATH": "/one"}).stdout
