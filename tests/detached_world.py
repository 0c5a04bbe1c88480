"""Detached sandboxes, for the tests: started, looked at, and gone at the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Sandbox


class Detached:
    """Starts them, and removes what is left."""

    def __init__(self, sandbox: Sandbox, runtime_dir: Path) -> None:
        self.sandbox = sandbox
        self.containers = runtime_dir / "sandbox/containers"

    def __call__(self, *words: str | os.PathLike[str], name: str = "") -> str:
        """Start one and return its id."""
        options = ["--name", name] if name else []
        result = self.sandbox("run", "--detach", *options, *words, check=True)
        assert result.stderr == ""
        return result.stdout.removesuffix("\n")

    def keeper(self, name: str) -> int:
        """Return the process that holds it."""
        found = self.inspect(name)["monitor"]
        assert isinstance(found, int)
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.sandbox("inspect", name, check=True).stdout)
        return found

    def log(self, name: str, *options: str) -> tuple[str, str]:
        """Return what `sandbox logs` says, on both streams."""
        result = self.sandbox("logs", *options, name, check=True)
        return result.stdout, result.stderr

    def wait(self, name: str) -> int:
        return int(self.sandbox("wait", name, check=True).stdout)

    def settle(self, name: str) -> None:
        """Wait until it has ended and is kept."""
        wait_until((self.containers / name / "result.json").exists)


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def detached(sandbox: Sandbox, runtime_dir: Path) -> Iterator[Detached]:
    (runtime_dir / "bus").unlink()  # on which nobody answers, while it might be a user manager
    yield Detached(sandbox, runtime_dir)
    sandbox("rm", "--all", "--force", check=True)
