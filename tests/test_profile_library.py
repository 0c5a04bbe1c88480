"""The shipped profiles at their work, each on a real project of its kind."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Sandbox
from language_world import (
    GO_PROJECT,
    JAVA_PROJECT,
    JUNIT,
    NODE_PROJECT,
    RUST_PROJECT,
    go_proxy,
    node_registry,
    python_index,
    served,
    write,
)
from needs import CACHE, CHECKOUT, needs

pytestmark = needs("userns")


def caches(home: Path) -> set[str]:
    """Return the caches in which something lies, as they are called inside, below the home directory."""
    start = str(home).strip("/").replace("/", "%2F") + "%2F"
    places = (home / ".cache/sandbox").glob("*/*")
    return {path.name.removeprefix(start).replace("%2F", "/") for path in places if any(path.iterdir())}


def in_order(sandbox: Sandbox, profile: str, *steps: tuple[str, ...], timeout: float = 300) -> str:
    """Run each step, options and a shell's script, and return what the last one printed."""
    output = ""
    for *options, script in steps:
        result = sandbox("run", "-p", profile, *options, "--", "sh", "-ec", script, timeout=timeout)
        assert result.returncode == 0, (script, result.stdout[-2000:], result.stderr[-2000:])
        output = result.stdout
    return output


# --- ci, offline-test ---


@needs("gcc", "make")
def test_ci_builds_the_same_whoever_starts_it(sandbox: Sandbox, project: Path) -> None:
    shutil.copytree(CHECKOUT / "examples/hello-c", project, dirs_exist_ok=True)
    (project / "stamp.c").write_text('#include <stdio.h>\nint main(void) { puts(__DATE__ " " __TIME__); return 0; }\n')
    script = (
        "./configure >log; make >>log; make check >>log; cc stamp.c -o stamp; ./stamp; sha256sum hello stamp; "
        "date +%Z; hostname; umask"
    )
    seen = []
    for environment in (
        {"LANG": "de_DE.UTF-8", "LC_ALL": "C", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "7", "COLUMNS": "9"},
        {"LANGUAGE": "fr", "TZ": "UTC", "CI": "no", "USER": "x", "TERM": "vt100"},
    ):
        run = sandbox("run", "-p", "ci", "--", "sh", "-ec", f"{script}; env | sort; make clean >log", env=environment)
        assert run.returncode == 0, run.stderr
        seen.append([line for line in run.stdout.splitlines() if not line.startswith(("USER=", "LOGNAME="))])

    assert seen[0] == seen[1]
    assert {"Jan  1 1980 00:00:00", "UTC", "ci", "0022", "CI=true", "LANG=C.UTF-8"} <= set(seen[0])


def test_ci_ends_what_hangs_and_reports_it(sandbox: Sandbox, home: Path) -> None:
    report = home / "report.json"
    result = sandbox("run", "-p", "ci", "--timeout", "200ms", "--report", str(report), "--", "sleep", "60")

    assert result.returncode == 124
    assert json.loads(report.read_text())["exit"]["timed_out"]


def test_offline_tests_leave_the_sources_alone(sandbox: Sandbox, project: Path) -> None:
    shutil.copytree(CHECKOUT / "examples/hello-python", project, dirs_exist_ok=True)
    (project / ".pytest_cache").mkdir()
    (project / "tests/test_write.py").write_text(
        "import pathlib, pytest, socket\n"
        "def test_no_writing():\n"
        "    with pytest.raises(OSError, match='Read-only'): pathlib.Path('new').touch()\n"
        "    with pytest.raises(OSError, match='Read-only'): pathlib.Path(__file__).touch()\n"
        "    pathlib.Path('/tmp/ours').touch()\n"
        "def test_no_network():\n"
        "    assert [name for _, name in socket.if_nameindex()] == ['lo']\n"
    )
    before = sorted(path for path in project.rglob("*") if ".pytest_cache" not in path.parts)
    command = f"{CHECKOUT}/.venv/bin/python -m pytest -q"
    output = in_order(sandbox, "offline-test", ("--read", f"{CHECKOUT}/.venv", command))

    assert " passed" in output
    assert sorted(path for path in project.rglob("*") if ".pytest_cache" not in path.parts) == before
    assert any((project / ".pytest_cache").iterdir())


# --- languages: fetch once, then work without a network ---


@needs("markupsafe_source")
def test_python(sandbox: Sandbox, home: Path, project: Path, tmp_path: Path) -> None:
    python_index(tmp_path, CACHE / "markupsafe")
    shutil.copytree(CACHE / "markupsafe/tests", project / "tests")
    (home / ".local/bin").mkdir(parents=True)
    with served(tmp_path) as address:
        options = ("--network", "host", "--env", "PIP_CONFIG_FILE=/dev/null")
        index = (
            f"--index-url {address}/simple --trusted-host {address.removeprefix('http://')}"  # else nothing is cached
        )
        pip = f".venv/bin/pip install -q --no-build-isolation --no-binary :all: {index} markupsafe"
        in_order(sandbox, "python", (*options, f"python3 -m venv .venv; {pip}"))
    pytest_home = Path(pytest.__file__).parent.parent
    pytest_there = f"PYTHONPATH={pytest_home} .venv/bin/python -m pytest -q -p no:cacheprovider"
    output = in_order(
        sandbox,
        "python",
        ("--read", f"{CHECKOUT}/.venv", f"{pytest_there} tests"),
        (".venv/bin/python -c 'import markupsafe; print(markupsafe.__file__)'; ! touch ~/.local/bin/x 2>/dev/null",),
    )

    assert output.startswith(str(project / ".venv"))
    assert caches(home) == {".cache/pip"}
    assert not (home / ".cache/pip").exists()


@needs("npm")
def test_node(sandbox: Sandbox, home: Path, project: Path, tmp_path: Path) -> None:
    write(project, NODE_PROJECT)
    write(home, {".nvm/tool": "", ".npmrc": "//registry/:_authToken=secret\n"})
    with served(tmp_path) as address:
        node_registry(tmp_path, address)
        fetch = f"npm install --no-audit --no-fund --registry {address}"
        in_order(sandbox, "node", ("--network", "host", fetch))
    shutil.rmtree(project / "node_modules")
    output = in_order(
        sandbox,
        "node",
        ("npm ci --offline --no-audit --no-fund; npm test",),
        ("npm test; ! cat ~/.npmrc 2>/dev/null; ls ~/.nvm; ! touch ~/.nvm/x 2>/dev/null",),
    )

    assert output.split()[-2:] == ["tested", "tool"]
    assert caches(home) == {".npm"}
    assert not (home / ".npm").exists()


@needs("cargo")
def test_rust(sandbox: Sandbox, home: Path, project: Path) -> None:
    write(project, RUST_PROJECT)
    write(home, {".cargo/bin/tool": "", ".rustup/settings.toml": ""})
    output = in_order(
        sandbox,
        "rust",
        ("cargo test --offline 2>&1 | grep '1 passed'; cargo run -q --offline",),
        ("mkdir ~/.cargo/registry/index ~/.cargo/git/db",),
        ("ls ~/.cargo ~/.cargo/registry; ! touch ~/.cargo/bin/x ~/.rustup/x 2>/dev/null",),
    )

    assert "index" in output
    assert "credentials" not in output
    assert caches(home) == {".cargo/registry", ".cargo/git"}
    assert sorted(path.name for path in (home / ".cargo").iterdir()) == ["bin", "credentials.toml"]
    assert subprocess.run([project / "target/debug/demo"], capture_output=True, check=True).stdout == b"hello\n"


@needs("go")
def test_go(sandbox: Sandbox, home: Path, project: Path, tmp_path: Path) -> None:
    write(project, GO_PROJECT)
    write(home, {"go/bin/tool": ""})
    go_proxy(tmp_path)
    unchecked = ("--env", "GONOSUMDB=*", "--env", "GOFLAGS=-mod=mod")
    with served(tmp_path) as address:
        in_order(sandbox, "go", ("--network", "host", "--env", f"GOPROXY={address}", *unchecked, "go mod download -x"))
    output = in_order(
        sandbox,
        "go",
        ("--env", "GOPROXY=off", *unchecked, "go test ./..."),
        ("ls ~/go/bin; ! touch ~/go/bin/x 2>/dev/null",),
    )

    assert output == "tool\n"
    assert caches(home) == {"go/pkg", ".cache/go-build"}
    assert not (home / ".cache/go-build").exists()
    assert [path.name for path in (home / "go").iterdir()] == ["bin"]


@needs("javac")
def test_java(sandbox: Sandbox, home: Path, project: Path) -> None:
    write(project, JAVA_PROJECT)
    write(home, {".sdkman/candidates/java/x": "", ".m2/settings.xml": "secret"})
    output = in_order(
        sandbox,
        "java",
        (f"javac -cp {JUNIT} *.java; java -cp {JUNIT}:. org.junit.runner.JUnitCore GreetingTest",),
        ("echo jar >~/.m2/repository/kept",),
        ("cat ~/.m2/repository/kept; ls ~/.m2; ! touch ~/.sdkman/candidates/x 2>/dev/null",),
    )

    assert output.split() == ["jar", "repository", "wrapper"]
    assert caches(home) == {".m2/repository"}
    assert (project / "GreetingTest.class").exists()


# --- agent ---

AGENT_WORKS = """
git status --short
echo two >>file; git commit -qam two
git checkout -qb topic; echo three >>file; git stash -q; git stash pop -q; git commit -qam three
git checkout -q main; echo other >other; git add other; git commit -qm other
git rebase -q main topic; git checkout -q main; git merge -q topic
git tag v1; git branch done; git gc -q; git fsck --no-progress --no-dangling
git log --format=%s
"""
AGENT_ATTACKS = """
exec 2>/dev/null
try() { if "$@"; then echo "done: $*"; fi; }
try sh -c 'echo "#!/bin/sh" >.git/hooks/pre-commit'
try git config core.hooksPath /tmp/hooks
try sh -c 'echo /tmp/other >.git/commondir'
try mv .git .git-old
try git worktree add ../tree
try git worktree add tree
for name in .github/workflows/x.yml .vscode/tasks.json .claude/settings.json .husky/pre-commit; do
    mkdir -p $(dirname $name) || :; try sh -c "echo x >$name"
done
for name in .envrc .gitlab-ci.yml .bashrc .mcp.json .pre-commit-config.yaml .sandbox.toml Jenkinsfile; do
    try sh -c "echo x >$name"; try ln -sf file $name; try mv file $name
done
echo end
"""


@needs("git")
def test_an_agent_works_with_git_and_plants_nothing(sandbox: Sandbox, home: Path, project: Path) -> None:
    (home / ".gitconfig").write_text("[user]\nname = You\nemail = you@example.org\n[init]\ndefaultBranch = main\n")
    (project / "file").write_text("one\n")
    (project / ".github").mkdir()
    (project / ".github/ci.yml").write_text("safe\n")
    git = ["git", "-C", str(project)]
    subprocess.run(
        ["sh", "-ec", "git init -q; git add .; git commit -qm one"], cwd=project, env=sandbox.environment, check=True
    )
    before = {path for path in project.rglob("*") if ".git" not in path.parts}
    output = in_order(sandbox, "agent", (AGENT_WORKS,))
    assert output.splitlines() == ["three", "other", "two", "one"]
    attacked = in_order(sandbox, "agent", (AGENT_ATTACKS,))

    assert attacked == "end\n"
    after = {path for path in project.rglob("*") if ".git" not in path.parts}
    assert after - before == {project / "other"}
    assert before <= after
    status = subprocess.run(
        [*git, "status", "--short"], env=sandbox.environment, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""
    hooks = {path.name for path in (project / ".git/hooks").iterdir() if path.suffix != ".sample"}
    assert not hooks
    assert not (project / ".git/commondir").exists()


@needs("git")
def test_an_agent_cannot_make_a_repository_of_a_project(sandbox: Sandbox, project: Path) -> None:
    result = sandbox("run", "-p", "agent", "--", "sh", "-c", "git init -q; echo >.git/config")

    assert result.returncode != 0
    assert not list(project.iterdir())


@needs("git")
def test_git_works_outside_while_an_agent_runs(sandbox: Sandbox, home: Path, project: Path) -> None:
    """What keeps names from being made is seen outside, too: git must neither stop at it, nor add it."""
    (home / ".gitconfig").write_text("[user]\nname = You\nemail = you@example.org\n")
    script = "git init -q; echo one >file; git add -A; git commit -qm one"
    subprocess.run(["sh", "-ec", script], cwd=project, env=sandbox.environment, check=True)
    agent = sandbox.popen("run", "-p", "agent", "--", "sh", "-c", "echo; cat", stdin=subprocess.PIPE)
    assert agent.stdout is not None
    agent.stdout.readline()
    assert (project / ".envrc").is_dir()
    script = "echo two >file; git add -A; git commit -qm two; git gc -q; git fsck; git ls-files; git log --format=%s"
    seen = subprocess.run(
        ["sh", "-ec", script], cwd=project, env=sandbox.environment, capture_output=True, text=True, check=True
    )
    agent.communicate("")

    assert seen.stdout.splitlines() == ["file", "two", "one"]
    assert not (project / ".envrc").exists()


# --- desktop ---

CONNECT = """
import os, socket, sys
for name in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.path.join(os.environ["XDG_RUNTIME_DIR"], name))
            print(name)
        except OSError:
            pass
"""
SOCKETS = ("wayland-7", "pipewire-0", "pulse/native", "bus")


@pytest.mark.parametrize(
    "profile, reached",
    [
        ("desktop", ["wayland-7"]),
        ("desktop-x11", ["wayland-7"]),
        ("desktop-sound", ["wayland-7", "pipewire-0", "pulse/native"]),
        ("build", []),
    ],
)
def test_of_the_session_that_is_reached_which_was_chosen(
    sandbox: Sandbox, runtime_dir: Path, profile: str, reached: list[str]
) -> None:
    import socket  # the test's alone

    servers = []
    (runtime_dir / "pulse").mkdir()
    for name in SOCKETS:
        if not (runtime_dir / name).exists():
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(runtime_dir / name))
            server.listen()
            servers.append(server)
    environment = {"WAYLAND_DISPLAY": "wayland-7", "DISPLAY": ":0"}
    keep = ("--env", "XDG_RUNTIME_DIR")
    result = sandbox("run", "-p", profile, *keep, "--", "python3", "-c", CONNECT, *SOCKETS, env=environment)
    for server in servers:
        server.close()

    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == reached


@needs("xvfb")
def test_an_x_client_reaches_the_server_only_where_that_was_chosen(sandbox: Sandbox) -> None:
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "320x200x24"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        environment = {"DISPLAY": f":{server.stdout.readline().strip()}"}
        chosen = sandbox("run", "-p", "desktop-x11", "--", "xdpyinfo", env=environment)
        assert chosen.returncode == 0, chosen.stderr
        assert "320x200 pixels" in chosen.stdout
        for profile in ("desktop", "build"):
            result = sandbox("run", "-p", profile, "--env", "DISPLAY", "--", "xdpyinfo", env=environment)
            assert "unable to open display" in result.stderr
    finally:
        server.terminate()
        server.communicate(timeout=10)
