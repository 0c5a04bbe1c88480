"""`sandbox run` in the foreground is the command's own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import CHECKOUT, SLOWNESS, needs

pytestmark = needs("userns")


def wait_for(path: Path, seconds: float = 20) -> str:
    """Wait until a file is there and ends a line, and return its content."""
    end = time.monotonic() + seconds * SLOWNESS
    while time.monotonic() < end:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.01)
    pytest.fail(f"{path} did not appear")


def test_standard_streams_are_passed_on(sandbox: Sandbox) -> None:
    result = sandbox("run", "sh", "-c", "cat; echo err >&2", input="from outside\n")

    assert result.stdout == "from outside\n"
    assert result.stderr == "err\n"


def test_a_pipe_stays_a_pipe(sandbox: Sandbox) -> None:
    result = sandbox(
        "run", "sh", "-c", "test -p /dev/stdin && test -p /dev/stdout && ! test -t 1 && echo pipes", input=""
    )

    assert result.stdout == "pipes\n"


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_exit_status_is_the_commands(sandbox: Sandbox, status: int) -> None:
    assert sandbox("run", "sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV"])
def test_a_signal_that_ends_the_command_is_128_more(sandbox: Sandbox, name: str) -> None:
    result = sandbox("run", "sh", "-c", f"kill -{name} $$")

    assert result.returncode == 128 + getattr(signal, f"SIG{name}")


def test_a_command_that_is_not_found_is_127_and_says_where_it_was_looked_for(sandbox: Sandbox) -> None:
    result = sandbox("run", "nosuchcommand")

    assert result.returncode == 127
    assert "nosuchcommand: command not found inside the sandbox (PATH=" in result.stderr


def test_a_command_that_exists_outside_only_says_how_to_show_it(sandbox: Sandbox, home: Path) -> None:
    tool = home / "bin/mytool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho tool\n")
    tool.chmod(0o755)

    result = sandbox("run", str(tool))

    assert result.returncode == 127
    assert f"--read {tool.parent}" in result.stderr
    assert sandbox("run", "--read", str(tool.parent), str(tool)).stdout == "tool\n"


def test_a_script_without_its_interpreter_is_explained(sandbox: Sandbox, project: Path) -> None:
    (project / "script").write_text("#!/opt/nosuch/interpreter\n")
    (project / "script").chmod(0o755)

    result = sandbox("run", "./script")

    assert result.returncode == 127
    assert "its interpreter was not found" in result.stderr


@pytest.mark.parametrize(
    "command, status, said",
    [
        ("./data/", 127, "./data/: is a file, and no directory\n  hint: leave out the slash: ./data\n"),
        ("./data/tool", 127, "./data/tool: what it is to lie in is no directory\n"),
        ("./sub", 126, "./sub: is a directory\n  hint: name a program in it\n"),
        ("/", 126, "/: is a directory\n  hint: name a program in it\n"),
        (".", 126, ".: is a directory\n  hint: name a program in it\n"),
        ("", 127, "the command is empty\n  hint: is it a variable that is not set?\n"),
    ],
)
def test_what_is_no_command_is_called_what_it_is(
    sandbox: Sandbox, project: Path, command: str, status: int, said: str
) -> None:
    (project / "data").write_text("x")
    (project / "sub").mkdir()

    result = sandbox("run", "--", command)

    assert (result.returncode, result.stderr) == (status, f"sandbox: {said}")


@pytest.mark.parametrize("command", ["env", "/usr/bin/env"])
def test_a_command_that_is_hidden_is_said_to_be(sandbox: Sandbox, command: str) -> None:
    result = sandbox("run", "--hide", "/usr/bin/env", command)

    assert result.returncode == 126
    assert result.stderr == f"sandbox: {command}: is hidden inside the sandbox, by --hide /usr/bin/env\n"


def test_a_file_that_is_not_executable_is_126(sandbox: Sandbox, project: Path) -> None:
    (project / "data").write_text("x")

    result = sandbox("run", "./data")

    assert result.returncode == 126
    assert "chmod +x ./data" in result.stderr


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR1", "INT"])
def test_signals_are_forwarded(sandbox: Sandbox, project: Path, name: str) -> None:
    script = f"trap 'echo got {name}; exit 3' {name}; echo up > ready; while :; do sleep 0.05; done"
    process = sandbox.popen("run", "sh", "-c", script)
    wait_for(project / "ready")
    process.send_signal(getattr(signal, f"SIG{name}"))
    stdout, _ = process.communicate(timeout=20)

    assert stdout == f"got {name}\n"
    assert process.returncode == 3


def test_what_the_command_leaves_running_ends_with_it(sandbox: Sandbox) -> None:
    started = time.monotonic()
    result = sandbox("run", "sh", "-c", "sleep 60 & setsid sleep 60 & echo done")

    assert result.stdout == "done\n"
    assert time.monotonic() - started < 20


def test_process_1_is_ours_and_reaps_orphans(sandbox: Sandbox) -> None:
    script = "(sleep 0.1 & exec true) ; sleep 0.5; ps -o pid= -o stat= -o args= -A"
    lines = sandbox("run", "sh", "-c", script).stdout.splitlines()

    assert lines[0].split()[0] == "1"
    assert "sandbox-init" in lines[0]
    assert not [line for line in lines if " Z" in line]


def test_without_init_the_command_is_process_1(sandbox: Sandbox, project: Path) -> None:
    (project / "bare.toml").write_text('extends = "build"\n[process]\ninit = false\n')

    result = sandbox("run", "-p", "./bare.toml", "sh", "-c", "echo $$; exit 5")

    assert (result.stdout, result.returncode) == ("1\n", 5)


def test_the_callers_ignored_and_blocked_signals_are_as_they_were(sandbox: Sandbox) -> None:
    script = "grep -E 'SigIgn|SigBlk' /proc/self/status"
    plain = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    for _ in range(2):  # once through Python, once without
        assert sandbox("run", "sh", "-c", script).stdout == plain


def test_descriptors_of_the_caller_stay_outside(sandbox: Sandbox, secret: str, home: Path) -> None:
    with open(home / ".ssh/id_ed25519") as file:
        os.set_inheritable(file.fileno(), True)
        process = sandbox.popen("run", "sh", "-c", "ls /proc/self/fd", pass_fds=[file.fileno()])
        stdout, _ = process.communicate(timeout=20)

    assert set(stdout.split()) <= {"0", "1", "2", "3"}  # 3 is that of ls itself


def test_closed_standard_descriptors_do_no_harm(sandbox: Sandbox) -> None:
    result = subprocess.run(
        ["sh", "-c", 'exec "$0" run sh -c "exit 4" <&- >&- 2>&-', str(sandbox.binary)],
        env=sandbox.environment,
        cwd=sandbox.cwd,
        check=False,
        timeout=30,
    )

    assert result.returncode == 4


def test_arguments_of_the_command_are_its_own(sandbox: Sandbox) -> None:
    arguments = ["--read", "-p", "--", "a b", "", "*", "--help", "$HOME"]
    result = sandbox("run", "printf", "%s\n", *arguments)

    assert result.stdout.split("\n")[:-1] == arguments


def test_the_same_command_with_and_without_a_kept_plan(sandbox: Sandbox) -> None:
    first = sandbox("run", "sh", "-c", "id; env | sort; cat /proc/self/mountinfo | cut -d' ' -f4-")
    second = sandbox("run", "sh", "-c", "id; env | sort; cat /proc/self/mountinfo | cut -d' ' -f4-")

    assert first.returncode == 0
    assert first.stdout == second.stdout


def test_a_name_is_used_once_at_a_time(sandbox: Sandbox, project: Path) -> None:
    running = sandbox.popen("run", "--name", "one", "sh", "-c", "echo up > ready; read line", stdin=subprocess.PIPE)
    wait_for(project / "ready")
    second = sandbox("run", "--name", "one", "true")
    other = sandbox("run", "--name", "two", "true")
    running.communicate("\n", timeout=20)

    assert second.returncode == 125
    assert "a sandbox named one is running" in second.stderr
    assert other.returncode == 0
    assert running.returncode == 0
    assert sandbox("run", "--name", "one", "true").returncode == 0


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a" * 65, "a b", "ä"])
def test_a_name_that_cannot_be_is_refused(sandbox: Sandbox, name: str) -> None:
    result = sandbox("run", f"--name={name}", "true")

    assert result.returncode == 125
    assert "cannot be the name of a sandbox" in result.stderr


def test_the_environment_is_scrubbed_and_can_be_added_to(sandbox: Sandbox) -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": "x", "LC_ALL": "C", "MINE": "kept", "LD_PRELOAD": "/nosuch.so"}
    bare = sandbox("run", "env", env=environment).stdout.splitlines()
    asked = sandbox("run", "--env", "MINE", "--env", "OTHER=a=b", "env", env=environment).stdout.splitlines()

    names = {line.partition("=")[0] for line in bare}
    assert not names & {"AWS_SECRET_ACCESS_KEY", "MINE", "LD_PRELOAD", "XDG_RUNTIME_DIR"}
    assert {"PATH", "HOME", "LC_ALL"} <= names
    assert "MINE=kept" in asked
    assert "OTHER=a=b" in asked


def test_a_variable_that_is_kept_is_taken_at_run_time(sandbox: Sandbox) -> None:
    values = [sandbox("run", "--env", "MINE", "sh", "-c", "echo $MINE", env={"MINE": str(n)}).stdout for n in range(3)]

    assert values == ["0\n", "1\n", "2\n"]


def test_dry_run_does_nothing_and_says_what_would_be_done(sandbox: Sandbox, project: Path) -> None:
    result = sandbox("run", "--dry-run", "touch", "made")

    assert result.returncode == 0
    assert "leave the host's tree for the new root" in result.stdout
    assert not (project / "made").exists()


def test_verbose_says_what_the_plan_was_made_from(sandbox: Sandbox) -> None:
    result = sandbox("run", "--verbose", "true")

    assert result.returncode == 0
    assert "operations from" in result.stderr


def test_run_without_a_command_says_how(sandbox: Sandbox) -> None:
    result = sandbox("run")

    assert result.returncode == 125
    assert "COMMAND" in result.stderr


@pytest.mark.parametrize("start", ["cold", "kept"])
@pytest.mark.parametrize("ignored", ["", "PIPE", "XFSZ", "INT", "HUP"])
def test_what_the_caller_ignores_stays_ignored(sandbox: Sandbox, start: str, ignored: str) -> None:
    wanted = ["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"]
    shell = f"trap '' {ignored}; exec \"$@\"" if ignored else 'exec "$@"'
    plain = subprocess.run(["sh", "-c", shell, "sh", *wanted], capture_output=True, text=True, check=True).stdout
    if start == "kept":
        sandbox("run", "true", check=True)
    command = ["sh", "-c", shell, "sh", str(sandbox.binary), "run", *wanted]
    inside = subprocess.run(
        command, env=sandbox.environment, cwd=sandbox.cwd, capture_output=True, text=True, timeout=30, check=True
    ).stdout

    assert inside == plain


@pytest.mark.parametrize("kept", [False, True])
def test_a_value_may_begin_with_a_dash(sandbox: Sandbox, kept: bool) -> None:
    for _ in range(2 if kept else 1):
        result = sandbox("run", "--env", "X=-1", "--hostname=-x", "-pbuild", "sh", "-c", "echo $X; hostname")

    assert result.stdout == "-1\n-x\n", result.stderr


def test_an_unknown_option_is_our_failure(sandbox: Sandbox) -> None:
    result = sandbox("run", "--nosuch", "true")

    assert result.returncode == 125
    assert "--nosuch" in result.stderr


def test_a_script_without_an_interpreter_line_is_126(sandbox: Sandbox, project: Path) -> None:
    (project / "script").write_text("echo hello\n")
    (project / "script").chmod(0o755)
    result = sandbox("run", "./script")

    assert result.returncode == 126
    assert "starts with #!" in result.stderr


def test_the_profile_in_the_readme(sandbox: Sandbox, project: Path) -> None:
    """It is what a new user copies."""
    text = (CHECKOUT / "README.md").read_text()
    (project / "mine.toml").write_text(text.partition("```toml\n")[2].partition("```")[0])
    result = sandbox("run", "-p", "./mine.toml", "sh", "-c", "ulimit -n; echo $CCACHE_DIR")

    assert result.returncode == 0, result.stderr
    assert result.stdout == f"4096\n{sandbox.environment['HOME']}/.cache/ccache\n"


def test_a_pipe_ends_when_the_command_closes_it(sandbox: Sandbox, project: Path) -> None:
    process = sandbox.popen("run", "sh", "-c", "echo first; exec >/dev/null 2>&1; echo up > ready; sleep 60")
    wait_for(project / "ready")
    assert process.stdout is not None
    assert process.stdout.read() == "first\n"  # to the end of the file, though the sandbox runs
    process.terminate()
    process.wait(20)
