"""A sandbox that runs, for `sandbox exec` to join."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox
from needs import SLOWNESS
from test_terminal import Terminal

ENGINE = BINARY.with_name("sandbox-oci")
BARE = 'extends = "build"\n[process]\ninit = false\n'
RANGE = 'extends = "build"\n[user]\nmap = "range"\n'


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds * SLOWNESS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Running:
    """A sandbox called `one`, in which nothing happens until it is ended."""

    def __init__(self, sandbox: Sandbox, project: Path) -> None:
        self.sandbox = sandbox
        self.project = project
        self.processes: list[subprocess.Popen[str]] = []

    def __call__(self, *options: str, profile: str = "", command: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        if profile:
            # Where nothing inside can write to it.
            (self.project.parent / "p.toml").write_text(profile)
            options = ("-p", "../p.toml", *options)
        process = self.sandbox.popen(
            "run", *options, "--name", "one", *(command or ("sh", "-c", "echo > up; exec sleep 1000"))
        )
        self.processes.append(process)
        wait_for(lambda: (self.project / "up").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process


@pytest.fixture
def running(sandbox: Sandbox, project: Path) -> Iterator[Running]:
    running = Running(sandbox, project)
    yield running
    if any(process.poll() is None for process in running.processes):
        sandbox("kill", "one", "KILL")
    for process in running.processes:
        process.wait(20)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    os.close(terminal.master)
    os.close(terminal.slave)


def project_root(sandbox: Sandbox) -> str:
    return f"{sandbox.environment['XDG_RUNTIME_DIR']}/sandbox"
