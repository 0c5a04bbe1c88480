"""What of the cgroup hierarchy is ours to make cgroups in: read from directories that look like it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.kernel.delegation import is_unmanaged, look_at
from sandbox.plan.inputs import Inputs

MANAGER = "user.slice/user-1000.slice/user@1000.service"
# Where ours would be, which directories systemd has given away, and whether it is then no business of systemd's.
PLACES = [
    ("job/deeper", [], True),
    ("", [], True),
    (f"{MANAGER}/app.slice", [MANAGER], False),
    (MANAGER, [MANAGER], False),
    (f"{MANAGER}/app.slice/job.service", [MANAGER], False),
    (f"{MANAGER}/app.slice/job.service", [MANAGER, f"{MANAGER}/app.slice/job.service"], True),
    (f"{MANAGER}/app.slice/job.service/a/b", [MANAGER, f"{MANAGER}/app.slice/job.service"], True),
    (f"{MANAGER}/app.slice/job.service/a.service", [f"{MANAGER}/app.slice/job.service"], False),
    (f"{MANAGER}/app.slice/a", [MANAGER], False),
    (f"{MANAGER}/given.slice", [f"{MANAGER}/given.slice"], False),
    ("system.slice/ci.service", ["system.slice/ci.service"], True),
    ("machine.slice/box.scope/container", [], False),
]


@pytest.mark.parametrize("parent, given, expected", PLACES)
def test_whose_business_cgroups_are(tmp_path: Path, parent: str, given: list[str], *, expected: bool) -> None:
    (tmp_path / parent).mkdir(parents=True, exist_ok=True)
    for path in given:
        os.setxattr(tmp_path / path, "user.delegate", b"1")

    assert is_unmanaged(str(tmp_path), f"/{parent}") is expected


def test_what_was_taken_back_was_not_given(tmp_path: Path) -> None:
    (tmp_path / "a.service").mkdir()
    os.setxattr(tmp_path / "a.service", "user.delegate", b"0")

    assert not is_unmanaged(str(tmp_path), "/a.service")


class Hierarchy:
    """Directories with the files of cgroups: a/b, in which we are, below a root that is another's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path, controllers in (("", "cpu memory pids"), ("a", "memory pids"), ("a/b", "")):
            self.make(path, controllers)
        for name in ("cgroup.procs", "cgroup.subtree_control"):
            (root / name).chmod(0o444)
        (root / "cgroup.type").unlink()

    def make(self, path: str, controllers: str) -> None:
        directory = self.root / path
        directory.mkdir(exist_ok=True)
        for name, text in (("procs", ""), ("type", "domain"), ("subtree_control", ""), ("controllers", controllers)):
            (directory / f"cgroup.{name}").write_text(text)

    def look(self, monkeypatch: pytest.MonkeyPatch) -> tuple[str, tuple[str, ...], str]:
        root = str(self.root)
        monkeypatch.setattr("sandbox.kernel.delegation.mount_point", lambda: root)
        facts = look_at("/a", "/a/b", Inputs())
        assert facts["offered"] == ("memory", "pids")
        return facts["cgroup_top"], facts["controllers"], facts["obstacle"]


@pytest.fixture
def hierarchy(tmp_path: Path) -> Hierarchy:
    if os.geteuid() == 0:
        pytest.fail("root may write to what is another's: run the tests by ./dev test")
    return Hierarchy(tmp_path)


def test_all_that_the_top_has_can_be_enabled(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hierarchy.look(monkeypatch) == (f"{hierarchy.root}/a", ("memory", "pids"), "")


def test_but_for_processes_in_it(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    (hierarchy.root / "a/cgroup.procs").write_text("7\n")

    assert hierarchy.look(monkeypatch)[1:] == ((), f"{hierarchy.root}/a")


def test_what_is_enabled_already_can_be_had_all_the_same(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    (hierarchy.root / "a/cgroup.procs").write_text("7\n")
    (hierarchy.root / "a/cgroup.subtree_control").write_text("pids\n")

    assert hierarchy.look(monkeypatch)[1:] == (("pids",), f"{hierarchy.root}/a")


def test_or_where_that_is_anothers_to_say(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    (hierarchy.root / "a/cgroup.subtree_control").chmod(0o444)

    assert hierarchy.look(monkeypatch)[1:] == ((), f"{hierarchy.root}/a")
