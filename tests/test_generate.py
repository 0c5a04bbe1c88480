"""`sandbox generate systemd`: what systemd executes by the unit is what was asked for, word for word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BINARY, Sandbox
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from needs import SLOWNESS, needs
from user_manager_world import UserManager

from sandbox.cli import generate
from sandbox.cli.command_line import request
from sandbox.cli.options import OPTIONS
from sandbox.errors import UsageError
from sandbox.runtime.unit import command_line, quoted

pytestmark = needs("userns")

DUMP = "import json,os,sys; json.dump([sys.argv[2:], dict(os.environ), os.getcwd()], open(sys.argv[1], 'w'))"


def unit_directory(manager: UserManager) -> Path:
    """Return where the manager looks for units that we write."""
    if not manager.own:
        return Path(manager.environment["XDG_RUNTIME_DIR"]) / "units"
    path = Path(manager.environment["XDG_RUNTIME_DIR"]) / "systemd/user"
    path.mkdir(parents=True, exist_ok=True)
    return path


class Service:
    """A unit that is written, started and removed."""

    def __init__(self, manager: UserManager, name: str = f"sandbox-test-{os.getpid()}.service") -> None:
        self.manager = manager
        self.name = name
        self.path = unit_directory(manager) / name

    def load(self, text: str) -> None:
        self.path.write_text(text)
        self.manager.systemctl("daemon-reload")

    def state(self, *properties: str) -> dict[str, str]:
        found = self.manager.systemctl("show", *(f"-p{name}" for name in properties), self.name)
        return dict(line.partition("=")[::2] for line in found.splitlines())

    def until(self, seconds: float = 30, **wanted: str) -> dict[str, str]:
        """Wait until properties have these values."""
        end = time.monotonic() + seconds * SLOWNESS
        while (state := self.state(*wanted)) != wanted:
            assert time.monotonic() < end, (state, self.state("Result", "ExecMainStatus", "StatusText"))
            time.sleep(0.05)
        return state

    def remove(self) -> None:
        self.manager.systemctl("stop", self.name, check=False)
        self.manager.systemctl("reset-failed", self.name, check=False)
        self.path.unlink(missing_ok=True)
        self.manager.systemctl("daemon-reload")


@pytest.fixture
def service(user_manager: UserManager) -> Iterator[Service]:
    service = Service(user_manager)
    yield service
    service.remove()


WORDS = st.lists(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")).filter(
        lambda word: not any(0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE for c in word)
    ),
    min_size=1,
    max_size=40,
)


# --- words ---


@needs("user_manager")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
@example(
    words=[
        "",
        " ",
        "a b",
        "$HOME",
        "${HOME}",
        "$$",
        "%n",
        "%%",
        "\\",
        "\\x41",
        '"',
        "'",
        ";",
        "\\;",
        "a\nb",
        "\t",
        "é€𝄞",
        "-",
        "@",
    ]
)
@example(
    words=[
        "\\" * 3 + '"',
        '"quoted"',
        "trailing\\",
        "#",
        "\r\n",
        "\x7f\x1b",
        "\x85\u2028",
        "~",
        "*",
        "a=b",
        "{",
        "$(x)",
        "%h/%i",
    ]
)
def test_systemd_executes_these_very_words(service: Service, tmp_path: Path, words: list[str]) -> None:
    out = tmp_path / "out"
    environment = {f"V{index}": word for index, word in enumerate(words)}
    lines = [
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={tmp_path}",
        *(f"Environment={quoted(f'{name}={value}')}" for name, value in environment.items()),
        f"ExecStart={command_line([sys.executable, '-c', DUMP, str(out), *words])}",
    ]
    service.load("\n".join(lines) + "\n")
    service.manager.systemctl("start", service.name)

    arguments, variables, directory = json.loads(out.read_text())
    assert arguments == words
    assert {name: variables.get(name) for name in environment} == environment
    assert directory == str(tmp_path)


@pytest.mark.parametrize("word", ["a\0b", "\ufffe", "\ufdd0", "\U0001ffff", os.fsdecode(b"\xff")])
def test_what_systemd_takes_for_no_text_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        quoted(word)


# --- the unit ---


@needs("user_manager")
@pytest.mark.parametrize("name", ["plain", "with space", "per%cent", "dol$lar", 'quo"te', "back\\slash", "ümlaut"])
def test_a_directory_of_whatever_name(sandbox: Sandbox, service: Service, home: Path, name: str) -> None:
    directory = home / name
    directory.mkdir()
    text = sandbox(
        "generate", "systemd", "build", "--", "sh", "-c", 'pwd >"$0"', "./out", cwd=directory, check=True
    ).stdout
    service.load(text)
    service.manager.systemctl("start", service.name)
    service.until(ActiveState="inactive", Result="success")

    assert (directory / "out").read_text() == f"{directory}\n"


@pytest.mark.parametrize("name", ["tab\tin", "trailing ", "trailing\\"])
def test_a_directory_that_no_unit_can_name_is_refused(sandbox: Sandbox, home: Path, name: str) -> None:
    (home / name).mkdir()
    result = sandbox("generate", "systemd", "build", "--", "true", cwd=home / name)

    assert result.returncode == 125
    assert "the working directory of a unit cannot be" in result.stderr
    assert result.stdout == ""


@needs("user_manager")
def test_systemd_finds_nothing_to_say_about_it(sandbox: Sandbox, service: Service, tmp_path: Path) -> None:
    text = sandbox("generate", "systemd", "--timeout", "1h", "build", "--", "./server", "%h", check=True).stdout
    file = tmp_path / "sandbox-web.service"
    file.write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", str(file)],
        env={**os.environ, **service.manager.environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")


@needs("user_manager")
def test_it_starts_stops_and_starts_again(sandbox: Sandbox, service: Service, project: Path) -> None:
    script = 'echo started >>log; trap "echo stopped >>log; exit 0" TERM; while :; do sleep 0.1; done'
    service.load(sandbox("generate", "systemd", "build", "--", "sh", "-c", script, check=True).stdout)
    for number in (1, 2):
        service.manager.systemctl("start", service.name)
        assert service.state("ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
        main = service.state("MainPID")["MainPID"]
        assert os.readlink(f"/proc/{main}/exe") == os.path.realpath(BINARY)
        while not (project / "log").exists() or (project / "log").read_text().count("started") < number:
            time.sleep(0.01)
        service.manager.systemctl("stop", service.name)
        assert service.state("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    service.manager.systemctl("restart", service.name)
    service.until(ActiveState="active")
    service.manager.systemctl("stop", service.name)

    assert (project / "log").read_text().split().count("stopped") == 3
    assert sandbox("ps", "--quiet").stdout == ""


@needs("user_manager")
def test_a_command_that_takes_no_notice_of_a_stop_is_killed(sandbox: Sandbox, service: Service) -> None:
    script = 'trap "" TERM; while :; do sleep 0.1; done'
    text = sandbox("generate", "systemd", "build", "--", "sh", "-c", script, check=True).stdout
    service.load(text.replace("[Install]", "TimeoutStopSec=1\n[Install]"))
    service.manager.systemctl("start", service.name)
    cgroup = service.manager.directory(service.name)
    service.manager.systemctl("stop", service.name)

    assert service.state("ActiveState", "Result") == {"ActiveState": "failed", "Result": "timeout"}
    assert not cgroup.exists()
    assert sandbox("ps", "--quiet").stdout == ""


@needs("user_manager")
@pytest.mark.parametrize(
    "script, restarts, result",
    [("exit 3", True, ""), ("kill -KILL $$", True, ""), ("kill -TERM $$", False, "success"), ("exit 0", False, "success"),
     ("exec nosuch", False, "exit-code")],
)  # fmt: skip
def test_what_fails_is_started_again_but_for_what_never_would(
    sandbox: Sandbox, service: Service, project: Path, script: str, *, restarts: bool, result: str
) -> None:
    text = sandbox("generate", "systemd", "build", "--", "sh", "-c", f"echo x >>log; {script}", check=True).stdout
    service.load(text.replace("[Install]", "RestartSec=50ms\n[Install]"))
    service.manager.systemctl("start", service.name, check=False)
    if restarts:
        end = time.monotonic() + 30
        while not (project / "log").exists() or (project / "log").read_text().count("x") < 3:
            assert time.monotonic() < end
            time.sleep(0.05)
    else:
        service.until(Result=result, SubState="dead" if result == "success" else "failed")
        assert (project / "log").read_text() == "x\n"


@needs("user_manager")
def test_the_command_tells_systemd_how_it_is(sandbox: Sandbox, service: Service) -> None:
    code = """
import os, socket, time
def send(text): socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text, os.environ["NOTIFY_SOCKET"])
send(b"STATUS=loading")
while not os.path.exists("go"): time.sleep(0.01)
send(b"MAINPID=1\\nREADY=1\\nSTATUS=up")
time.sleep(100)
"""
    text = sandbox(
        "generate", "systemd", "--notify", "command", "build", "--", "python3", "-c", code, check=True
    ).stdout
    service.load(text)
    service.manager.systemctl("start", "--no-block", service.name)
    service.until(ActiveState="activating", StatusText="loading")
    (sandbox.cwd / "go").touch()
    service.until(ActiveState="active", StatusText="up")
    main = service.state("MainPID")["MainPID"]

    assert os.readlink(f"/proc/{main}/exe") == os.path.realpath(BINARY)


@needs("user_manager")
def test_a_watchdog_that_hears_nothing_has_it_ended(sandbox: Sandbox, service: Service) -> None:
    code = """
import os, socket, time
def send(text): socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text, os.environ["NOTIFY_SOCKET"])
send(b"READY=1")
for _ in range(20): send(b"WATCHDOG=1"); time.sleep(int(os.environ["WATCHDOG_USEC"]) / 1e6 / 5)
open("quiet", "w").close()
time.sleep(100)
"""
    text = sandbox(
        "generate", "systemd", "--notify", "command", "build", "--", "python3", "-c", code, check=True
    ).stdout
    service.load(text.replace("Restart=on-failure", "Restart=no\nWatchdogSec=500ms\nTimeoutAbortSec=1"))
    service.manager.systemctl("start", service.name)
    service.until(ActiveState="failed", Result="watchdog")

    assert (sandbox.cwd / "quiet").exists()  # four times as long as it may be quiet


def test_profile_none_is_a_service_that_says_nothing(sandbox: Sandbox) -> None:
    text = sandbox("generate", "systemd", "--notify", "none", "build", "--", "true", check=True).stdout

    assert "Type=exec\n" in text
    assert "Notify" not in text


# --- from a sandbox ---


def test_from_what_runs_with_all_that_it_was_started_with(sandbox: Sandbox, project: Path, home: Path) -> None:
    (project / "mine.toml").write_text('extends = "build"\n')
    (home / "share").mkdir()
    process = sandbox.popen(
        "run", "-p", "./mine.toml", "--no-project", "--name", "web", "--read", home / "share", "--no-init", "--env", "A=b c",
        "--", "sh", "-c", "trap exit TERM; echo up; while :; do sleep 0.05; done", "100%",
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    text = sandbox("generate", "systemd", "web", cwd=home, check=True).stdout
    process.terminate()
    process.wait(20)

    assert f"WorkingDirectory={project}\n" in text
    words = [
        str(BINARY), "run", f"--profile={project}/mine.toml", "--no-project", "--read=" + str(home / "share"), '"--env=A=b c"',
    ]  # fmt: skip
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    for word in (*words, "--no-init", "--name=web"):
        assert word in line
    assert line.endswith('-- sh -c "trap exit TERM; echo up; while :; do sleep 0.05; done" "100%%"')


@pytest.mark.parametrize("value", ["a.json", "a.html"])
def test_every_option_of_run_is_found_again(value: str) -> None:
    """A report is another key's when it is a page."""
    for option in OPTIONS:
        if option.key in ("", "process.log_size") or "run" not in option.verbs:
            continue
        asked = request({option.field: [value] if option.metavar else True})
        word = f"{option.name}={value}" if option.metavar else option.name

        assert word in generate._words(asked), option.name


def test_of_a_default_profile_nothing_is_said(sandbox: Sandbox) -> None:
    process = sandbox.popen("run", "--name", "web", "sh", "-c", "echo up; sleep 100")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    text = sandbox("generate", "systemd", "web", check=True).stdout
    process.terminate()
    process.wait(20)

    assert f'ExecStart={BINARY} run --name=web --replace -- sh -c "echo up; sleep 100"\n' in text


def test_from_what_was_detached_and_has_ended(sandbox: Sandbox) -> None:
    sandbox(
        "run", "--detach", "--name", "web", "--log-size", "128K", "--env", "A=1", "sh", "-c", "sleep 100", check=True
    )
    running = sandbox("generate", "systemd", "web", check=True)
    sandbox("kill", "web", check=True)
    sandbox("wait", "web")
    ended = sandbox("generate", "systemd", "web", check=True)
    sandbox("rm", "web", check=True)

    assert ended.stdout == running.stdout
    line = f'ExecStart={BINARY} run --env=A=1 --name=web --replace -- sh -c "sleep 100"'  # the journal has what it says
    assert line in ended.stdout.splitlines()
    assert "web still runs" in running.stderr
    assert ended.stderr == ""


def test_a_command_that_was_not_written_down_whole_is_none(sandbox: Sandbox) -> None:
    process = sandbox.popen("run", "--name", "web", "sh", "-c", "echo up; sleep 100", "x" * 5000)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    result = sandbox("generate", "systemd", "web")
    process.terminate()
    process.wait(20)

    assert result.returncode == 125
    assert "too long to have been written down" in result.stderr


# --- what is not written, and what is said ---


def test_a_terminal_is_refused_wherever_it_is_asked_for(sandbox: Sandbox, project: Path) -> None:
    (project / "mine.toml").write_text('extends = "build"\n[process]\ntty = true\n')
    for words in (["--tty", "build"], ["./mine.toml"]):
        result = sandbox("generate", "systemd", *words, "--", "sh")
        assert result.returncode == 125
        assert "a service has no terminal" in result.stderr
    assert sandbox("generate", "systemd", "--no-tty", "./mine.toml", "--", "sh").returncode == 0


def test_a_secret_is_not_written(sandbox: Sandbox, secret: str, home: Path) -> None:
    result = sandbox(
        "generate", "systemd", "--env", f"API_TOKEN={secret}", "--env", "DB_PASSWORD", "--env", "LEVEL=3", "build", "--", "./server",
        env={"DB_PASSWORD": secret, "XDG_CONFIG_HOME": None}, check=True,
    )  # fmt: skip

    assert secret not in result.stdout + result.stderr
    assert "--env=API_TOKEN --env=DB_PASSWORD --env=LEVEL=3" in result.stdout
    assert f"EnvironmentFile=-{home}/.config/sandbox/server.env\n" in result.stdout
    assert "API_TOKEN, DB_PASSWORD: values of such names are not written" in result.stderr


def test_variables_that_the_profile_goes_by_are_written(sandbox: Sandbox, project: Path, home: Path) -> None:
    (project / "mine.toml").write_text('extends = "build"\n[filesystem]\nread = ["$TOOLS"]\n')
    result = sandbox(
        "generate", "systemd", "./mine.toml", "--", "true", env={"TOOLS": str(home), "OTHER": "1"}, check=True
    )

    assert f"Environment=TOOLS={home}\n" in result.stdout
    assert "OTHER" not in result.stdout
    assert "Environment=HOME" not in result.stdout


def test_a_projects_file_is_spoken_of(sandbox: Sandbox, project: Path) -> None:
    (project / ".sandbox.toml").write_text('[network]\nmode = "none"\n')
    result = sandbox("generate", "systemd", "build", "--", "true", check=True)

    assert f"{project}/.sandbox.toml counts at each start" in result.stderr
    assert (
        ".sandbox.toml" not in sandbox("generate", "systemd", "--no-project", "build", "--", "true", check=True).stderr
    )


def test_what_is_wrong_with_the_profile_is_said_now(sandbox: Sandbox) -> None:
    result = sandbox("generate", "systemd", "--read", "/nosuch", "build", "--", "true")

    assert result.returncode == 125
    assert "/nosuch" in result.stderr
    assert result.stdout == ""


# --- where it goes ---


def test_it_is_put_where_systemd_finds_it_and_what_next_is_said(sandbox: Sandbox, home: Path) -> None:
    result = sandbox(
        "generate", "systemd", "--install", "build", "--", "./server", "x", env={"XDG_CONFIG_HOME": None}, check=True
    )
    place = home / ".config/systemd/user/sandbox-server.service"

    assert place.read_text() == sandbox("generate", "systemd", "build", "--", "./server", "x").stdout
    assert "systemctl --user daemon-reload\n  systemctl --user enable --now sandbox-server.service" in result.stdout
    # Again, and with another name.
    sandbox(
        "generate", "systemd", "--install", "build", "--", "./server", "y", env={"XDG_CONFIG_HOME": None}, check=True
    )
    assert "./server y" in place.read_text()
    sandbox(
        "generate",
        "systemd",
        "--install",
        "--unit",
        "web",
        "build",
        "--",
        "true",
        env={"XDG_CONFIG_HOME": str(home)},
        check=True,
    )
    assert (home / "systemd/user/sandbox-web.service").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_not_ours_is_not_written_over(sandbox: Sandbox, home: Path, kind: str) -> None:
    place = home / ".config/systemd/user/sandbox-web.service"
    place.parent.mkdir(parents=True)
    if kind == "link":
        place.symlink_to(home / "elsewhere")
    else:
        place.write_text("[Service]\n")
    result = sandbox(
        "generate", "systemd", "--install", "--unit", "web", "build", "--", "true", env={"XDG_CONFIG_HOME": None}
    )

    assert result.returncode == 125
    assert "is there, and not ours" in result.stderr
    assert not (home / "elsewhere").exists()


@pytest.mark.parametrize(
    "words", [["nosuch"], [], ["-p", "build"], ["--network", "host", "nosuch"], ["--unit", "...", "build", "true"]]
)
def test_what_is_not_enough_is_refused(sandbox: Sandbox, words: list[str]) -> None:
    result = sandbox("generate", "systemd", *words)

    assert result.returncode == 125
    assert "hint:" in result.stderr
