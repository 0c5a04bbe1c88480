"""`sandbox exec`: its options, which sandbox is meant, and who lies in wait for who comes in."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from bundle_world import make_bundle
from conftest import BINARY, Sandbox, descendants
from exec_world import ENGINE, RANGE, Running, project_root, running, terminal, wait_for
from needs import CHECKOUT, needs

from sandbox import Containers
from sandbox.errors import CommandFailed, ContainerError

__all__ = ["running", "terminal"]  # fixtures

pytestmark = needs("userns")


# --- options ---


def test_directory_variables_and_user(running: Running, sandbox: Sandbox) -> None:
    running()
    result = sandbox(
        *("exec", "--cwd", "/usr", "--env", "A=b c", "--env=HOME=/x", "--env", "LANG", "--env", "ABSENT", "one"),
        *("sh", "-c", 'pwd; echo "$A|$HOME|$LANG|${ABSENT-none}"'),
        env={"LANG": "xy"},
        check=True,
    )

    assert result.stdout == "/usr\nb c|/x|xy|none\n"


@needs("newuidmap")
def test_another_user_of_the_sandboxes(running: Running, sandbox: Sandbox) -> None:
    running(profile=RANGE)
    result = sandbox(
        "exec",
        "--user",
        "0:5",
        "--cwd",
        "/",
        "one",
        "sh",
        "-c",
        "id -u; id -g; grep CapEff /proc/self/status",
        check=True,
    )

    assert result.stdout == "0\n5\nCapEff:\t0000000000000000\n"


def test_detached_nobody_waits(running: Running, sandbox: Sandbox, project: Path) -> None:
    first = running()
    start = time.monotonic()
    assert sandbox("exec", "--detach", "one", "sh", "-c", "sleep 1; echo > late; sleep 1000").returncode == 0
    assert time.monotonic() - start < 10
    assert not (project / "late").exists()
    wait_for((project / "late").exists)
    # Of a process that comes from outside the status is its parent's there to collect: ours, as we are a subreaper.
    (late,) = [pid for pid in descendants(os.getpid()) if b"late" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    sandbox("kill", "one", check=True)
    os.waitpid(late, 0)
    first.wait(20)


def test_detached_a_command_that_is_not_there_is_told(running: Running, sandbox: Sandbox) -> None:
    running()
    result = sandbox("exec", "--detach", "one", "nosuchcommand")

    assert result.returncode == 127
    assert "nosuchcommand: command not found inside the sandbox" in result.stderr
    refused = sandbox("exec", "--detach", "--tty", "one", "true")
    assert refused.returncode == 125
    assert "a command that nobody waits for has no terminal" in refused.stderr


def test_detached_a_file_stays_its_output(running: Running, sandbox: Sandbox, project: Path) -> None:
    running()
    with open(project / "log", "w") as log:
        process = sandbox.popen(
            "exec", "-d", "one", "sh", "-c", "echo out; ls -l /proc/self/fd/0 >&2", stdout=log, stderr=log
        )
        assert process.wait(20) == 0
    os.waitpid(-1, 0)
    wait_for(lambda: (project / "log").read_text().count("\n") == 2)

    assert (project / "log").read_text().startswith("out\n")
    assert (project / "log").read_text().endswith("-> /dev/null\n")


@pytest.mark.parametrize(
    "words, message",
    [
        (("exec",), "no sandbox was given"),
        (("exec", "one"), "no command was given"),
        (("exec", "one", "--"), "no command was given"),
        (("exec", "--frob", "one", "true"), "--frob is not understood"),
        (("exec", "--cwd"), "--cwd needs a value"),
        (("exec", "--cwd", "usr", "one", "true"), "--cwd: usr is not an absolute path"),
        (("exec", "--cwd", "/nosuch", "one", "true"), "--cwd: cannot change to /nosuch"),
        (("exec", "--user", "root", "one", "true"), '"root" is not an id'),
        (("exec", "--user", "+1", "one", "true"), '"+1" is not an id'),
        (("exec", "--user", "4294967295", "one", "true"), '"4294967295" is not an id'),
        (("exec", "--user", "5", "one", "true"), "--user: there is no id 5 in this sandbox"),
        (("exec", "--env", "=x", "one", "true"), "--env: =x is no variable"),
        (("exec", "two", "true"), "no sandbox is called two"),
        (("exec", "../one", "true"), 'no sandbox can be called "../one"'),
        (("exec", "", "true"), 'no sandbox can be called ""'),
    ],
)
def test_what_cannot_be(running: Running, sandbox: Sandbox, words: tuple[str, ...], message: str) -> None:
    running()
    result = sandbox(*words)

    assert result.returncode == 125
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 3


# --- which ---


def test_a_beginning_is_enough_if_it_is_ones_alone(running: Running, sandbox: Sandbox, project: Path) -> None:
    running()
    other = sandbox.popen("run", "--name", "only", "sh", "-c", "echo > other; exec sleep 1000")
    wait_for((project / "other").exists)
    unique, plain = sandbox("exec", "onl", "true"), sandbox("exec", "--cwd", "/", "onl", "true")
    both, near, wrong = (sandbox("exec", name, "true") for name in ("on", "onny", "xyz"))
    sandbox("kill", "only", check=True)
    other.wait(20)

    assert unique.returncode == plain.returncode == 0
    assert '"on" could be one, only' in both.stderr
    assert "did you mean o" in near.stderr
    assert "there is one, only; see sandbox ps --all" in wrong.stderr
    assert both.returncode == near.returncode == wrong.returncode == 125


def test_none_runs(sandbox: Sandbox) -> None:
    result = sandbox("exec", "one", "true")

    assert result.returncode == 125
    assert result.stderr == "sandbox: no sandbox is called one\n  hint: none is running\n"


@needs("busybox", "new_proc")
def test_containers_of_the_engine_can_be_joined_too(sandbox: Sandbox, tmp_path: Path) -> None:
    with Containers(project_root(sandbox), program=str(ENGINE)).run("oci", make_bundle(tmp_path / "bundle")):
        plain = sandbox("exec", "oci", "sh", "-c", "echo $$; pwd")
        other = sandbox("exec", "--cwd", "/bin", "--env", "A=1", "oci", "sh", "-c", 'pwd; echo "$A"')

    assert plain.stdout.splitlines()[1] == "/"
    assert other.stdout == "/bin\n1\n"


def test_the_python_api_joins_a_sandbox(running: Running, sandbox: Sandbox) -> None:
    running()
    one = Containers(project_root(sandbox), program=str(ENGINE)).load("one")
    with one.exec(["sh", "-c", "echo $A; pwd; exit 3"], cwd="/usr", env={"A": "b"}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"b\n/usr\n"
        assert process.wait(20) == 3
    with one.exec(["sh", "-c", "exit 4"]) as process:
        assert process.wait(20) == 4
    with pytest.raises(CommandFailed):
        one.exec(["nosuchcommand"])
    with pytest.raises(ContainerError, match="what its profile gives"):
        one.exec(["true"], cap=["CAP_SYS_ADMIN"])


# --- attacks and races ---


def test_nobody_comes_in_before_the_walls_stand(sandbox: Sandbox, project: Path) -> None:
    """A process that joined before the pivot would have the host's tree for its root."""
    for _ in range(25):
        process = sandbox.popen("run", "--name", "one", "sleep", "0.4")
        results = []
        while process.poll() is None:
            results.append(
                sandbox(
                    "exec",
                    "one",
                    "sh",
                    "-c",
                    "ls -d /root /srv /home/*/ /boot; grep -c . /proc/self/mountinfo; grep Seccomp: /proc/self/status",
                )
            )
        for result in results:
            assert "/boot" not in result.stdout
            if result.returncode != 125 and result.returncode != 137:
                assert "Seccomp:\t2" in result.stdout, result


def test_to_join_what_ends_is_an_error_or_an_end(sandbox: Sandbox) -> None:
    """Whatever happens in between: a status and a message that fit, and nothing left (the fixtures look)."""
    said = set()
    for delay in range(30):
        process = sandbox.popen("run", "--name", "one", "sleep", "0.1")
        time.sleep(0.08 + delay * 0.002)
        result = sandbox("exec", "one", "sleep", "5")
        process.wait(20)
        assert result.returncode in (125, 137), result
        if result.returncode == 125:
            said.add(result.stderr.splitlines()[0])
    assert said <= {"sandbox: no sandbox is called one", "sandbox: one has ended"}, said


def test_many_join_at_once(running: Running, sandbox: Sandbox) -> None:
    running()
    processes = [sandbox.popen("exec", "one", "sh", "-c", f"echo {n}; exit {n}") for n in range(30)]

    assert [(process.communicate(timeout=60)[0], process.returncode) for process in processes] == [
        (f"{n}\n", n) for n in range(30)
    ]


@needs("gcc")
def test_who_lies_in_wait_inside_takes_nothing_of_who_comes_in(
    running: Running, sandbox: Sandbox, project: Path
) -> None:
    """In a user namespace of its own it has every capability, over what is in there."""
    lurker = project / "lurker"
    source = CHECKOUT / "tests/programs/lurker.c"
    subprocess.run(["gcc", "-O2", "-static", "-D_GNU_SOURCE", "-o", lurker, source], check=True)
    first = running(
        profile='extends = "build"\n[security]\nnested = true\n',
        command=("sh", "-c", "echo > up; exec unshare --user --map-root-user ./lurker 4 > seen"),
    )
    wait_for(lambda: "ready" in (project / "seen").read_text())
    while first.poll() is None:
        sandbox("exec", "one", "true")
    seen = (project / "seen").read_text().splitlines()[1:]

    assert not [line for line in seen if line.startswith("descriptor") or "sandbox" in line or "memfd" in line]


def test_the_image_of_who_joins_is_not_the_installed_one(running: Running, sandbox: Sandbox, project: Path) -> None:
    """A script whose interpreter is /proc/self/exe executes who executes it (CVE-2019-5736)."""
    running()
    (project / "trap").write_text("#!/proc/self/exe\n")
    (project / "trap").chmod(0o755)
    before = BINARY.stat()
    result = sandbox("exec", "one", "./trap")
    after = BINARY.stat()

    assert result.returncode != 0
    assert (before.st_mtime_ns, before.st_size, before.st_ino) == (after.st_mtime_ns, after.st_size, after.st_ino)


def test_a_plan_or_record_that_is_damaged_is_not_carried_out(running: Running, sandbox: Sandbox) -> None:
    running()
    directory = Path(project_root(sandbox)) / "containers/one"
    wait_for((directory / "plan").exists)
    plan = (directory / "plan").read_bytes()
    state = (directory / "state.json").read_bytes()
    (directory / "plan").unlink()
    (directory / "plan").write_bytes(plan[:-1] + bytes([plan[-1] ^ 1]))
    damaged = sandbox("exec", "one", "true")
    (directory / "plan").write_bytes(plan)
    (directory / "state.json").write_text("{")
    unreadable = sandbox("exec", "one", "true")
    (directory / "state.json").write_bytes(state)

    assert damaged.returncode == unreadable.returncode == 125
    assert "plan" in damaged.stderr
    assert f"{directory}/state.json: is damaged" in unreadable.stderr
    assert f"rm -r {directory}" in unreadable.stderr


def test_another_process_of_the_same_number_is_not_joined(sandbox: Sandbox, project: Path) -> None:
    assert sandbox("run", "true").returncode == 0
    directory = Path(project_root(sandbox)) / "containers/one"
    directory.mkdir(mode=0o700)
    (directory / "plan").write_bytes(b"")
    (directory / "state.json").write_text(
        f'{{"id":"one","pid":{os.getpid()},"started":1,"created":"x","cgroup":"","held":true,\n"x":0}}\n'
    )
    result = sandbox("exec", "one", "true")

    assert result.returncode == 125
    assert "no sandbox is called one" in result.stderr
    assert not directory.exists()


def test_threads_of_the_api_join_while_it_ends(sandbox: Sandbox, project: Path) -> None:
    process = sandbox.popen("run", "--name", "one", "sh", "-c", "echo > up; exec sleep 0.5")
    wait_for((project / "up").exists)
    one = Containers(project_root(sandbox), program=str(ENGINE)).load("one")
    ended: list[str] = []

    def join() -> None:
        try:
            while True:
                with one.exec(["true"], stderr=subprocess.DEVNULL) as joined:
                    joined.wait(20)
        except ContainerError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=join) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    process.wait(20)

    assert len(ended) == 3
