"""`sandbox update`: other limits for what runs, in the words of `run`.  Here there are huge pages alone; test_guest_observe.py has
the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from test_observe import load
from test_ps import Start, start

from sandbox.cli.options import OPTIONS
from sandbox.profile.limits import SHARED

pytestmark = needs("userns")
assert start  # a fixture


@pytest.fixture
def watched(start: Start) -> str:
    """Return a sandbox that has a cgroup; those of all lie side by side, whatever their directories of state."""
    name = f"web-{os.getpid()}"
    start(name, "--report", "report.json")
    return name


def test_every_limit_of_run_can_be_changed_in_the_same_words() -> None:
    keys = {option.key for option in OPTIONS if "update" in option.verbs}

    assert keys == {option.key for option in OPTIONS if option.key.removeprefix("limits.") in SHARED}
    assert len(keys) > 10


@needs("cgroup_hugetlb")
def test_a_limit_is_in_force_and_shown(sandbox: Sandbox, watched: str) -> None:
    directory = Path(load(sandbox, watched).cgroup)
    assert json.loads(sandbox("inspect", watched, check=True).stdout)["limitsInForce"] == {}

    assert sandbox("update", watched, "--hugepages", "2MB:64M", check=True).stderr == ""
    assert (directory / "hugetlb.2MB.max").read_text() == f"{64 << 20}\n"
    shown = json.loads(sandbox("inspect", watched, check=True).stdout)["limitsInForce"]
    assert shown["hugetlb.2MB.max"] == str(64 << 20)


@needs("cgroup_hugetlb")
def test_all_of_them_are_in_force_or_none(sandbox: Sandbox, watched: str) -> None:
    directory = Path(load(sandbox, watched).cgroup)
    if "rdma" in (directory / "cgroup.controllers").read_text():
        pytest.fail("this test needs a controller that is not there")
    result = sandbox("update", watched, "--hugepages", "2MB:64M", "--hugepages", "3MB:64M")

    assert result.returncode == 125
    assert "hugetlb.3MB" in result.stderr
    assert (directory / "hugetlb.2MB.max").read_text() != f"{64 << 20}\n"


def test_without_a_cgroup_there_is_a_cure(sandbox: Sandbox, start: Start) -> None:
    start("web")
    result = sandbox("update", "web", "--memory", "1G")

    assert result.returncode == 125
    assert result.stderr.startswith(
        "sandbox: web has no cgroup, and so no limits that could be changed\n  hint: start it anew"
    )


def test_a_controller_that_is_not_delegated(sandbox: Sandbox, watched: str) -> None:
    directory = Path(load(sandbox, watched).cgroup)
    if "memory" in (directory.parent / "cgroup.controllers").read_text().split():
        assert sandbox("update", watched, "--memory", "1G").stderr == ""
        return
    result = sandbox("update", watched, "--memory", "1G")

    assert result.returncode == 125
    assert result.stderr.startswith(f"sandbox: {watched}: the controller memory is not delegated to you\n  cause: ")
    assert "\n  hint: " in result.stderr


@pytest.mark.parametrize(
    "words, said",
    [
        ((), "sandbox: no limit was given\n  hint: sandbox update ID --memory 1G; see sandbox update --help\n"),
        (("--memory", "much"), 'sandbox: --memory much: "much" is not a size\n'),
        (("--memory", "512"), 'sandbox: --memory 512: 512 bytes are too little memory to run in\n  hint: write "512M"'),
        (("--pids", "0"), "sandbox: --pids 0: 0 is too few processes\n"),
        (("--cpu-weight", "max"), "sandbox: --cpu-weight max: max is not a weight\n"),
        (("--colour", "red"), "sandbox: update: --colour is not understood\n"),
    ],
)
def test_what_is_not_understood_changes_nothing(sandbox: Sandbox, words: tuple[str, ...], said: str) -> None:
    result = sandbox("update", "absent", *words)

    assert result.returncode == 125
    assert result.stderr.startswith(said)
