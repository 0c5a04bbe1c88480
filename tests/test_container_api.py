"""The Python API over states and processes: status, signals, limits, races, left-overs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_container import Maker, catches, commands, making, started
from needs import SLOWNESS, needs

import sandbox
from sandbox import Container, Containers, Pressure, Status
from sandbox.errors import (
    ContainerBusy,
    ContainerError,
    HostError,
    InvalidId,
    NoSuchContainer,
    NotSupported,
    SpecError,
    WrongStatus,
)
from sandbox.runtime.state import Place


@pytest.fixture
def root(runtime_dir: Path) -> Path:
    path = runtime_dir / "sandbox"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def maker(root: Path) -> Iterator[Maker]:
    with making(root) as made:
        yield made
    for name in os.listdir(root / "containers"):
        with contextlib.suppress(NoSuchContainer):
            Containers(root).load(name).destroy(force=True)


@pytest.fixture
def containers(root: Path) -> Containers:
    return Containers(root)


def wait_until(condition: object, seconds: float = 5) -> None:
    end = time.monotonic() + seconds * SLOWNESS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


# --- the names ---


def test_names_are_imported_when_they_are_used() -> None:
    code = "import sys, sandbox; assert not any(m.startswith('sandbox.') for m in sys.modules), sys.modules; sandbox.Container"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_is_there_and_no_other() -> None:
    for name in sandbox.__all__:
        assert getattr(sandbox, name) is not None
    assert set(sandbox.__all__) <= set(dir(sandbox))
    with pytest.raises(AttributeError, match="nonsense"):
        sandbox.nonsense  # noqa: B018


# --- ids ---


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "a@b", "a:b", "a\n", "a" * 256, "../x", "a\0b"])
def test_an_id_that_cannot_be_one_is_refused(containers: Containers, name: str) -> None:
    with pytest.raises(InvalidId):
        containers.load(name)


@pytest.mark.parametrize("name", ["_", "a+b", "a.b", "-a", "...", "0" * 64, "a" * 255])
def test_any_other_is_looked_for(containers: Containers, name: str) -> None:
    with pytest.raises(NoSuchContainer, match=r"^container does not exist$"):
        containers.load(name)


# --- status ---


@needs("userns")
def test_the_status_is_that_of_the_process(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, annotations={"org.a": "b"})
    container = containers.load("c")

    assert container.status() == Status.RUNNING
    assert container.pid == pid
    state = container.state()
    assert state.document() == {
        "ociVersion": "1.2.1",
        "id": "c",
        "pid": pid,
        "status": "running",
        "bundle": str(maker.root / "bundle"),
        "rootfs": str(maker.root / "bundle/rootfs"),
        "created": "2026-11-25T10:00:00.123456789Z",
        "annotations": {"org.a": "b"},
        "owner": "",
    }

    os.kill(pid, signal.SIGKILL)
    assert container.wait(5) == 137
    assert container.status() == Status.STOPPED
    assert container.state().pid == 0
    assert "annotations" in container.state().document()


@needs("userns")
def test_a_gate_makes_it_created(maker: Maker, containers: Containers) -> None:
    maker.record("c", pid=maker.process(), gate=True)
    assert containers.load("c").status() == Status.CREATED


@needs("userns")
def test_a_number_that_was_used_again_is_not_the_container(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, start=started(pid) - 1)
    container = containers.load("c")

    assert container.status() == Status.STOPPED
    with pytest.raises(WrongStatus, match=r"^container not running$"):
        container.signal(signal.SIGKILL)
    assert started(pid)  # it lives
    assert container.wait(0) is None
    container.destroy()
    assert started(pid)


def test_a_zombie_is_stopped(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("true",), namespaces=False)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    maker.record("c", pid=pid)
    assert containers.load("c").status() == Status.STOPPED


@needs("userns", "cgroup2")
def test_a_frozen_one_is_paused(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    cgroup = maker.cgroup(pid)
    maker.record("c", pid=pid, cgroup=cgroup)
    container = containers.load("c")

    container.pause()
    assert container.status() == Status.PAUSED
    assert "frozen 1" in (cgroup / "cgroup.events").read_text()
    with pytest.raises(WrongStatus, match=r"^container not running$"):
        container.pause()
    with pytest.raises(WrongStatus, match="not stopped: paused"):
        container.destroy()

    container.resume()
    assert container.status() == Status.RUNNING
    with pytest.raises(WrongStatus, match=r"^container not paused$"):
        container.resume()


@needs("userns", "cgroup2")
def test_a_created_one_is_paused_too(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid), gate=True)
    container = containers.load("c")
    container.pause()
    container.resume()
    assert container.status() == Status.CREATED


@needs("userns")
def test_without_a_cgroup_nothing_is_paused(maker: Maker, containers: Containers) -> None:
    maker.record("c", pid=maker.process())
    with pytest.raises(HostError, match="cgroups not configured"):
        containers.load("c").pause()


@needs("userns")
def test_what_does_not_stop_is_let_go_on(maker: Maker, containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file named as the events of a cgroup that never change stands for a process that cannot be frozen."""
    fake = maker.root / "fake"
    fake.mkdir()
    (fake / "cgroup.freeze").write_text("")
    (fake / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    from sandbox.kernel import cgroup

    with pytest.raises(HostError, match="was not frozen within"):
        cgroup.freeze(str(fake), frozen=True, seconds=0.05)
    assert (fake / "cgroup.freeze").read_text().endswith("0")


# --- signals ---


@needs("userns")
def test_a_signal_reaches_the_first_process(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done"))
    maker.record("c", pid=pid)
    container = containers.load("c")
    wait_until(lambda: catches(pid, signal.SIGUSR1))
    container.signal(signal.SIGUSR1)
    assert container.wait(20) == 9


@needs("userns")
@pytest.mark.parametrize("number", [999, 65, -1])
def test_a_number_that_is_no_signal_is_the_kernels_to_refuse(maker: Maker, containers: Containers, number: int) -> None:
    maker.record("c", pid=maker.process())
    with pytest.raises(ContainerError, match=r"^unable to signal init: invalid argument$"):
        containers.load("c").signal(number)


@needs("userns")
def test_processes_are_those_of_the_process_namespace_and_of_those_within(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("sh", "-c", "sleep 1000 & unshare --pid --fork --kill-child sleep 1000 & wait"))
    maker.record("c", pid=pid)
    container = containers.load("c")

    wait_until(lambda: commands(container) == ["sh", "sleep", "sleep", "unshare"])
    assert container.processes()[0] in container.processes()
    assert os.getpid() not in container.processes()


@needs("userns")
def test_all_are_signalled_without_a_cgroup(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("sh", "-c", "trap 'wait; exit 3' TERM; sleep 1000 & wait"))
    maker.record("c", pid=pid)
    container = containers.load("c")
    wait_until(lambda: commands(container) == ["sh", "sleep"])
    container.signal(signal.SIGTERM, all=True)
    assert container.wait(20) == 3
    container.signal(signal.SIGTERM, all=True)  # nobody is left, and that is all right


@needs("userns", "cgroup2")
def test_all_are_signalled_by_the_cgroup_in_the_hosts_process_namespace(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("sh", "-c", "sleep 1000 & sleep 1000 & wait"), namespaces=False)
    cgroup = maker.cgroup()
    (cgroup / "cgroup.procs").write_text(str(pid))
    wait_until(lambda: len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) == 2)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        (cgroup / "cgroup.procs").write_text(child)
    maker.record("c", pid=pid, cgroup=cgroup)
    container = containers.load("c")
    assert len(container.processes()) == 3

    container.signal(signal.SIGTERM, all=True)
    wait_until(lambda: "populated 0" in (cgroup / "cgroup.events").read_text())
    container.destroy()
    assert not cgroup.exists()


@needs("userns", "cgroup2")
def test_kill_for_the_first_takes_all_of_a_shared_process_namespace(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("sh", "-c", "sleep 1000 & wait"), namespaces=False)
    cgroup = maker.cgroup()
    wait_until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text())
    for each in (pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())):
        (cgroup / "cgroup.procs").write_text(str(each))
    maker.record("c", pid=pid, cgroup=cgroup)
    containers.load("c").signal(signal.SIGKILL)
    wait_until(lambda: "populated 0" in (cgroup / "cgroup.events").read_text())


# --- destroying ---


@needs("userns", "cgroup2")
def test_destroy_removes_the_cgroup_with_all_below_it(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("sh", "-c", "sleep 1000 & wait"))
    cgroup = maker.cgroup(pid)
    (cgroup / "a/b").mkdir(parents=True)
    path = maker.record("c", pid=pid, cgroup=cgroup)
    container = containers.load("c")

    with pytest.raises(WrongStatus, match=r"^cannot delete container c that is not stopped: running$"):
        container.destroy()
    assert path.exists()
    container.destroy(force=True)
    assert not path.exists()
    assert not cgroup.exists()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    with pytest.raises(NoSuchContainer):
        container.status()


@needs("userns", "cgroup2")
def test_destroy_ends_what_is_frozen(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid))
    container = containers.load("c")
    container.pause()
    container.destroy(force=True)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


@needs("userns")
def test_a_created_one_is_destroyed_without_force(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    path = maker.record("c", pid=pid, gate=True)
    containers.load("c").destroy()
    assert not path.exists()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


@needs("userns")
def test_a_with_statement_destroys(maker: Maker, containers: Containers) -> None:
    path = maker.record("c", pid=maker.process())
    with containers.load("c") as container:
        assert container.status() == Status.RUNNING
    assert not path.exists()
    path = maker.record("c", pid=maker.process())
    with containers.load("c") as container:
        container.destroy(force=True)
    assert not path.exists()


@needs("userns")
def test_an_object_stands_for_one_container_and_not_for_the_next_of_that_name(
    maker: Maker, containers: Containers
) -> None:
    maker.record("c", pid=maker.process())
    first = containers.load("c")
    first.destroy(force=True)
    pid = maker.process()
    maker.record("c", pid=pid, created="2026-11-25T10:00:01.000000000Z")

    for call in (first.status, lambda: first.destroy(force=True), lambda: first.signal(signal.SIGKILL)):
        with pytest.raises(NoSuchContainer):
            call()
    assert started(pid)


# --- left-overs ---


def test_what_a_killed_creation_left_is_not_there_and_removed(maker: Maker, containers: Containers) -> None:
    empty = maker.root / "containers/empty"
    empty.mkdir()
    half = maker.record("half")
    (half / "plan").write_bytes(b"x")
    (half / "state.json.new").write_text("{")

    assert containers.list() == ()
    assert not empty.exists()
    assert not half.exists()


@needs("cgroup2", "userns")
def test_a_left_over_goes_with_its_cgroup_and_what_lives_in_there(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    cgroup = maker.cgroup(pid)
    maker.record("half", cgroup=cgroup)
    with pytest.raises(NoSuchContainer):
        containers.load("half")
    assert not cgroup.exists()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_what_is_being_made_is_let_alone(maker: Maker, containers: Containers) -> None:
    half = maker.record("half")
    empty = maker.root / "containers/empty"
    empty.mkdir()
    with Place(str(maker.root / "containers"), "half") as one, Place(str(maker.root / "containers"), "empty") as other:
        one.lock()
        other.lock()
        assert containers.load("half").status() == Status.CREATING
        with pytest.raises(NoSuchContainer):
            containers.load("empty")
        assert half.exists()
        assert empty.exists()


def test_a_foreign_file_is_not_taken_for_a_container(maker: Maker, containers: Containers) -> None:
    (maker.root / "containers/file").write_text("x")
    (maker.root / "containers/link").symlink_to("/etc")
    assert containers.list() == ()
    with pytest.raises(ContainerError):
        containers.load("link")
    for name in ("file", "link"):
        os.unlink(maker.root / "containers" / name)


@pytest.mark.parametrize("content", ["", "{", '{"id":"c","pid":x', "\0" * 10, '{"id":"c"}'])
def test_a_damaged_record_is_an_error_in_one_line(maker: Maker, containers: Containers, content: str) -> None:
    path = maker.record("c")
    (path / "state.json").write_text(content)
    with pytest.raises(ContainerError, match=r"state.json: is damaged"):
        containers.load("c")
    assert containers.list() == ()
    (path / "state.json").unlink()


# --- races ---


@needs("userns")
def test_of_two_that_destroy_one_wins_and_the_other_is_told(maker: Maker, root: Path) -> None:
    for _ in range(10):
        maker.record("c", pid=maker.process())
        results: list[str] = []

        def destroy(results: list[str] = results) -> None:
            try:
                Containers(root).load("c").destroy(force=True)
                results.append("won")
            except NoSuchContainer as error:
                results.append(str(error))

        threads = [threading.Thread(target=destroy) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["container does not exist"] * 3 + ["won"]


@needs("userns")
def test_who_holds_the_lock_too_long_is_named(
    maker: Maker, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = maker.record("c", pid=maker.process())
    holder = os.open(path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with Place(str(path.parent), "c") as place, pytest.raises(ContainerBusy, match="being changed by another call"):
            place.lock(0.05)
        # What changes nothing does not wait.
        assert containers.load("c").status() == Status.RUNNING
    finally:
        os.close(holder)


@needs("userns")
def test_who_waited_for_the_lock_of_a_removed_container_is_told(maker: Maker, root: Path) -> None:
    path = maker.record("c", pid=maker.process())
    with Place(str(path.parent), "c") as place:
        Containers(root).load("c").destroy(force=True)
        with pytest.raises(NoSuchContainer):
            place.lock()


@needs("userns")
def test_states_and_destruction_at_once_never_give_half_a_state(maker: Maker, root: Path) -> None:
    maker.record("c", pid=maker.process())
    stop = threading.Event()
    problems: list[BaseException] = []

    def look() -> None:
        while not stop.is_set():
            try:
                state = Containers(root).load("c").state()
                assert state.status in (Status.RUNNING, Status.STOPPED)
            except NoSuchContainer:
                continue
            except BaseException as error:  # noqa: BLE001 (whatever it is, the test fails by it)
                problems.append(error)
                return

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        time.sleep(0.02)
        Containers(root).load("c").destroy(force=True)
        maker.record("c", pid=maker.process())
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems


# --- use and limits ---


@needs("userns", "cgroup2")
def test_stats_have_the_shape_of_runcs(maker: Maker, containers: Containers) -> None:
    pid = maker.process(("sh", "-c", "while :; do :; done"))
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid))
    container = containers.load("c")
    wait_until(lambda: container.stats()["cpu"]["usage"].get("total", 0) > 0)
    stats = container.stats()
    assert list(stats) == [
        "cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces",
    ]  # fmt: skip
    assert stats["pids"]["current"] >= 1
    assert stats["memory"]["usage"]["failcnt"] == 0
    assert stats["cpu"]["usage"]["total"] % 1000 == 0
    json.dumps(stats)


@needs("userns")
def test_without_a_cgroup_nothing_is_counted(maker: Maker, containers: Containers) -> None:
    maker.record("c", pid=maker.process())
    container = containers.load("c")
    for call in (container.stats, container.notify_oom, lambda: container.notify_memory_pressure(Pressure.LOW)):
        with pytest.raises(HostError, match="without a cgroup"):
            call()


@needs("userns", "cgroup2")
def test_a_lack_of_memory_is_waited_for_where_the_controller_is(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    cgroup = maker.cgroup(pid)
    maker.record("c", pid=pid, cgroup=cgroup)
    container = containers.load("c")
    if (cgroup / "memory.events").exists():
        with container.notify_oom() as watch:
            assert watch.wait(0.05) == 0
            container.signal(signal.SIGKILL)
            assert list(watch) == []
    else:
        with pytest.raises(HostError, match=r"memory\.events"):
            container.notify_oom()


@needs("userns", "cgroup2")
def test_pressure_is_waited_for_until_the_container_ends(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    cgroup = maker.cgroup(pid)
    maker.record("c", pid=pid, cgroup=cgroup)
    container = containers.load("c")
    with pytest.raises(ValueError, match="a level is one of"):
        container.notify_memory_pressure("nonsense")
    if not (cgroup / "memory.pressure").exists():
        with pytest.raises(HostError, match=r"memory\.pressure"):
            container.notify_memory_pressure(Pressure.CRITICAL)
        return
    with container.notify_memory_pressure(Pressure.CRITICAL) as watch:
        assert watch.wait(0.05) == 0
        container.signal(signal.SIGKILL)
        assert list(watch) == []


def test_events_are_counted_by_what_the_file_says(tmp_path: Path) -> None:
    """Files stand for those of a cgroup: poll(2) finds them readable at once."""
    from sandbox.runtime.events import oom

    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with oom(str(tmp_path)) as watch:
        assert watch.wait(0.01) == 0
        (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 5\n")
        assert watch.wait(0.2) in (0, 3)
        (tmp_path / "cgroup.events").write_text("populated 0\nfrozen 0\n")
        assert watch.wait() is None


# --- limits ---


@needs("userns", "cgroup2")
def test_limits_are_set_while_it_runs(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    cgroup = maker.cgroup(pid)
    if not (cgroup / "hugetlb.2MB.max").exists():
        pytest.skip("the controller hugetlb is not delegated here")
    maker.record("c", pid=pid, cgroup=cgroup)
    container = containers.load("c")
    container.set({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    assert (cgroup / "hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
    container.set({"unified": {"hugetlb.2MB.rsvd.max": str(2 << 20)}})
    assert (cgroup / "hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
    assert (cgroup / "hugetlb.2MB.rsvd.max").read_text() == f"{2 << 20}\n"


@needs("userns", "cgroup2")
def test_either_all_limits_are_in_force_or_none(maker: Maker, containers: Containers) -> None:
    pid = maker.process()
    cgroup = maker.cgroup(pid)
    maker.record("c", pid=pid, cgroup=cgroup)
    before = (cgroup / "cgroup.max.depth").read_text()
    with pytest.raises(HostError, match=r"hugetlb\.nosuch: No such file or directory") as caught:
        containers.load("c").set({"unified": {"cgroup.max.depth": "3", "hugetlb.nosuch": "1"}})
    assert caught.value.hint == "leave it out, or boot a kernel that has it"
    with pytest.raises(HostError, match="the controller nosuch is not delegated"):
        containers.load("c").set({"unified": {"cgroup.max.depth": "3", "nosuch.file": "1"}})
    assert (cgroup / "cgroup.max.depth").read_text() == before


@needs("userns", "cgroup2")
@pytest.mark.parametrize(
    "resources, said",
    [
        ({"cpu": {"realtimePeriod": 5}}, r"resources\.cpu\.realtimePeriod: "),
        ({"memory": {"limit": "5"}}, r"resources: memory\.limit: |memory\.limit"),
        ({"blockIO": {"weight": 5}}, r"resources\.blockIO\.weight: 5 is not 10 to 1000"),
        ({"memory": {"swap": 5, "limit": 10}}, r"resources\.memory\.swap: "),
    ],
)
def test_limits_that_make_no_sense_are_named(
    maker: Maker, containers: Containers, resources: dict[str, object], said: str
) -> None:
    pid = maker.process()
    maker.record("c", pid=pid, cgroup=maker.cgroup(pid))
    with pytest.raises(SpecError, match=said):
        containers.load("c").set(resources)


def test_half_a_change_does_not_undo_the_other_half(tmp_path: Path) -> None:
    """Files stand for those of a cgroup whose controllers need not be there."""
    from sandbox.runtime.limits import change

    (tmp_path / "cpu.max").write_text("50000 200000\n")
    change(str(tmp_path), {"cpu": {"quota": 10000}})
    assert (tmp_path / "cpu.max").read_text().startswith("10000 200000")
    (tmp_path / "cpu.max").write_text("50000 200000\n")
    change(str(tmp_path), {"cpu": {"period": 100000}})
    assert (tmp_path / "cpu.max").read_text().startswith("50000 100000")
    (tmp_path / "cpu.max").write_text("max 200000\n")
    change(str(tmp_path), {"cpu": {"period": 100000}})
    assert (tmp_path / "cpu.max").read_text().startswith("max 100000")

    for name in ("memory.swap.max", "memory.max", "memory.low"):
        (tmp_path / name).write_text("1000\n")
    change(str(tmp_path), {"memory": {"swap": 3000}})
    assert (tmp_path / "memory.swap.max").read_text().startswith("2000")
    assert (tmp_path / "memory.max").read_text() == "1000\n"
    (tmp_path / "memory.current").write_text("900\n")
    with pytest.raises(ContainerError, match="rejecting memory limit 800 < usage 900"):
        change(str(tmp_path), {"memory": {"limit": 800, "checkBeforeUpdate": True}})
    assert (tmp_path / "memory.max").read_text() == "1000\n"


# --- waiting ---


@needs("userns")
def test_waiting_has_an_end(maker: Maker, containers: Containers) -> None:
    maker.record("c", pid=maker.process())
    container = containers.load("c")
    with pytest.raises(TimeoutError, match=r"c has not ended within 0.05 s"):
        container.wait(0.05)


# --- later ---


@needs("userns")
def test_checkpoint_and_restore_say_that_they_are_not_there(maker: Maker, containers: Containers) -> None:
    maker.record("c", pid=maker.process())
    with pytest.raises(NotSupported, match="not supported yet"):
        containers.load("c").checkpoint("/tmp/x")
    with pytest.raises(NotSupported, match="not supported yet"):
        Container.restore("c", "/tmp/x")


# --- the root ---


def test_a_root_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(HostError, match="can be written by others"):
        Containers(tmp_path)


def test_a_root_is_made_where_it_is_absent(tmp_path: Path) -> None:
    containers = Containers(tmp_path / "a/b")
    assert containers.list() == ()
    assert oct((tmp_path / "a/b").stat().st_mode & 0o777) == "0o700"
