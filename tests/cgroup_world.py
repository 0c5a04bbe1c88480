"""Cgroups of a test's own, from which the program is started."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import own_cgroup


def beside() -> Path:
    """Return where a sandbox that we start has its cgroup."""
    own = own_cgroup()
    assert own is not None
    return own.parent


class Nested:
    """A cgroup beside ours with another in it, `inner`, from which the program is started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inner = path / "inner"
        self.inner.mkdir(parents=True)

    def run(self, sandbox: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", f'echo $$ >{self.inner}/cgroup.procs; exec "$@"', "sh", str(sandbox.binary), *words],
            cwd=sandbox.cwd,
            env=sandbox.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextlib.contextmanager
    def occupied(self) -> Iterator[None]:
        """Put a process where it stands in the way of every controller."""
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            (self.path / "cgroup.procs").write_text(str(sleeper.pid))
            yield
            sleeper.kill()

    def remove(self) -> None:
        for path in (self.inner, self.path):
            for _ in range(100):
                with contextlib.suppress(OSError):
                    path.rmdir()
                    break
                time.sleep(0.01)


@pytest.fixture
def nested() -> Iterator[Nested]:
    """Return such a cgroup; mark the test needs("cgroup2")."""
    world = Nested(beside() / f"nested-{os.getpid()}")
    yield world
    world.remove()
