"""The Python API and sandbox-oci over containers that nsinit makes: from create to destroy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundle_world import make_bundle, write_config
from conftest import BINARY, Sandbox, descendants
from made_container import commands
from needs import CHECKOUT, SLOWNESS, needs

from sandbox import Container, Containers, Process, Status
from sandbox.errors import (
    CommandFailed,
    ContainerError,
    ContainerExists,
    HookFailed,
    NoSuchContainer,
    SandboxError,
    WrongStatus,
)

ENGINE = BINARY.with_name("sandbox-oci")

pytestmark = needs("userns", "busybox", "new_proc")


@pytest.fixture
def root(runtime_dir: Path) -> Iterator[Path]:
    path = runtime_dir / "sandbox"
    yield path
    if path.exists():
        for container in Containers(path):
            container.destroy(force=True)


@pytest.fixture
def containers(root: Path) -> Containers:
    return Containers(root, program=str(ENGINE))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle that sleeps."""
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def engine(runtime_dir: Path, bundle: Path) -> Iterator[Sandbox]:
    program = Sandbox(cwd=bundle, environment={"XDG_RUNTIME_DIR": str(runtime_dir)}, binary=ENGINE)
    yield program
    program.close()


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds * SLOWNESS
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def ours() -> set[int]:
    """Return our descendants that are programs of the sandbox."""
    found = set()
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if "sandbox" in os.readlink(f"/proc/{pid}/exe"):
                found.add(pid)
    return found


# --- the life ---


def test_a_life_from_create_to_destroy(containers: Containers, bundle: Path, tmp_path: Path) -> None:
    write_config(bundle, "sh", "-c", "echo hello; exit 3", annotations={"org.a": "b"})
    with open(tmp_path / "output", "wb") as output:
        container = containers.create("c", bundle, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    assert container.status() == Status.CREATED
    state = container.state()
    assert (state.id, state.status, state.bundle, state.annotations) == ("c", "created", str(bundle), {"org.a": "b"})
    assert state.rootfs == f"{bundle}/rootfs"
    assert container.processes() == [state.pid] == [container.pid]
    assert "c" in containers
    assert [each.id for each in containers] == ["c"]
    assert (tmp_path / "output").read_text() == ""

    container.start()
    assert container.wait(10) == 3
    assert (tmp_path / "output").read_text() == "hello\n"
    assert container.status() == Status.STOPPED
    with pytest.raises(WrongStatus, match="container that has stopped"):
        container.start()
    container.destroy()
    assert containers.list() == ()
    with pytest.raises(NoSuchContainer):
        container.state()


def test_nothing_of_ours_stays_behind(containers: Containers, bundle: Path) -> None:
    with containers.run("c", bundle):
        assert ours() == set()


def test_a_with_statement_ends_it(containers: Containers, bundle: Path) -> None:
    with containers.run("c", bundle) as container:
        pid = container.pid
        assert container.status() == Status.RUNNING
        with pytest.raises(WrongStatus, match="already running"):
            container.start()
    assert containers.list() == ()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_class_methods_do_without_a_factory(root: Path, bundle: Path) -> None:
    with Container.run("c", bundle, root=root, program=str(ENGINE)) as container:
        again = Container.load("c", root=root)
        assert again.pid == container.pid
        assert again.config().process is not None
        assert again.config().process.args == ["sleep", "1000"]
    with Container.create("c", bundle, root=root, program=str(ENGINE)) as container:
        assert container.status() == Status.CREATED


def test_the_configuration_is_the_one_that_it_was_made_from(containers: Containers, bundle: Path) -> None:
    with containers.create("c", bundle) as container:
        write_config(bundle, "false")
        config = container.config()
        assert config.process is not None
        assert config.process.args == ["sleep", "1000"]


def test_streams_are_the_callers_choice(containers: Containers, bundle: Path) -> None:
    write_config(bundle, "sh", "-c", "cat; echo error >&2")
    reader, writer = os.pipe()
    ahead, behind = os.pipe()
    os.write(behind, b"input\n")
    os.close(behind)
    with containers.run("c", bundle, stdin=ahead, stdout=writer, stderr=writer) as container:
        os.close(writer)
        os.close(ahead)
        assert container.wait(10) == 0
    with open(reader, "rb") as file:
        assert file.read() == b"input\nerror\n"


def test_a_pid_file_is_the_callers(containers: Containers, bundle: Path, tmp_path: Path) -> None:
    with containers.create("c", bundle, pid_file=tmp_path / "pid") as container:
        assert (tmp_path / "pid").read_text() == str(container.pid)


# --- what goes wrong ---


@pytest.mark.parametrize(
    "command, said",
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("/nosuch", 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        ("/etc", 'exec: "/etc": permission denied'),
    ],
)
def test_a_command_that_is_not_there(containers: Containers, bundle: Path, command: str, said: str) -> None:
    write_config(bundle, command)
    with pytest.raises(CommandFailed) as caught:
        containers.create("c", bundle)
    assert str(caught.value) == f"unable to start container process: {said}"
    assert containers.list() == ()


def test_failures_are_told_once(containers: Containers, bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The exception says it; standard error is the command's."""
    write_config(bundle, "nosuch")
    with pytest.raises(CommandFailed):
        containers.create("c", bundle)
    (bundle / "config.json").write_text("{")
    with pytest.raises(ContainerError):
        containers.create("c", bundle)
    with pytest.raises(ContainerError, match=r"chdir /nosuch: no such file or directory"):
        containers.create("c", "/nosuch")
    assert capfd.readouterr() == ("", "")


def test_an_id_is_taken_once(containers: Containers, bundle: Path) -> None:
    with containers.create("c", bundle) as container:
        with pytest.raises(ContainerExists, match=r"^container with given ID already exists$"):
            containers.create("c", bundle)
        assert container.status() == Status.CREATED


def test_a_hook_that_fails(containers: Containers, bundle: Path) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo oops >&2; exit 3"]}
    for stage, said in (
        ("createRuntime", "error running createRuntime hook #0: exit status 3, stdout: , stderr: oops"),
        ("poststart", "error running poststart hook #0: exit status 3, stdout: , stderr: oops"),
    ):
        write_config(bundle, hooks={stage: [hook]})
        with pytest.raises(HookFailed) as caught:
            containers.run("c", bundle)
        assert said in str(caught.value)
        assert containers.list() == ()


def test_poststop_hooks_are_run_by_destroy(containers: Containers, bundle: Path, tmp_path: Path) -> None:
    hooks = [
        {"path": "/bin/sh", "args": ["sh", "-c", f"cat >{tmp_path}/state; echo $A >>{tmp_path}/a"], "env": ["A=b"]},
        {"path": "/bin/sh", "args": ["sh", "-c", "echo oops >&2; exit 3"]},
        {"path": "/bin/sleep", "args": ["sleep", "10"], "timeout": 1},
        {"path": "/nosuch"},
        {"path": "/bin/touch", "args": ["touch", f"{tmp_path}/last"]},
    ]
    write_config(bundle, hooks={"poststop": hooks}, annotations={"org.a": "b"})
    container = containers.run("c", bundle)
    said: list[str] = []
    container.destroy(force=True, warn=said.append)
    assert said == [
        "error running poststop hook #1: exit status 3, stdout: , stderr: oops",
        "error running poststop hook #2: hook ran past specified timeout of 1s",
        "error running poststop hook #3: fork/exec /nosuch: no such file or directory",
    ]
    state = json.loads((tmp_path / "state").read_text())
    assert (state["id"], state["status"], state["bundle"]) == ("c", "stopped", str(bundle))
    assert state["annotations"] == {"org.a": "b"}
    assert (tmp_path / "a").read_text() == "b\n"
    assert (tmp_path / "last").exists()

    container = containers.create("c", bundle)
    with pytest.warns(RuntimeWarning) as caught:
        container.destroy()
    assert len(caught) == 3


# --- further processes ---


def test_exec(containers: Containers, bundle: Path) -> None:
    with containers.run("c", bundle) as container:
        process = container.exec(["sh", "-c", "cat; exit 7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert isinstance(process, Process)
        with process:
            assert process.pid in container.processes()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"hello\n")
            process.stdin.close()
            assert process.stdout.read() == b"hello\n"
            assert process.wait(10) == 7
        assert container.processes() == [container.pid]


def test_exec_is_signalled_and_waited_for(containers: Containers, bundle: Path) -> None:
    with containers.run("c", bundle) as container:
        with container.exec(["sleep", "1000"]) as process:
            with pytest.raises(TimeoutError):
                process.wait(0.05)
            process.signal(signal.SIGKILL)
            assert process.wait(10) == 137
        assert container.status() == Status.RUNNING


def test_exec_with_options(containers: Containers, bundle: Path) -> None:
    with containers.run("c", bundle) as container:
        process = container.exec(
            ["sh", "-c", "pwd; echo $A; grep NoNewPrivs /proc/self/status"],
            cwd="/bin",
            env={"A": "b c"},
            user="0:0",
            no_new_privs=True,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.read() == b"/bin\nb c\nNoNewPrivs:\t1\n"
        document = {"args": ["env"], "cwd": "/", "env": ["PATH=/bin", "X=y"], "user": {"uid": 0, "gid": 0}}
        with container.exec(process=document, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert b"X=y\n" in process.stdout.read()


def test_exec_that_fails(containers: Containers, bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with containers.run("c", bundle) as container:
        with pytest.raises(CommandFailed, match=r'exec: "nosuch": executable file not found in \$PATH'):
            container.exec(["nosuch"])
        with pytest.raises(ContainerError):
            container.exec([])
        container.signal(signal.SIGKILL)
        container.wait(10)
        with pytest.raises(WrongStatus, match="cannot exec in a stopped container"):
            container.exec(["true"])
    assert capfd.readouterr() == ("", "")
    assert ours() == set()


@needs("cgroup2")
@needs("gcc")
def test_whoever_comes_in_cannot_be_looked_at(containers: Containers, bundle: Path) -> None:
    """runc CVE-2016-9962: in between, its descriptors lead outside; the container's root may trace what is dumpable."""
    lurker = bundle / "rootfs/bin/lurker"
    source = CHECKOUT / "tests/programs/lurker.c"
    subprocess.run(["gcc", "-O2", "-static", "-D_GNU_SOURCE", "-o", lurker, source], check=True)
    every = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"]
    sets = dict.fromkeys(("bounding", "effective", "permitted"), every)
    write_config(bundle, "lurker", "600", process__capabilities=sets)
    said = bundle / "said"
    with said.open("wb") as file, containers.run("lair", bundle, stdout=file) as container:
        wait_until(lambda: said.read_text().startswith("ready\n"))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            container.exec(["true"]).wait()

    assert said.read_text() == "ready\n"


def test_exec_in_a_paused_container(containers: Containers, bundle: Path) -> None:
    with containers.run("c", bundle) as container:
        container.pause()
        assert container.status() == Status.PAUSED
        with pytest.raises(WrongStatus, match="cannot exec in a paused container"):
            container.exec(["true"])
        container.resume()
        with container.exec(["true"]) as process:
            assert process.wait(10) == 0


# --- all processes, limits, statistics ---


def test_all_are_signalled(containers: Containers, bundle: Path) -> None:
    write_config(bundle, "sh", "-c", "trap 'wait; exit 5' TERM; sleep 1000 & sleep 1000 & wait")
    with containers.run("c", bundle) as container:
        wait_until(lambda: commands(container) == ["sh", "sleep", "sleep"])
        container.signal(signal.SIGTERM, all=True)
        assert container.wait(10) == 5


@needs("cgroup2")
def test_statistics_and_limits(containers: Containers, bundle: Path) -> None:
    with containers.run("c", bundle) as container:
        assert container.stats()["pids"]["current"] == 1
        container.set({"unified": {"cgroup.max.depth": "3"}})
        with pytest.raises(SandboxError):
            container.set({"unified": {"nosuch.file": "3"}})


# --- races ---


def test_of_many_that_create_one_wins(root: Path, bundle: Path) -> None:
    results: list[str] = []

    def create() -> None:
        try:
            Container.create("c", bundle, root=root, program=str(ENGINE), stdin=subprocess.DEVNULL)
            results.append("won")
        except ContainerExists as error:
            results.append(str(error))

    Containers(root)
    for _ in range(3):
        results.clear()
        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["container with given ID already exists"] * 3 + ["won"]
        container = Container.load("c", root=root)
        assert container.status() == Status.CREATED
        container.destroy()


@needs("strace")
def test_who_made_a_directory_that_another_took_away_does_not_take_a_thirds_for_it(
    containers: Containers, bundle: Path, engine: Sandbox
) -> None:
    with containers.create("c", bundle):
        pass  # the next one needs no interpreter
    slowly = ["strace", "-o", "/dev/null", "-e", "trace=mkdirat", "-e", "inject=mkdirat:delay_exit=4000000"]
    with subprocess.Popen(
        [*slowly, ENGINE, "--root", containers.root, "create", "c"],
        cwd=bundle, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as first:  # fmt: skip
        wait_until(lambda: os.path.exists(f"{containers.root}/containers/c"))
        assert containers.list() == ()
        assert not os.path.exists(f"{containers.root}/containers/c")
        with containers.create("c", bundle) as container:
            assert "already exists" in first.communicate(timeout=60)[1]
            assert container.status() == Status.CREATED


def test_of_two_that_start_one_wins(root: Path, bundle: Path) -> None:
    results: list[str] = []

    def start() -> None:
        try:
            Container.load("c", root=root, program=str(ENGINE)).start()
            results.append("won")
        except WrongStatus as error:
            results.append(str(error))

    with Container.create("c", bundle, root=root, program=str(ENGINE)) as container:
        threads = [threading.Thread(target=start) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["cannot start an already running container"] * 2 + ["won"]
        assert container.status() == Status.RUNNING


def test_starting_and_destroying_at_once_ends_in_one_or_the_other(root: Path, bundle: Path) -> None:
    for _ in range(5):
        container = Container.create("c", bundle, root=root, program=str(ENGINE))
        problems: list[str] = []

        def start(container: Container = container, problems: list[str] = problems) -> None:
            try:
                container.start()
            except (NoSuchContainer, WrongStatus):
                pass
            except ContainerError as error:
                problems.append(str(error))

        thread = threading.Thread(target=start)
        thread.start()
        Container.load("c", root=root).destroy(force=True)
        thread.join()
        assert not problems
        assert Containers(root).list() == ()


@pytest.mark.parametrize("pause", [0, 0.002, 0.005, 0.01, 0.02, 0.05])
def test_a_create_that_is_killed_leaves_nothing_that_the_next_does_not_clean(
    containers: Containers, bundle: Path, engine: Sandbox, pause: float
) -> None:
    process = engine.popen("--root", containers.root, "create", "c")
    time.sleep(pause)
    process.kill()
    process.wait()
    # Not there, or created as a whole.
    with contextlib.suppress(NoSuchContainer):
        container = containers.load("c")
        wait_until(lambda: container.status() != Status.CREATING)
        container.destroy(force=True)
    with containers.create("c", bundle) as container:
        assert container.status() == Status.CREATED


# Who reads the state on stdin kills the runtime; something lives on in the cgroup, as the first process may for a moment.
KILLER = """
state=$(cat); pid=${state#*\\"pid\\": }
sleep 60 </dev/null >/dev/null 2>&1 &
echo $! >"/sys/fs/cgroup$(sed -n s/^0:://p "/proc/${pid%%,*}/cgroup")/cgroup.procs"
kill -9 $PPID
"""


@needs("cgroup2")
@pytest.mark.parametrize("how", ["anew", "load"])
def test_what_a_killed_create_has_left_in_a_cgroup_is_no_hindrance(
    containers: Containers, bundle: Path, engine: Sandbox, how: str
) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", KILLER]}
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps({**config, "hooks": {"createRuntime": [hook]}}))
    assert engine.popen("--root", containers.root, "create", "c").wait(60) == -signal.SIGKILL
    (bundle / "config.json").write_text(json.dumps(config))

    if how == "load":
        with pytest.raises(NoSuchContainer):
            containers.load("c")
    with containers.create("c", bundle) as container:
        assert container.processes() == [container.pid]


# --- the command line over it ---


def leave(engine: Sandbox, *words: str) -> None:
    """Call what leaves a container behind, which would hold the pipes of a call that is listened to."""
    process = engine.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.wait(60) == 0


def test_odd_spellings_are_done_as_the_plain_ones(engine: Sandbox, bundle: Path) -> None:
    leave(engine, "-debug=false", "run", "c", "-d", "-bundle=.")
    assert json.loads(engine("state", "c", check=True).stdout)["status"] == "running"
    shown = engine("exec", "-e", "A=1", "-cwd=/bin", "c", "sh", "-c", "pwd; echo $A", check=True)
    assert shown.stdout == "/bin\n1\n"
    result = engine("create", "-b", ".", "c")
    assert result.returncode == 1
    assert "container with given ID already exists" in result.stderr
    engine("delete", "c", "-force=1", check=True)
    leave(engine, "create", "c", "--bundle=.")
    engine("--debug", "start", "c", check=True)
    engine("delete", "--force", "--", "c", check=True)


def test_a_root_whose_parents_are_missing_is_made(engine: Sandbox, tmp_path: Path) -> None:
    root = str(tmp_path / "a/b/root")
    leave(engine, "--root", root, "run", "-d", "c")
    assert engine("--root", root, "list", "-q", check=True).stdout == "c\n"
    assert engine("list", "-q", check=True).stdout == ""
    engine("--root", root, "delete", "--force", "c", check=True)


def test_sockets_and_terminals_go_together(engine: Sandbox, bundle: Path, tmp_path: Path) -> None:
    held = "cannot use console socket if sandbox-oci will not detach or allocate tty"
    lost = "cannot allocate tty if sandbox-oci will detach without setting console socket"
    socket = str(tmp_path / "socket")
    assert held in engine("create", "--console-socket", socket, "c").stderr
    assert held in engine("run", "--console-socket", socket, "c").stderr
    write_config(bundle, process__terminal=True)
    assert lost in engine("create", "c").stderr
    assert lost in engine("run", "-d", "c").stderr
    assert engine("list", "-q", check=True).stdout == ""
    write_config(bundle)
    leave(engine, "run", "-d", "c")
    assert lost in engine("exec", "-d", "-t", "c", "true").stderr
    assert held in engine("exec", "-t", "--console-socket", socket, "c", "true").stderr
    engine("delete", "--force", "c", check=True)


def test_ps_of_a_container(engine: Sandbox, bundle: Path) -> None:
    leave(engine, "run", "-d", "c")
    pid = json.loads(engine("state", "c", check=True).stdout)["pid"]
    assert json.loads(engine("ps", "-f", "json", "c", check=True).stdout) == [pid]
    engine("delete", "--force", "c", check=True)


@needs("cgroup2")
def test_events_until_the_end(engine: Sandbox, bundle: Path) -> None:
    leave(engine, "run", "-d", "c")
    process = engine.popen("events", "--interval", "100ms", "c")
    assert process.stdout is not None
    for _ in range(2):
        assert json.loads(process.stdout.readline())["type"] == "stats"
    engine("kill", "c", "KILL", check=True)
    rest, _ = process.communicate(timeout=20)
    assert {json.loads(line)["type"] for line in rest.splitlines()} <= {"stats"}
    assert process.returncode == 0
    engine("delete", "c", check=True)


def test_the_example(tmp_path: Path) -> None:
    program = [str(BINARY.with_name("python3")), str(CHECKOUT / "examples/watch_container.py")]
    result = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "counted to 400000\n"
    assert "watched runs as process" in result.stderr
    assert "it ended with status 0" in result.stderr
    result = subprocess.run([*program, "sh", "-c", "exit 7"], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 7, result.stderr
