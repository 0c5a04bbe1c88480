"""State roots that are somebody else's, or nobody's, and files beside them, as `sandbox-oci` meets them."""

from __future__ import annotations

import json
import os

import pytest
from needs import needs
from test_oci_attacks import World, world

__all__ = ["world"]

pytestmark = needs("userns", "busybox", "new_proc")


@pytest.mark.parametrize("kind", ["symlink", "file", "fifo"])
def test_a_pid_file_is_written_through_nothing_that_lies_there(world: World, kind: str) -> None:
    victim, aside = world.bundle / "victim", world.bundle / ".pid"
    victim.write_text("precious")
    if kind == "symlink":
        aside.symlink_to(victim)
    elif kind == "file":
        aside.write_text("left by another one, and longer")
    else:
        os.mkfifo(aside)

    world.leave("create", "--pid-file", "pid", "c")

    assert (world.bundle / "pid").read_text() == str(json.loads(world("state", "c").stdout)["pid"])
    assert victim.read_text() == "precious"
    assert not aside.exists()


FOREIGN = ("config.json", "plan", "state.json.new", "notes.txt")


@pytest.mark.parametrize(
    "words",
    [("list",), ("state", "foo"), ("delete", "foo"), ("delete", "-f", "foo"), ("kill", "foo"), ("create", "foo")],
    ids=" ".join,
)
def test_what_others_keep_in_a_directory_that_is_named_as_the_root_stays(world: World, words: tuple[str, ...]) -> None:
    """`--root ~` where there is a ~/containers."""
    place = world.root / "containers"
    place.mkdir(mode=0o700)
    (place / "foo/sub").mkdir(parents=True)
    for name in FOREIGN:
        (place / "foo" / name).write_text("precious")
    (place / "file").write_text("precious")
    (place / "dangling").symlink_to("nowhere")

    result = world(*words)

    assert (result.returncode == 0) is (words in (("list",), ("delete", "-f", "foo"))), result.stderr
    assert "Traceback" not in result.stderr
    assert [(place / "foo" / name).read_text() for name in FOREIGN] == ["precious"] * len(FOREIGN)
    assert world.names() == ["dangling", "file", "foo"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "not json\n", '{"id":"foo","pid":1,"started":1,"created":"x","cgroup":"/",\n', "\0" * 100],
    ids=ascii,
)
@pytest.mark.parametrize(
    "words",
    [("list",), ("state", "foo"), ("delete", "-f", "foo"), ("kill", "foo"), ("exec", "foo", "true"), ("start", "foo")],
    ids=" ".join,
)
def test_a_record_that_is_damaged_is_said_to_be(world: World, content: str, words: tuple[str, ...]) -> None:
    place = world.root / "containers/foo"
    place.parent.mkdir(mode=0o700)
    place.mkdir(mode=0o700)
    (place / "state.json").write_text(content)

    result = world(*words)

    assert result.returncode in (0, 1, 255)
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= 2


@pytest.mark.parametrize(
    "words",
    [("state", "c"), ("kill", "c", "KILL"), ("delete", "-f", "c"), ("start", "c"), ("exec", "c", "true"), ("list",)],
    ids=" ".join,
)
@pytest.mark.parametrize("where", ["", "containers"], ids=["root", "containers"])
def test_a_root_that_others_can_write_to_is_not_gone_by(world: World, words: tuple[str, ...], where: str) -> None:
    """They could have written the process and the plan."""
    world.leave("create", "c")
    pid = json.loads(world("state", "c").stdout)["pid"]
    (world.root / where).chmod(0o777)
    try:
        result = world(*words)
    finally:
        (world.root / where).chmod(0o700)

    assert result.returncode != 0
    assert "by others" in result.stderr or "alone" in result.stderr, result.stderr
    assert json.loads(world("state", "c").stdout) | {"status": "created", "pid": pid} == json.loads(
        world("state", "c").stdout
    )
