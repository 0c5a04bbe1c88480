"""`sandbox-oci --systemd-cgroup`: a container in a scope of the user's systemd, by runc's notation."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from needs import needs
from oci_world import Runtime, World, base_config, world
from test_ps import wait_for
from user_manager_world import UserManager

from sandbox.errors import SpecError
from sandbox.lower.scope import expand, parse
from sandbox.lower.unit_properties import parse as parse_value
from sandbox.lower.unit_properties import properties
from sandbox.runtime.record import Record

__all__ = ["world"]  # a fixture


# --- the notation ---

PATHS = {
    "all": ("user.slice:libpod:abc", "user.slice", "libpod-abc.scope"),
    "no slice": (":box:abc", "user.slice", "box-abc.scope"),
    "no prefix": ("user.slice::abc", "user.slice", "abc.scope"),
    "slices in slices": ("machine-a-b.slice:box:abc", "machine-a-b.slice", "box-abc.scope"),
    "the root": ("-.slice:box:abc", "-.slice", "box-abc.scope"),
    "none": ("", "user.slice", "sandbox-the:id.scope"),
}
NO_PATHS = {
    "a path": (
        "/a/b",
        'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/a/b" instead',
    ),
    "too little": ("a:b", 'got "a:b" instead'),
    "too much": ("a:b:c:d", 'got "a:b:c:d" instead'),
    "no name": ("user.slice:box:", "does not name a scope"),
    "a slice": ("user.slice:box:a.slice", "does not name a scope"),
    "no slice's name": ("user:box:a", "invalid slice name: user"),
    "a slice in nothing": ("a--b.slice:box:a", "invalid slice name: a--b.slice"),
    "a path as slice": ("a/b.slice:box:a", "invalid slice name: a/b.slice"),
    "a character": ("user.slice:box:a b", "no name of a scope"),
    "a line": ("user.slice:box:a\nb", "no name of a scope"),
    "too long": (f"user.slice:box:{'a' * 250}", "no name of a scope"),
}


@pytest.mark.parametrize("path, slice_name, unit", PATHS.values(), ids=PATHS.keys())
def test_a_path_names_slice_and_scope(path: str, slice_name: str, unit: str) -> None:
    assert parse(path, "the+id") == (slice_name, unit)


@pytest.mark.parametrize("path, words", NO_PATHS.values(), ids=NO_PATHS.keys())
def test_what_names_none_is_refused(path: str, words: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse(path, "id")
    assert words in str(refusal.value)


def test_a_slice_says_what_it_is_in() -> None:
    assert expand("a-b-c.slice") == "a.slice/a-b.slice/a-b-c.slice"
    assert expand("user.slice") == "user.slice"
    assert expand("-.slice") == ""


# --- properties ---

VALUES = {
    "'text'": ("s", "text"),
    '"te\\"xt"': ("s", 'te"xt'),
    "'\\u00e9'": ("s", "é"),
    "true": ("b", True),
    "false": ("b", False),
    "5": ("i", 5),
    "-5": ("i", -5),
    "0x10": ("i", 16),
    "010": ("i", 8),
    "uint64 18446744073709551615": ("t", (1 << 64) - 1),
    "int64 -1": ("x", -1),
    "byte 0xff": ("y", 255),
    "1.5": ("d", 1.5),
    "['a', 'b']": ("as", ["a", "b"]),
    "@as []": ("as", []),
    "[uint32 1, 2]": ("au", [1, 2]),
    "[byte 1, 0x2]": ("ay", b"\x01\x02"),
    "objectpath '/a'": ("o", "/a"),
}
NO_VALUES = (
    *(
        "",
        "text",
        "'text",
        "'a' 'b'",
        "[1, 'a']",
        "[]",
        "[1",
        "[1 2]",
        "uint64 -1",
        "byte 256",
        "int32 'a'",
        "string 5",
    ),
    *("5x", "@aa []", "[['a']]", "'\\u12'", "@as 5", "{'a': 1}", "(1, 2)", "2147483648", "uint64", "'a\\u0000b'"),
)


@pytest.mark.parametrize("text", VALUES)
def test_a_value_in_the_text_format(text: str) -> None:
    assert parse_value(text) == VALUES[text]


@pytest.mark.parametrize("text", NO_VALUES)
def test_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_value(text)


def test_annotations_become_properties() -> None:
    found = properties(
        {"org.systemd.property.TimeoutStopUSec": "uint64 5", "other": "x", "org.systemd.property.CPUWeight": "uint64 7"}
    )
    assert found == [("CPUWeight", ("t", 7)), ("TimeoutStopUSec", ("t", 5))]
    # As in a unit's file, in seconds.
    assert properties({"org.systemd.property.TimeoutStopSec": "1.5"}) == [("TimeoutStopUSec", ("t", 1_500_000))]


NO_PROPERTIES = {
    "org.systemd.property.A1": ("1", "name incorrect: too short"),
    "org.systemd.property.A-B": ("1", "name incorrect: contains non-alphabetic character"),
    "org.systemd.property.Slice": ("x", "value parse error: "),
    "org.systemd.property.StopSec": ("'x'", "value parse error: not a number of seconds"),
}


@pytest.mark.parametrize("key", NO_PROPERTIES)
def test_no_property(key: str) -> None:
    text, words = NO_PROPERTIES[key]
    with pytest.raises(SpecError) as refusal:
        properties({key: text})
    assert words in str(refusal.value)


# --- in force ---

pytest_needs = needs("userns", "user_manager")


@pytest.fixture
def oci(world: World, user_manager: UserManager, runtime_dir: Path) -> Systemd:
    return Systemd(world.runtime("sandbox-oci"), world, user_manager, runtime_dir)


class Systemd:
    """sandbox-oci with --systemd-cgroup."""

    def __init__(self, runtime: Runtime, world: World, manager: UserManager, runtime_dir: Path) -> None:
        self.runtime = runtime
        self.world = world
        self.manager = manager
        self.environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(runtime_dir)}

    def fill(self, path: str, *args: str, **members: Any) -> None:
        config = base_config()
        config["linux"]["cgroupsPath"] = path
        config["process"]["args"] = list(args)
        config |= members
        self.world.fill(config)
        root = self.world.bundle / "rootfs"
        (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
        (root / "bin/busybox").chmod(0o755)
        for name in ("sh", "cat", "sleep", "true"):
            (root / "bin" / name).symlink_to("busybox")

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.runtime("--systemd-cgroup", *words, env=self.environment, **options)

    def create(self, name: str) -> None:
        result = self("create", "--bundle", str(self.world.bundle), name)
        assert result.returncode == 0, result.stderr


@pytest_needs
@needs("busybox")
def test_a_container_has_the_scope_that_its_path_names(oci: Systemd) -> None:
    annotations = {
        "org.systemd.property.TimeoutStopSec": "3",
        "org.systemd.property.Documentation": "['man:a(1)', 'man:b(1)']",
    }
    oci.fill("test-a-b.slice:box:one", "/bin/sleep", "60", annotations=annotations)
    oci.create("one")
    directory = oci.manager.directory("box-one.scope")
    shown = oci.manager.systemctl("show", "-p", "TimeoutStopUSec,Documentation,Slice", "box-one.scope")
    started = oci("start", "one")
    joined = oci("exec", "one", "/bin/cat", "/proc/self/cgroup")
    members = (directory / "container/cgroup.procs").read_text().split()
    pause, resume = oci("pause", "one"), oci("resume", "one")
    update = oci("update", "--pids-limit", "7", "one")
    state = oci.runtime.state("one")
    deleted = oci("delete", "--force", "one")

    assert directory == oci.manager.cgroup / expand("test-a-b.slice") / "box-one.scope"
    assert set(shown.split("\n")) >= {
        "TimeoutStopUSec=3s",
        "Slice=test-a-b.slice",
        'Documentation="man:a(1)" "man:b(1)"',
    }
    assert started.returncode == 0, started.stderr
    assert "0::/\n" in joined.stdout, joined.stderr
    assert members == [str(state["pid"])]
    assert pause.returncode == resume.returncode == 0, pause.stderr + resume.stderr
    if oci.manager.own:
        assert update.returncode == 0, update.stderr
    else:  # systemd hands none of this machine's controllers down
        assert "the controller pids is not delegated to you" in update.stderr
    assert deleted.returncode == 0, deleted.stderr
    assert oci.manager.wait_for_none("box-one.scope") == []
    assert not directory.exists()


@pytest_needs
@needs("busybox")
def test_without_a_path_it_is_named_after_the_container(oci: Systemd) -> None:
    oci.fill("", "/bin/cat", "/proc/self/cgroup")
    for name in ("one", "two"):  # one plan does not serve both
        result = oci("run", "--bundle", str(oci.world.bundle), name)
        assert result.returncode == 0, result.stderr
        assert "0::/\n" in result.stdout
    assert oci.manager.wait_for_none("sandbox-*") == []
    oci.fill("", "/bin/sleep", "60")
    oci.create("three")
    assert oci.manager.units("sandbox-*") == ["sandbox-three.scope"]
    oci("delete", "--force", "three")
    assert oci.manager.wait_for_none("sandbox-*") == []


@pytest_needs
@needs("busybox", "strace")
def test_a_kept_plan_serves_a_container_in_a_scope_too(oci: Systemd, tmp_path: Path) -> None:
    oci.fill("user.slice:box:kept", "/bin/true")
    for expected in (True, False):
        command = oci.runtime.command("--systemd-cgroup", "run", "--bundle", str(oci.world.bundle), "kept")
        trace = tmp_path / "trace"
        traced = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", str(trace), *command]
        result = subprocess.run(traced, env=oci.environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert ("python" in trace.read_text()) is expected
        assert oci.manager.wait_for_none("box-kept.scope") == []


@pytest_needs
@needs("busybox", "strace")
def test_before_the_scope_is_there_no_cgroup_is_written_down(oci: Systemd) -> None:
    """What is written down goes if the call is killed: the child's name by itself would be a directory of the host's."""
    oci.fill("user.slice:box:one", "/bin/true")
    assert oci("run", "--bundle", str(oci.world.bundle), "one").returncode == 0  # from here on no interpreter is needed
    record = oci.runtime.root / "containers/one/state.json"
    slowly = ["strace", "-o", "/dev/null", "-e", "trace=connect", "-e", "inject=connect:delay_enter=2000000"]
    command = oci.runtime.command("--systemd-cgroup", "run", "--bundle", str(oci.world.bundle), "one")
    with subprocess.Popen([*slowly, *command], env=oci.environment, stdin=subprocess.DEVNULL) as process:
        wait_for(record.exists)
        assert Record(record.read_text()).unmade_cgroup == ""
        assert process.wait(20) == 0


@pytest_needs
@needs("busybox")
def test_each_notation_wants_its_option(oci: Systemd) -> None:
    oci.fill("/user.slice/box", "/bin/true")
    path = oci("run", "--bundle", str(oci.world.bundle), "x")
    oci.fill("user.slice:box:x", "/bin/true")
    unit = oci.runtime("run", "--bundle", str(oci.world.bundle), "x", env=oci.environment)

    assert path.returncode == unit.returncode == 1
    assert 'expected cgroupsPath to be of format \\"slice:prefix:name\\" for systemd cgroups' in path.stderr
    assert "with --systemd-cgroup alone" in unit.stderr


@pytest_needs
@needs("busybox")
def test_an_unknown_property_is_systemds_to_refuse(oci: Systemd) -> None:
    oci.fill("user.slice:box:x", "/bin/true", annotations={"org.systemd.property.NoSuchThing": "true"})
    result = oci("run", "--bundle", str(oci.world.bundle), "x")

    assert result.returncode == 1
    assert "cannot have systemd make the scope box-x.scope: " in result.stderr
    assert "NoSuchThing" in result.stderr
    assert oci.runtime.state("x") == {}
    assert oci.manager.wait_for_none("box-x.scope") == []


@pytest_needs
@needs("busybox")
def test_a_container_that_joins_namespaces_is_in_its_scope_too(oci: Systemd) -> None:
    oci.fill("user.slice:box:first", "/bin/sleep", "60")
    oci.create("first")
    pid = oci.runtime.state("first")["pid"]
    config_path = oci.world.bundle / "config.json"
    text = config_path.read_text()
    joined = text.replace('{"type": "ipc"}', f'{{"type": "ipc", "path": "/proc/{pid}/ns/ipc"}}').replace(
        '{"type": "user"}', f'{{"type": "user", "path": "/proc/{pid}/ns/user"}}'
    )
    assert joined != text
    joined = joined.replace("box:first", "box:second").replace('"/bin/sleep", "60"', '"/bin/cat", "/proc/self/cgroup"')
    config_path.write_text(joined)
    result = oci("run", "--bundle", str(oci.world.bundle), "second")
    oci("delete", "--force", "first")

    assert result.returncode == 0, result.stderr
    assert "0::/\n" in result.stdout
    assert oci.manager.wait_for_none("box-*") == []
