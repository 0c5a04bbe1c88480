"""What of the cgroup hierarchy is ours to make cgroups in: read from directories that look like it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.kernel.delegation import delegated, is_unmanaged, look_at, unit_of
from sandbox.plan.inputs import Inputs

MANAGER = "/user.slice/user-1000.slice/user@1000.service"
# Where ours would be, and whether that is no business of systemd's.
PLACES = {
    "/job/deeper": True,
    "/": True,
    f"{MANAGER}/app.slice": False,
    MANAGER: False,
    f"{MANAGER}/init.scope": True,
    f"{MANAGER}/app.slice/job.service": True,
    f"{MANAGER}/app.slice/job.service/a/b": True,
    f"{MANAGER}/app.slice/job.service/user@1000.service/a": False,
    f"{MANAGER}/app.slice/a": False,
    "/user.slice/user-1000.slice": False,
    "/user.slice/user-1000.slice/session-2.scope": True,
    "/system.slice/ci.service": True,
    "/system.slice": False,
    "/machine.slice/box.scope/container": True,
}


@pytest.mark.parametrize("parent", PLACES)
def test_whose_business_cgroups_are(parent: str) -> None:
    assert is_unmanaged(parent) is PLACES[parent]


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


def test_above_the_unit_nothing_is_ours(hierarchy: Hierarchy) -> None:
    root = hierarchy.root
    for path in ("a/x.slice", "a/x.slice/j.service", "a/x.slice/j.service/c"):
        hierarchy.make(path, "pids")
    place = "/a/x.slice/j.service"

    assert unit_of(f"{place}/c") == place
    assert delegated(str(root), f"{place}/c", f"{place}/c/d", Inputs(), unit=place) == (f"{root}{place}", ("pids",))
    assert delegated(str(root), f"{place}/c", f"{place}/c/d", Inputs()) == (f"{root}/a", ("memory", "pids"))


def test_or_where_that_is_anothers_to_say(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    (hierarchy.root / "a/cgroup.subtree_control").chmod(0o444)

    assert hierarchy.look(monkeypatch)[1:] == ((), f"{hierarchy.root}/a")
