"""What a config.json names is looked at through `Inputs`: every symlink that was met is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.kernel.paths import device, follow, look_at
from sandbox.plan.inputs import Inputs
from sandbox.spec.runtime import Device, Linux, Mount, Namespace, Root, Spec


def test_a_path_is_followed_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "second").symlink_to(f"{tmp_path}/link/../link/./file")
    inputs = Inputs()

    assert follow(f"{tmp_path}//second", inputs)[0] == f"{tmp_path}/data/file"
    assert {f"{tmp_path}/link", f"{tmp_path}/second"} <= {name for _, name in inputs.seen}


@pytest.mark.parametrize(
    "path, error",
    [
        ("loop", "Too many levels"),
        ("absent/x", "No such file"),
        ("file/x", "Not a directory"),
        ("file/", "Not a directory"),
    ],
)
def test_what_leads_nowhere_says_why(tmp_path: Path, path: str, error: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match=error):
        follow(f"{tmp_path}/{path}", Inputs())


def test_a_changed_symlink_is_another_input(tmp_path: Path) -> None:
    seen = []
    for target in ("a", "b"):
        (tmp_path / target).mkdir()
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(target)
        inputs = Inputs()
        follow(f"{tmp_path}/link", inputs)
        seen.append(inputs.seen)

    assert seen[0] != seen[1]


def test_a_device_is_found_where_it_is_or_by_its_number() -> None:
    assert device("c", 1, 3, "/dev/null", Inputs()) == "/dev/null"
    assert device("c", 1, 5, "/dev/null", Inputs()) == "/dev/zero"
    assert device("c", 250, 4095, "/dev/null", Inputs()) == ""


def test_a_spec_is_looked_at_whole(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "link").symlink_to("rootfs")
    spec = Spec(
        root=Root(path="link"),
        mounts=[
            Mount(destination="/n", source="/dev/null", options=["bind"]),
            Mount(destination="/a", source="absent", options=["rbind"]),
            Mount(destination="/t", source="tmpfs", type="tmpfs"),
        ],
        linux=Linux(
            devices=[Device(type="c", path="/dev/z", major=1, minor=5)],
            namespaces=[
                Namespace(type="network", path="/proc/self/ns/net"),
                Namespace(type="uts", path="/proc/self/ns/ipc"),
                Namespace(type="ipc"),
            ],
        ),
    )
    found = look_at(spec, str(tmp_path), Inputs())

    assert found["sources"] == {"link": f"{tmp_path}/rootfs", "/dev/null": "/dev/null"}
    assert found["absent"] == {"absent": "no such file or directory"}
    assert found["devices"] == {("c", 1, 5): "/dev/zero"}
    assert found["nodes"]["/dev/null"].minor == 3
    assert found["nodes"]["/dev/zero"].mode == os.stat("/dev/zero").st_mode & 0o7777
    assert found["own_namespaces"] == {"/proc/self/ns/net"}
