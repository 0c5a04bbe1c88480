"""`sandbox exec`: a further command in a sandbox that runs, behind the same walls."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundle_world import make_bundle
from conftest import BINARY, Sandbox, descendants
from needs import CHECKOUT, SLOWNESS, needs
from test_terminal import Terminal

from sandbox import Containers
from sandbox.errors import CommandFailed, ContainerError

pytestmark = needs("userns")

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


# --- where and who ---


# What holds for a process, as it sees itself; of the lists of descriptors and of mounts what does not differ by the moment.
LOOK = r"""
id; umask; pwd; hostname; ulimit -a; readlink /proc/self/ns/*; env | sort | grep -v -e ^_= -e ^SHLVL= -e ^PWD= -e ^OLDPWD=
grep -e ^Cap -e ^NoNewPrivs -e ^Seccomp -e ^Groups -e ^Umask -e ^SigIgn -e ^SigBlk /proc/self/status
cat /proc/self/oom_score_adj /proc/self/uid_map /proc/self/gid_map /proc/self/mountinfo /proc/self/setgroups; nice
ls /proc/self/fd | wc -l; cat /proc/self/attr/current 2>/dev/null; ls -d /* ; stat -c %i / /proc/self/root/.
"""


@pytest.mark.parametrize(
    "profile",
    [
        "",
        BARE,
        pytest.param(RANGE, marks=needs("newuidmap")),
        pytest.param(RANGE + "uid = 0\ngid = 0\n", marks=needs("newuidmap")),
        'extends = "build"\n[process]\numask = "027"\nnice = 5\n[limits]\nrlimits = { nofile = 99, core = 0 }\n',
        'extends = "build"\n[environment]\nkeep = ["SEEN"]\nset = { OWN = "x" }\n',
        'extends = "build"\n[network]\nmode = "host"\n',
        'extends = "build"\n[security]\nno_new_privs = true\nseccomp = "strict"\n',
        'extends = "build"\n[security]\nseccomp = "off"\n',
    ],
)
def test_it_is_as_the_command_of_the_sandbox_is(
    running: Running, sandbox: Sandbox, project: Path, profile: str
) -> None:
    variables = {"SEEN": "1", "UNSEEN": "2", "TZ": "UTC"}
    os.environ.update(variables)
    sandbox.environment.update(variables)
    try:
        running(profile=profile, command=("sh", "-c", f"({LOOK}) > own 2>&1; echo > up; exec sleep 1000"))
        joined = sandbox("exec", "one", "--", "sh", "-c", f"({LOOK}) > joined 2>&1", check=True)
    finally:
        for name in variables:
            del os.environ[name]

    assert joined.stdout == joined.stderr == ""
    assert (project / "joined").read_text() == (project / "own").read_text()
    assert "UNSEEN" not in (project / "joined").read_text()


def test_the_filter_is_in_force(running: Running, sandbox: Sandbox) -> None:
    running()
    result = sandbox("exec", "one", "unshare", "--user", "true")

    assert result.returncode != 0
    assert "Operation not permitted" in result.stderr or "Function not implemented" in result.stderr


def test_from_a_directory_that_the_sandbox_does_not_know(
    running: Running, sandbox: Sandbox, project: Path, home: Path
) -> None:
    running()
    (home / "elsewhere").mkdir()
    result = sandbox("exec", "one", "sh", "-c", "pwd; ls -d ../elsewhere", cwd=home / "elsewhere")

    assert result.stdout == f"{project}\n"
    assert "No such file" in result.stderr


def test_nothing_of_outside_is_open(running: Running, sandbox: Sandbox, project: Path) -> None:
    running()
    (project / "secret").write_text("x")
    with open(project / "secret") as file, open("/etc/passwd") as other:
        result = sandbox.popen(
            "exec", "one", "sh", "-c", "ls -l /proc/self/fd", pass_fds=(file.fileno(), other.fileno())
        ).communicate(timeout=20)

    lines = [line.split()[8:] for line in result[0].splitlines()[1:]]
    # Those of ls itself: the streams, and the directory that it reads.
    assert sorted(line[0] for line in lines) == ["0", "1", "2", "3"]
    assert lines[3][2].startswith("/proc/")


def test_a_directory_on_a_standard_stream_is_refused(running: Running, sandbox: Sandbox, home: Path) -> None:
    running()
    descriptor = os.open(home, os.O_RDONLY)
    try:
        process = sandbox.popen("exec", "one", "ls", stdin=descriptor)
        _, stderr = process.communicate(timeout=20)
    finally:
        os.close(descriptor)

    assert process.returncode == 125
    assert "is a directory" in stderr


# --- as `run` ---


@pytest.mark.parametrize(
    "command, status",
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -SEGV $$", 139)],
)
def test_the_exit_status_is_the_commands(running: Running, sandbox: Sandbox, command: str, status: int) -> None:
    running()

    assert sandbox("exec", "one", "sh", "-c", command).returncode == status


def test_streams_are_passed_on(running: Running, sandbox: Sandbox) -> None:
    running()
    result = sandbox("exec", "one", "--", "sh", "-c", "test -p /dev/stdin && cat; echo err >&2", input="from outside\n")

    assert (result.stdout, result.stderr) == ("from outside\n", "err\n")


def test_a_command_that_is_not_there_and_one_that_is_none(running: Running, sandbox: Sandbox, project: Path) -> None:
    running()
    (project / "text").write_text("x")
    absent, plain = sandbox("exec", "one", "nosuchcommand"), sandbox("exec", "one", "./text")

    assert absent.returncode == 127
    assert "nosuchcommand: command not found inside the sandbox (PATH=" in absent.stderr
    assert plain.returncode == 126
    assert "cannot be executed inside the sandbox: Permission denied" in plain.stderr


@pytest.mark.parametrize("profile", ["", BARE])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_passed_to_the_command_that_was_joined(
    running: Running, sandbox: Sandbox, project: Path, profile: str, number: int
) -> None:
    first = running(profile=profile)
    process = sandbox.popen(
        "exec", "one", "sh", "-c", f"trap 'exit 9' {number}; echo > in; while :; do sleep 0.05; done"
    )
    wait_for((project / "in").exists)
    process.send_signal(number)

    assert process.wait(20) == 9
    assert first.poll() is None


@pytest.mark.parametrize("profile", ["", BARE, pytest.param(RANGE + "uid = 0\ngid = 0\n", marks=needs("newuidmap"))])
def test_a_monitor_that_is_killed_takes_its_command_along(
    running: Running, sandbox: Sandbox, project: Path, profile: str
) -> None:
    first = running(profile=profile)
    process = sandbox.popen("exec", "one", "sh", "-c", "echo > in; exec sleep 1001")
    wait_for((project / "in").exists)
    (command,) = descendants(process.pid)
    process.kill()
    process.wait(20)

    # Its status is ours to collect, as we are a subreaper.
    _, status = os.waitpid(command, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert first.poll() is None


@pytest.mark.parametrize("profile", ["", BARE])
def test_with_the_sandbox_what_joined_it_ends(running: Running, sandbox: Sandbox, project: Path, profile: str) -> None:
    first = running(profile=profile)
    process = sandbox.popen("exec", "one", "sh", "-c", "echo > in; exec sleep 1001")
    wait_for((project / "in").exists)
    sandbox("kill", "one", "KILL", check=True)

    assert first.wait(20) == 137
    assert process.communicate(timeout=20)[1] == "sandbox: one has ended\n"
    assert process.returncode == 137


def test_what_it_leaves_goes_on_until_the_sandbox_ends(running: Running, sandbox: Sandbox, project: Path) -> None:
    first = running()
    assert sandbox("exec", "one", "sh", "-c", "sleep 1002 > /dev/null 2>&1 & echo $!").returncode == 0
    names = [
        Path(f"/proc/{pid}/cmdline").read_bytes() for pid in Containers(project_root(sandbox)).load("one").processes()
    ]
    sandbox("kill", "one", check=True)
    first.wait(20)

    assert any(b"1002" in name for name in names)


def test_an_exec_that_is_stopped_does_not_put_off_the_end(running: Running, sandbox: Sandbox, project: Path) -> None:
    first = running()
    process = sandbox.popen("exec", "one", "sh", "-c", "echo > in; exec sleep 1001")
    wait_for((project / "in").exists)
    process.send_signal(signal.SIGSTOP)
    sandbox("kill", "one", check=True)
    try:
        assert first.wait(20) == 143
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait(20) == 137


def project_root(sandbox: Sandbox) -> str:
    return f"{sandbox.environment['XDG_RUNTIME_DIR']}/sandbox"


def test_on_a_terminal_it_has_one_of_its_own(running: Running, sandbox: Sandbox, terminal: Terminal) -> None:
    running()
    before = terminal.attributes()
    process = terminal.start(
        sandbox, "exec", "one", "sh", "-c", 'tty; stty size; echo up; read line; echo "<$line>"; echo e > /dev/tty'
    )
    seen = terminal.expect("up\r\n")
    terminal.type("hello\n")
    seen += terminal.expect("<hello>") + terminal.expect("e\r\n")

    assert process.wait(20) == 0
    assert "/dev/pts/0" in seen
    assert "24 80" in seen
    assert terminal.attributes() == before


def test_ctrl_c_reaches_the_command_and_not_the_sandboxes(
    running: Running, sandbox: Sandbox, terminal: Terminal
) -> None:
    first = running()
    process = terminal.start(
        sandbox, "exec", "one", "sh", "-c", "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.05; done"
    )
    terminal.expect("up")
    terminal.type("\x03")
    terminal.expect("interrupted")

    assert process.wait(20) == 9
    assert first.poll() is None


def test_a_terminal_or_none_by_choice(running: Running, sandbox: Sandbox, terminal: Terminal) -> None:
    running()
    process = terminal.start(sandbox, "exec", "--no-tty", "one", "sh", "-c", "test -t 1 || echo none")
    terminal.expect("none")
    process.wait(20)
    assert sandbox("exec", "--tty", "one", "tty").stdout.strip() == "/dev/pts/0"


def test_stopped_by_the_shell_it_stands_and_goes_on(running: Running, sandbox: Sandbox, project: Path) -> None:
    running()
    script = "while :; do date +%N > tick; sleep 0.02; done"
    process = sandbox.popen("exec", "one", "sh", "-c", script, process_group=0)  # as in test_timeout.py
    wait_for((project / "tick").exists)
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    time.sleep(0.1)
    stood = (project / "tick").read_text()
    time.sleep(0.3)
    assert os.WIFSTOPPED(status)
    assert (project / "tick").read_text() == stood
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: (project / "tick").read_text() not in ("", stood))
    process.terminate()
    assert process.wait(20) == 143


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
    assert "there is one, only; see sandbox ps" in wrong.stderr
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
