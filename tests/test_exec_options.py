"""`sandbox-oci exec` with options that the container's own plan does not serve: what the process is then."""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import BINARY
from needs import needs

pytestmark = needs("userns", "new_proc")

SANDBOX_OCI = str(BINARY.with_name("sandbox-oci"))
SEARCH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
ID = "ID"
Result = subprocess.CompletedProcess[str]


class Containers:
    """A bundle, and the containers that a runtime makes from it."""

    def __init__(self, path: Path, program: str = SANDBOX_OCI) -> None:
        self.path = path
        self.program = program
        self.id = f"c{secrets.token_hex(4)}"  # of its cgroup too, and there may be other tests at work
        subprocess.run(["runc", "spec", "--rootless"], cwd=path, check=True, env={"PATH": SEARCH})
        (path / "rootfs/bin").mkdir(parents=True)
        busybox = shutil.which("busybox", path=SEARCH)
        assert busybox
        shutil.copy(busybox, path / "rootfs/bin/busybox")
        for applet in ("sh", "id", "pwd", "env", "grep", "cat", "sleep", "umask"):
            (path / f"rootfs/bin/{applet}").symlink_to("busybox")
        self.change(process__terminal=False, process__args=["sleep", "1000"], process__env=["PATH=/bin", "A=own"])

    def change(self, **members: object) -> None:
        """Change members of the document; `a__b` is b in a."""
        document = json.loads((self.path / "config.json").read_text())
        for name, value in members.items():
            table = document
            *path, last = name.split("__")
            for part in path:
                table = table.setdefault(part, {})
            table[last] = value
        (self.path / "config.json").write_text(json.dumps(document))

    def __call__(self, *words: str | Path) -> Result:
        command = [self.program, "--root", self.path / f"state-{Path(self.program).name}", *words]
        return subprocess.run(command, cwd=self.path, capture_output=True, text=True, check=False, timeout=30)

    def start(self) -> None:
        # To files: whoever waits for the end of a pipe would wait for the container.
        with open(self.path / "output", "w") as output:
            command = [self.program, "--root", self.path / f"state-{Path(self.program).name}", "run", "-d", self.id]
            status = subprocess.run(command, cwd=self.path, stdout=output, stderr=output, check=False).returncode
        assert status == 0, (self.path / "output").read_text()

    def exec(self, *words: str | Path) -> Result:
        """Execute; `ID` stands for the container's."""
        return self("exec", *(self.id if word == ID else word for word in words))


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    made = Containers(tmp_path)
    yield made
    made("delete", "--force", made.id)


@pytest.fixture
def container(containers: Containers) -> Containers:
    containers.start()
    return containers


def capabilities(status: str) -> dict[str, int]:
    return {name: int(value, 16) for name, value in re.findall(r"Cap(\w+):\s+(\w+)", status)}


def test_without_options_it_is_like_the_first_process(container: Containers) -> None:
    assert container.exec(ID, "sh", "-c", "id -u; pwd; echo $A").stdout == "0\n/\nown\n"


def test_directory_and_variables(container: Containers) -> None:
    result = container.exec("--cwd", "/bin", "-e", "A=x", "-e", "B=b", ID, "sh", "-c", "pwd; echo $A $B")

    assert (result.stdout, result.stderr, result.returncode) == ("/bin\nx b\n", "", 0)


def test_the_status_is_the_commands(container: Containers) -> None:
    assert container.exec("--cwd", "/bin", ID, "sh", "-c", "exit 7").returncode == 7


def test_capabilities_are_added(container: Containers) -> None:
    before = capabilities(container.exec(ID, "cat", "/proc/self/status").stdout)
    after = capabilities(
        container.exec("--cap", "CAP_CHOWN", "--cap", "CAP_KILL", ID, "cat", "/proc/self/status").stdout
    )

    assert not before["Eff"] & 1
    for kind in ("Prm", "Eff", "Bnd"):
        assert after[kind] == before[kind] | 1
    assert after["Inh"] == after["Amb"] == 0


def test_an_unknown_capability_is_a_warning(container: Containers) -> None:
    result = container.exec("--cap", "CAP_FLY", "--cap", "CAP_CHOWN", ID, "cat", "/proc/self/status")

    assert capabilities(result.stdout)["Eff"] & 1
    assert result.stderr.count("level=warning") == result.stderr.count("\n") == 1
    assert '--cap: unknown capability \\"CAP_FLY\\"' in result.stderr


def test_no_new_privileges(containers: Containers) -> None:
    containers.change(process__noNewPrivileges=False)
    containers.start()
    count = (ID, "grep", "NoNewPrivs", "/proc/self/status")

    assert containers.exec(*count).stdout.split() == ["NoNewPrivs:", "0"]
    assert containers.exec("--no-new-privs", *count).stdout.split() == ["NoNewPrivs:", "1"]


@pytest.mark.parametrize(
    "user, why",
    [
        ("root", '"root" is not an id'),
        ("+1", '"+1" is not an id'),
        ("1_0", '"1_0" is not an id'),
        ("0:", '"" is not an id'),
        ("0:x", '"x" is not an id'),
        ("0:0:0", '"0:0" is not an id'),
        (" 0", '" 0" is not an id'),
        ("\u0660", " is not an id"),
        ("4294967295", '"4294967295" is not an id'),
        ("18446744073709551616", '"18446744073709551616" is not an id'),
        ("5", "--user: uid 5 is not mapped"),
        ("0:5", "--user: gid 5 is not mapped"),
    ],
)
def test_a_user_that_is_none_is_refused_never_guessed(container: Containers, user: str, why: str) -> None:
    result = container.exec("--user", user, ID, "id")

    assert result.returncode == 255
    assert not result.stdout
    assert why in result.stderr.replace('\\"', '"')


@needs("newuidmap")
def test_another_user_with_groups(containers: Containers) -> None:
    """As podman has it: a range of ids."""
    ranges = {kind: _own_range(kind) for kind in ("uid", "gid")}
    containers.change(
        linux__uidMappings=_mapping(os.geteuid(), ranges["uid"]),
        linux__gidMappings=_mapping(os.getegid(), ranges["gid"]),
    )
    containers.start()
    (containers.path / "rootfs").chmod(0o755)

    assert containers.exec("--user", "5:6", "-g", "7", "-g", "8", ID, "id").stdout == "uid=5 gid=6 groups=7,8\n"
    assert containers.exec("--user", "5", ID, "id").stdout.startswith("uid=5 gid=0")


def _own_range(kind: str) -> int:
    name = pwd.getpwuid(os.geteuid()).pw_name
    lines = Path(f"/etc/sub{kind}").read_text().splitlines()
    return next(int(line.split(":")[1]) for line in lines if line.split(":")[0] in (name, str(os.geteuid())))


def _mapping(own: int, first: int) -> list[dict[str, int]]:
    return [{"containerID": 0, "hostID": own, "size": 1}, {"containerID": 1, "hostID": first, "size": 100}]


# --- a process of its own ---


def process(container: Containers, **members: Any) -> Result:
    document = {"args": ["sh", "-c", "echo $A; pwd"], "cwd": "/bin", "env": ["PATH=/bin", "A=of-file"], **members}
    (container.path / "process.json").write_text(json.dumps(document))
    return container.exec("--process", container.path / "process.json", ID)


def test_a_process_from_a_file(container: Containers) -> None:
    assert process(container).stdout == "of-file\n/bin\n"
    assert process(container, user={"umask": 0o27}, args=["sh", "-c", "umask"]).stdout == "0027\n"


def test_what_a_file_leaves_out_is_the_containers(container: Containers) -> None:
    status = process(container, args=["cat", "/proc/self/status"]).stdout

    assert capabilities(status) == capabilities(container.exec(ID, "cat", "/proc/self/status").stdout)
    assert "NoNewPrivs:\t1" in status


def test_an_unknown_member_of_a_file_is_a_warning(container: Containers) -> None:
    result = process(container, rot=1)

    assert result.stdout == "of-file\n/bin\n"
    assert "level=warning" in result.stderr
    assert "process.json: rot: is no property of the specification" in result.stderr


@pytest.mark.parametrize(
    "members, why",
    [
        ({"args": []}, "process.json: args: must not be empty"),
        ({"cwd": "bin"}, "process.json: cwd: bin is not an absolute path"),
        ({"env": ["A"]}, "process.json: env[0]: 'A' is not NAME=VALUE"),
        ({"user": {"uid": -1}}, "process.json: user.uid: expected an integer >= 0"),
        ({"user": {"uid": 9}}, "process.json: user: uid 9 is not mapped"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_its_place(container: Containers, members: Any, why: str) -> None:
    result = process(container, **members)

    assert result.returncode == 255
    assert why in result.stderr.replace('\\"', '"')
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there(container: Containers) -> None:
    result = container.exec("--process", "/nonesuch", ID)

    assert result.returncode == 255
    assert "open /nonesuch: no such file or directory" in result.stderr


def test_the_bundle_may_have_changed_since(container: Containers) -> None:
    (container.path / "config.json").write_text("{")

    assert container.exec("-e", "B=b", ID, "sh", "-c", "echo $A $B").stdout == "own b\n"


# --- a cgroup below the container's ---


@needs("cgroup2")
def test_a_cgroup_below_the_containers_is_joined(container: Containers) -> None:
    record = (container.path / "state-sandbox-oci/containers" / container.id / "state.json").read_text().splitlines()[0]
    place = Path(re.search(r'"cgroup":"([^"]*)"', record)[1])  # type: ignore[index]
    (place / "sub").mkdir()
    try:
        joined = container.exec("--cgroup", "sub", ID, "grep", "^0::", "/proc/self/cgroup")
        outside = container.exec("--cgroup", "../..", ID, "grep", "^0::", "/proc/self/cgroup")
        missing = container.exec("--cgroup", "nonesuch", ID, "true")
        controller = container.exec("--cgroup", "cpu:sub", ID, "true")
    finally:
        (place / "sub").rmdir()

    assert joined.stdout == "0::/sub\n"
    assert outside.stdout == "0::/\n"
    assert missing.returncode == controller.returncode == 255
    assert f"--cgroup: {place}/nonesuch is no cgroup" in missing.stderr
    assert "name it without a controller" in controller.stderr
