"""`sandbox exec`: a further command in a sandbox that runs, behind the same walls."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from conftest import Sandbox, descendants
from exec_world import BARE, RANGE, Running, project_root, running, terminal, wait_for
from needs import needs
from test_terminal import Terminal

from sandbox import Containers

__all__ = ["running", "terminal"]  # fixtures

pytestmark = needs("userns")


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
