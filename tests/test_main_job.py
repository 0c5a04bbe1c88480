"""The main job on real projects: Debian's `hello` is configured, built and checked; a Python project's tests pass."""

from __future__ import annotations

import shutil
from pathlib import Path

from conftest import Sandbox
from needs import CACHE, CHECKOUT, needs

pytestmark = needs("userns")


@needs("hello_source", "gcc", "make")
def test_a_real_c_project_is_configured_built_and_checked(sandbox: Sandbox, hello_source: Path) -> None:
    sandbox.cwd = hello_source
    result = sandbox("run", "-p", "build", "--", "sh", "-c", "./configure && make && make check", timeout=400)

    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "# FAIL:  0" in result.stdout
    assert "# PASS:  0" not in result.stdout
    # What was built inside is there outside, is ours, and runs.
    built = hello_source / "hello"
    assert built.stat().st_uid == hello_source.stat().st_uid
    assert sandbox("run", "./hello").stdout == "Hello, world!\n"


@needs("markupsafe_source", "gcc")
def test_a_real_python_project_is_built_and_its_tests_pass(sandbox: Sandbox, project: Path) -> None:
    """MarkupSafe, with its C extension, by the environment of these tests, which is shown read-only."""
    sandbox.cwd = Path(shutil.copytree(CACHE / "markupsafe", project / "markupsafe"))
    python = f"{CHECKOUT}/.venv/bin/python"
    script = f"{python} setup.py -q build_ext --inplace && PYTHONPATH=src {python} -m pytest -q -p no:cacheprovider"
    result = sandbox("run", "-p", "build", "--read", f"{CHECKOUT}/.venv", "--", "sh", "-c", script, timeout=400)

    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "53 passed" in result.stdout
    assert list((sandbox.cwd / "src/markupsafe").glob("_speedups.*.so"))


def test_the_project_is_all_that_was_written(sandbox: Sandbox, project: Path, home: Path) -> None:
    before = sorted(path for path in home.rglob("*") if project not in path.parents)
    script = "echo x > ~/new; mkdir -p ~/.config/evil; echo x > /tmp/y; echo x > made; ls ~/new /tmp/y made"
    result = sandbox("run", "sh", "-c", script)

    assert result.returncode == 0, result.stderr
    assert (project / "made").read_text() == "x\n"
    assert sorted(path for path in home.rglob("*") if project not in path.parents) == before
