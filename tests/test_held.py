"""A running `sandbox run` in the state tree: a container like any other, but held by its monitor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox
from made_container import making
from needs import SLOWNESS, needs

from sandbox import Containers, Status
from sandbox.errors import ContainerExists, NoSuchContainer, NotSupported, WrongStatus
from sandbox.runtime.state import Place

pytestmark = needs("userns")

ENGINE = BINARY.with_name("sandbox-oci")
SLEEP = ("sh", "-c", "echo up > ready; exec sleep 60")


def wait_for(path: Path, seconds: float = 20) -> None:
    end = time.monotonic() + seconds * SLOWNESS
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


@pytest.fixture
def containers(runtime_dir: Path) -> Containers:
    return Containers(runtime_dir / "sandbox", program=str(ENGINE))


def start(sandbox: Sandbox, project: Path, name: str, *words: str) -> subprocess.Popen[str]:
    process = sandbox.popen("run", "--name", name, *(words or SLEEP))
    wait_for(project / "ready")
    (project / "ready").unlink()
    return process


def stat_of(path: Path) -> os.stat_result:
    wait_for(path)  # it is put there while the command starts
    return path.stat()


def test_what_is_written_down_of_a_sandbox(sandbox: Sandbox, project: Path, runtime_dir: Path) -> None:
    process = start(sandbox, project, "one", "sh", "-c", 'echo up > ready; : "\\ü\t"; exec sleep 60', "a\nb")
    directory = runtime_dir / "sandbox/containers/one"
    text = (directory / "state.json").read_text()
    document = json.loads(text)
    process.terminate()
    process.wait(20)

    assert text.partition("\n")[0].endswith('"held":true,')
    assert document["args"] == ["sh", "-c", 'echo up > ready; : "\\ü\t"; exec sleep 60', "a\nb"]
    assert document["id"] == "one"
    assert document["bundle"] == ""
    assert document["cwd"] == str(project)
    assert json.loads(document["annotations"]["dev.sandbox.profiles"]) == ["build"]
    assert not directory.exists()


def test_of_a_long_command_the_beginning_is_written_down(sandbox: Sandbox, project: Path, runtime_dir: Path) -> None:
    process = start(sandbox, project, "one", *SLEEP, "ü" * 5000, *["x" * 100] * 100)
    document = json.loads((runtime_dir / "sandbox/containers/one/state.json").read_text())
    process.terminate()
    process.wait(20)

    room = 4096 - sum(len(word) + 1 for word in SLEEP)
    assert document["args"] == [*SLEEP, "ü" * (room // 2) + "…"]


def test_what_is_written_down_is_utf_8_whatever_the_command(sandbox: Sandbox, project: Path, runtime_dir: Path) -> None:
    process = start(sandbox, project, "one", *SLEEP, os.fsdecode(b"\xff\xc3"))
    document = json.loads((runtime_dir / "sandbox/containers/one/state.json").read_bytes())
    process.terminate()
    process.wait(20)

    assert document["args"] == [*SLEEP, "\ufffd\ufffd"]


def test_the_plan_is_the_kept_one_and_a_copy_where_none_is_kept(
    sandbox: Sandbox, project: Path, runtime_dir: Path
) -> None:
    process = start(sandbox, project, "kept")
    kept = stat_of(runtime_dir / "sandbox/containers/kept/plan")
    process.terminate()
    process.wait(20)
    plans = runtime_dir / "sandbox/plans"
    plans.chmod(0o500)
    try:
        process = start(sandbox, project, "copied")
        copied = stat_of(runtime_dir / "sandbox/containers/copied/plan")
    finally:
        plans.chmod(0o700)
    process.terminate()
    process.wait(20)

    assert any(path.stat().st_ino == kept.st_ino for path in plans.iterdir())
    assert copied.st_nlink == 1
    assert copied.st_size


def test_a_sandbox_is_a_container_to_the_api(sandbox: Sandbox, project: Path, containers: Containers) -> None:
    process = start(sandbox, project, "one")
    (one,) = containers.list()

    assert one.id == "one"
    assert one.status() == Status.RUNNING
    assert one.pid in one.processes()
    assert len(one.processes()) == 2
    assert one.state().bundle == ""
    with pytest.raises(NotSupported):
        one.config()
    with pytest.raises(WrongStatus):
        one.destroy()
    one.signal(signal.SIGTERM)
    assert one.wait(20) == 143
    process.wait(20)  # whose child it is; its status has been collected
    assert containers.list() == ()
    with pytest.raises(NoSuchContainer):
        one.status()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("everyone", [False, True])
def test_a_signal_is_for_the_command(
    sandbox: Sandbox,
    project: Path,
    containers: Containers,
    number: int,
    everyone: bool,
) -> None:
    process = start(sandbox, project, "one")
    containers.load("one").signal(number, all=everyone)

    assert process.wait(20) == 128 + number


def test_a_signal_reaches_a_command_without_process_1(sandbox: Sandbox, project: Path, containers: Containers) -> None:
    (project / "p.toml").write_text('extends = "build"\n[process]\ninit = false\n')
    process = sandbox.popen(
        "run",
        "-p",
        "./p.toml",
        "--name",
        "one",
        "sh",
        "-c",
        "trap 'exit 9' TERM; echo > ready; while :; do sleep 0.1; done",
    )
    wait_for(project / "ready")
    containers.load("one").signal(signal.SIGTERM)

    assert process.wait(20) == 9


def test_to_destroy_a_sandbox_ends_it(sandbox: Sandbox, project: Path, containers: Containers) -> None:
    process = start(sandbox, project, "one")
    with containers.load("one") as one:
        assert one.status() == Status.RUNNING

    assert process.wait(20) == 137
    assert "one" not in containers


@pytest.mark.leaves("containers")
def test_a_sandbox_whose_monitor_was_killed_is_no_more(
    sandbox: Sandbox, project: Path, runtime_dir: Path, containers: Containers
) -> None:
    process = start(sandbox, project, "one")
    one = containers.load("one")
    process.kill()
    process.wait(10)
    end = time.monotonic() + 10
    while "one" in containers and time.monotonic() < end:
        time.sleep(0.01)

    assert containers.list() == ()
    assert not (runtime_dir / "sandbox/containers/one").exists()
    with pytest.raises(NoSuchContainer):
        one.status()


def test_what_killed_monitors_have_left_is_removed_by_those_who_come_next(sandbox: Sandbox, runtime_dir: Path) -> None:
    assert sandbox("run", "true").returncode == 0
    parent = runtime_dir / "sandbox/containers"
    for number in range(40):
        (parent / f"left{number}").mkdir(mode=0o700)
        (parent / f"left{number}/state.json").write_text(
            f'{{"id":"left{number}","pid":4194304,"started":1,"created":"x","cgroup":"","held":true,\n"x":0}}\n'
        )
    for _ in range(200):
        assert sandbox("run", "true").returncode == 0
        if not list(parent.iterdir()):
            break
    assert not list(parent.iterdir())


def test_a_container_that_nobody_holds_is_not_taken_for_a_left_over(
    sandbox: Sandbox, runtime_dir: Path, containers: Containers
) -> None:
    with making(runtime_dir / "sandbox") as maker:
        path = maker.record("mine", pid=maker.process(namespaces=False))
        ended = maker.record("ended", pid=4194304, start=1)
        for _ in range(3):
            assert sandbox("run", "true").returncode == 0
        for name in ("mine", "ended"):
            result = sandbox("run", "--name", name, "true")
            assert result.returncode == 125
            assert f"a sandbox named {name} is running" in result.stderr
        assert {container.id for container in containers} == {"mine", "ended"}
        for directory in (path, ended):
            (directory / "state.json").unlink()
            directory.rmdir()


def test_an_engine_cannot_take_the_name_of_a_sandbox(
    sandbox: Sandbox, project: Path, containers: Containers, tmp_path: Path
) -> None:
    process = start(sandbox, project, "one")
    (tmp_path / "rootfs").mkdir()
    subprocess.run(["runc", "spec", "--rootless"], cwd=tmp_path, check=True)
    with pytest.raises(ContainerExists):
        containers.create("one", tmp_path)
    engine = Sandbox(cwd=project, environment=sandbox.environment, binary=ENGINE)
    state = json.loads(engine("state", "one", check=True).stdout)
    refused = engine("delete", "one")
    assert engine("kill", "one", "TERM", check=True).stderr == ""

    assert state["status"] == "running"
    assert "cannot delete container one that is not stopped" in refused.stderr
    assert process.wait(20) == 143


def test_of_two_that_want_one_name_one_gets_it(sandbox: Sandbox, runtime_dir: Path) -> None:
    for _ in range(10):
        running = [sandbox.popen("run", "--name", "one", "cat", stdin=subprocess.PIPE) for _ in range(4)]
        end = time.monotonic() + 60
        while sum(process.poll() is not None for process in running) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        results = [(process.communicate(timeout=60)[1], process.returncode) for process in running]

        assert sorted(status for _, status in results) == [0, 125, 125, 125], results
        assert all("a sandbox named one is running" in stderr for stderr, status in results if status)
        assert not list((runtime_dir / "sandbox/containers").iterdir())


def test_who_looks_at_sandboxes_does_not_keep_one_from_its_name(
    sandbox: Sandbox, containers: Containers, runtime_dir: Path
) -> None:
    assert sandbox("run", "true").returncode == 0
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            containers.list()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(30):
            result = sandbox("run", "--name", "one", "true")
            assert result.returncode == 0, result.stderr
    finally:
        stop.set()
        thread.join()


def test_the_lock_of_a_running_sandbox_is_its_monitors(
    sandbox: Sandbox, project: Path, runtime_dir: Path, containers: Containers
) -> None:
    process = start(sandbox, project, "one")
    with Place(str(runtime_dir / "sandbox/containers"), "one") as place:
        assert not place.is_left_over()
    containers.load("one").signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert os.listdir(runtime_dir / "sandbox/containers") == []
