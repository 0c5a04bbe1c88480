"""What a hostile bundle, a hostile container or a state root of somebody else's can do to the user of `sandbox-oci`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundle_world import make_bundle, write_config
from conftest import BINARY, Sandbox
from needs import needs

ENGINE = BINARY.with_name("sandbox-oci")

pytestmark = needs("userns", "busybox", "new_proc")


class World:
    """A bundle, and a state root to run it in."""

    def __init__(self, top: Path) -> None:
        self.bundle = make_bundle(top / "bundle")
        self.root = top / "root"
        self.root.mkdir(mode=0o700)
        self.engine = Sandbox(cwd=self.bundle, environment={"XDG_RUNTIME_DIR": str(top)}, binary=ENGINE)

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.engine("--root", str(self.root), *words, **options)

    def leave(self, *words: str, environment: dict[str, str] | None = None) -> None:
        """Call what leaves a container behind."""
        process = subprocess.Popen(
            [ENGINE, "--root", str(self.root), *words],
            cwd=self.bundle,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert process.stderr is not None
        status = process.wait(60)
        assert status == 0, process.stderr.read()
        process.stderr.close()

    def refusal(self, *words: str) -> str:
        """Return the one line in which a call is refused; nothing may be left of it."""
        before = self.names()
        result = self(*words)
        assert result.returncode == 1, result.stdout + result.stderr
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1, result.stderr
        assert "Traceback" not in result.stderr
        assert all(character.isprintable() for character in result.stderr.rstrip("\n"))
        assert self.names() == before
        return result.stderr

    def names(self) -> list[str]:
        place = self.root / "containers"
        return sorted(os.listdir(place)) if place.exists() else []

    def config(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.bundle / "config.json").read_text())
        return document

    def own_cgroup(self, name: str) -> Path:
        pid = json.loads(self("state", name).stdout)["pid"]
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        return Path("/sys/fs/cgroup") / next(line for line in lines if line.startswith("0::"))[4:]


@pytest.fixture
def world(runtime_dir: Path) -> Iterator[World]:
    world = World(runtime_dir)
    yield world
    for name in world.names():
        world("delete", "--force", name)
    world.engine.close()


# --- a bundle ---


@needs("cgroup2")
@pytest.mark.parametrize("name", ['a","x', "a\\b", "a\nb", "a\x1b[2J", "a\x7fb"], ids=ascii)
def test_a_cgroups_name_that_would_be_another_in_the_record_is_refused(world: World, name: str) -> None:
    """state.json is read back: the container's end would be that of another cgroup."""
    write_config(world.bundle, "true", linux__cgroupsPath=name)

    assert "linux.cgroupsPath" in world.refusal("run", "c")


@pytest.mark.parametrize("content", ["[" * 200000, '{"a":' * 100000 + "1" + "}" * 100000], ids=["lists", "objects"])
def test_a_document_of_great_depth_is_refused(world: World, content: str) -> None:
    (world.bundle / "config.json").write_text(content)

    assert "config.json" in world.refusal("create", "c")


def test_a_document_of_great_size_is_read_or_refused(world: World) -> None:
    document = world.config()
    document["annotations"] = {f"key{number}": "x" * 1000 for number in range(3000)}
    (world.bundle / "config.json").write_text(json.dumps(document))

    assert "config.json" in world.refusal("create", "c")


@pytest.mark.parametrize("kind", ["fifo", "directory", "/dev/zero", "socket", "dangling"])
def test_a_document_that_is_no_file_is_refused(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.bundle / "config.json"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            monkeypatch.chdir(world.bundle)  # its whole path may be too long for a socket's
            listener.bind("config.json")
    else:
        path.symlink_to(kind)

    assert "config.json" in world.refusal("create", "c")


HOSTILE = "\x1b]0;owned\x07\x1b[2J\n\rlevel=error"
SAID: dict[str, dict[str, Any]] = {
    "a target": {"mounts": [{"destination": f"/{HOSTILE}", "source": f"/{HOSTILE}", "options": ["bind"]}]},
    "a type": {"mounts": [{"destination": "/x", "type": HOSTILE, "source": "x"}]},
    "an option": {"mounts": [{"destination": "/x", "source": "/", "options": ["bind", HOSTILE]}]},
    "a command": {"process__args": [HOSTILE]},
    "a directory": {"process__cwd": HOSTILE},
    "a hook": {"hooks": {"createRuntime": [{"path": f"/{HOSTILE}"}]}},
    "a hook's words": {"hooks": {"createRuntime": [{"path": "/bin/printf", "args": ["printf", HOSTILE]}, {"path": "/bin/false"}]}},
    "a failing hook's words": {"hooks": {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"printf '{HOSTILE}' >&2; exit 1"]}]}},
    "a namespace": {"linux__namespaces": [{"type": HOSTILE}]},
    "a capability": {"process__capabilities": {"bounding": [HOSTILE]}},
    "a sysctl": {"linux__sysctl": {HOSTILE: "1"}},
    "a member": {HOSTILE: 1, "ociVersion": HOSTILE},
    "a device": {"linux__devices": [{"path": f"/{HOSTILE}", "type": "c", "major": 99, "minor": 1}]},
    "a user": {"process__user": {"uid": 77, "gid": 0}, "process__env": [HOSTILE]},
}  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("changes", SAID.values(), ids=SAID)
def test_what_a_bundle_has_said_does_not_write_to_the_terminal(
    world: World, changes: dict[str, Any], form: str
) -> None:
    write_config(world.bundle, "false", **changes)

    result = world("--log-format", form, "run", "c")

    assert result.returncode != 0
    for line in result.stderr.splitlines():
        assert line.isprintable(), line
        assert line.startswith('{"' if form == "json" else "time="), line


# --- a container ---


@needs("cgroup2")
@pytest.mark.parametrize("depth", [70, 1500])
def test_cgroups_of_the_containers_own_however_deep_go_with_it(world: World, depth: int) -> None:
    world.leave("create", "c")
    top = world.own_cgroup("c")
    # As the container does where its hierarchy can be written.
    at = os.open(top, os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("deep", dir_fd=at)
        below = os.open("deep", os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)

    result = world("delete", "--force", "c")

    assert result.returncode == 0, result.stderr
    assert not top.exists()


class Service:
    """systemd, as far as a service tells it that it is ready."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(20)


@pytest.fixture
def service(runtime_dir: Path) -> Iterator[Service]:
    service = Service(runtime_dir / "notify")
    yield service
    service.socket.close()


def test_the_directory_of_the_notifications_cannot_be_written(world: World, service: Service) -> None:
    write_config(world.bundle, "sleep", "100")
    world.leave("create", "c", environment=service.environment)
    result = world("exec", "c", "sh", "-c", "touch /run/notify/x")

    assert "Read-only file system" in result.stderr
    # Nor is a name in it gone by, outside, to let everybody write to the socket.
    place = world.root / "containers/c/notify/notify.sock"
    starting = subprocess.Popen([ENGINE, "--root", world.root, "start", "c"], env={**os.environ, **service.environment})
    end = time.monotonic() + 20
    while not place.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert place.stat().st_mode & 0o777 == 0o777
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.connect(str(place))
        ready.send(b"READY=1")
    assert starting.wait(60) == 0


def test_what_a_container_left_with_the_notifications_goes_with_it(
    world: World, service: Service, tmp_path: Path
) -> None:
    """With CAP_SYS_ADMIN inside, its own mounts are its own to change."""
    world.leave("create", "c", environment=service.environment)
    place = world.root / "containers/c/notify"
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    (place / "a/b/c").mkdir(parents=True)
    (place / "a/file").write_text("x")
    (place / "a/link").symlink_to(victim)
    (place / "link").symlink_to(victim)

    result = world("delete", "--force", "c")

    assert result.returncode == 0, result.stderr
    assert world.names() == []
    assert (victim / "file").read_text() == "precious"


# --- numbers ---


@pytest.mark.parametrize("number", ["1000000", "-1", "0x10", "4294967296"])
def test_a_number_of_descriptors_that_there_are_not_is_refused(world: World, number: str) -> None:
    world.refusal("create", f"--preserve-fds={number}", "c")


def test_a_signal_that_there_is_none_of_is_refused(world: World) -> None:
    world.leave("create", "c")
    for word in ("65", "-1", "SIGNOPE", "9x", "99999999999999999999"):
        world.refusal("kill", "c", word)
    assert json.loads(world("state", "c").stdout)["status"] == "created"


@needs("cgroup2")
@pytest.mark.parametrize("name", ["..", "../NAME", "/../..", "a/../../NAME", "/", ".", "x\ny", 'x"y'])
def test_exec_joins_no_cgroup_outside_the_containers(world: World, name: str) -> None:
    world.leave("create", "c")
    own = world.own_cgroup("c")
    beside = own.with_name(f"{own.name}-beside")
    beside.mkdir()
    try:
        result = world("exec", "--cgroup", name.replace("NAME", beside.name), "c", "cat", "/proc/self/cgroup")
        # Seen from the namespace of cgroups inside.
        assert all(line == "0::/" for line in result.stdout.splitlines() if line.startswith("0:")), result.stdout
        assert result.returncode == 0 or "cgroup" in result.stderr
    finally:
        beside.rmdir()


@needs("cgroup2")
@pytest.mark.parametrize(
    "file", ["../cgroup.kill", "cgroup.procs", "cgroup.kill", "cgroup.freeze", "a/../x.y", "..", "io.max\nx"]
)
def test_a_limit_is_written_to_no_other_file(world: World, file: str) -> None:
    world.leave("create", "c")

    result = world("update", "--resources", "-", "c", input=json.dumps({"unified": {file: "1"}}))
    assert result.returncode == 1, result.stderr
    assert "unified" in result.stderr
    write_config(world.bundle, linux__resources={"unified": {file: "1"}})
    assert "unified" in world.refusal("create", "d")


@pytest.mark.parametrize("name", ['a "b" \\c', "line\nline", "tab\t\x1b[1m", "é ü", b"\xff\xfe"], ids=ascii)
def test_a_bundle_of_any_name_is_run_and_its_state_is_json(world: World, name: str | bytes) -> None:
    path = world.bundle.with_name(os.fsdecode(name))
    world.bundle.rename(path)
    world.bundle = path
    world.engine.cwd = path
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat >&2; exit 1"]}
    write_config(path, "sleep", "100", hooks={"poststop": [hook]})

    world.leave("create", "c")

    for _ in range(2):
        result = subprocess.run([ENGINE, "--root", world.root, "state", "c"], capture_output=True, check=True)
        state = json.loads(result.stdout.decode("utf-8", "surrogateescape"))
        assert os.fsencode(state["bundle"]) == os.fsencode(path)
        if state["status"] == "created":
            world.leave("start", "c")
    listed = subprocess.run([ENGINE, "--root", world.root, "list", "--format", "json"], capture_output=True, check=True)
    assert json.loads(listed.stdout.decode("utf-8", "surrogateescape"))[0]["bundle"] == os.fspath(path)
    assert all(line.isprintable() for line in world("list").stdout.splitlines())
    assert world("kill", "c", "KILL").returncode == 0
    result = world("delete", "--force", "c")
    assert result.returncode == 0
    assert all(line.isprintable() for line in result.stderr.splitlines())
    assert world.names() == []
