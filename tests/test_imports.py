"""Who may import whom: docs/architecture.md, "Parts"."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from needs import CHECKOUT

PACKAGE = CHECKOUT / "sandbox"
# A part may import those of the same rank and below.
RANKS = {
    "errors": 0,
    "quantities": 0,
    "spec": 1,
    "plan": 1,
    "kernel": 2,
    "profile": 3,
    "lower": 3,
    "runtime": 4,
    "cli": 5,
    "engine": 5,
}
# The header is written when the project is built, and needs the command line.
EXCEPTIONS = {("plan/header.py", "cli"), ("plan/header.py", "engine")}


def imported_parts(path: Path) -> set[str]:
    """Return the parts of the package that a module imports, wherever in it."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("sandbox."):
                parts.add(name.split(".")[1])
    return parts & set(RANKS)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_only_to_the_left(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own not in RANKS:
        assert name == "__init__.py"
        return
    wrong = {part for part in imported_parts(path) if RANKS[part] > RANKS[own] and (name, part) not in EXCEPTIONS}

    assert not wrong, f"{name} imports {wrong}"


def test_profile_and_lower_do_not_know_each_other() -> None:
    for own, other in (("profile", "lower"), ("lower", "profile")):
        for path in (PACKAGE / own).rglob("*.py"):
            assert other not in imported_parts(path), path


def test_init_files_are_empty() -> None:
    # The top one hands on the names of the API, lazily.
    for path in PACKAGE.glob("*/**/__init__.py"):
        assert not path.read_text().strip(), path


def test_lowering_imports_nothing_heavy() -> None:
    """Every container that is new pays for what is imported while its plan is made."""
    heavy = "typing enum msgspec re dataclasses contextlib functools collections pathlib json argparse datetime".split()
    code = f"""
import sys
before = set(sys.modules)
from sandbox.lower.container import lower, lower_process
import sandbox.kernel.paths, sandbox.kernel.delegation, sandbox.kernel.filters
print(*sorted((set(sys.modules) - before) & set({heavy!r})))"""
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = [{str(PACKAGE.parent)!r}]{code}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert not result.stdout.strip()
