"""`[filesystem]`: which rule decides, what is mounted for it, and what is refused."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_world import World, tree

from sandbox.errors import ProfileError
from sandbox.lower.filesystem import covers
from sandbox.lower.host import Case, Host, Origins
from sandbox.plan.inputs import InputKind
from sandbox.plan.ops import Flag, Mask
from sandbox.profile import paths
from sandbox.spec.runtime import Spec


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(world: World, text: str) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        world.rules(text)
    assert caught.value.hint, "a refusal says what to do"
    return caught.value


# --- what is mounted ---

CASES = {
    "a tree is shown read-only": ('read = ["@/srv"]', ["read @/srv"]),
    "a tree is shown writable": ('write = ["@/srv"]', ["write @/srv"]),
    "a trailing slash and dots say nothing": ('read = ["@/srv/./x/../"]', ["read @/srv"]),
    "the home directory": ('read = ["~/docs"]', ["read @/home/docs"]),
    "a variable": ('read = ["$HOME/docs", "${HOME}/project"]', ["read @/home/docs", "read @/home/project"]),
    "the working directory": ('write = ["."]', ["write @/home/project"]),
    "below the working directory": ('read = ["./src"]', ["read @/home/project/src"]),
    "the same twice": ('read = ["@/srv", "@/srv"]', ["read @/srv"]),
    "read below read is one mount": ('read = ["@/srv", "@/srv/a"]', ["read @/srv"]),
    "write below write is one mount": ('write = ["@/srv", "@/srv/a"]', ["write @/srv"]),
    "write below read": ('read = ["@/srv"]\nwrite = ["@/srv/a"]', ["read @/srv", "write @/srv/a"]),
    "read below write": ('write = ["@/srv"]\nread = ["@/srv/a"]', ["write @/srv", "read @/srv/a"]),
    "write beats read": ('write = ["@/srv"]\nread = ["@/srv"]', ["write @/srv"]),
    "read beats tmp": ('tmp = ["@/srv"]\nread = ["@/srv"]', ["read @/srv"]),
    "hide beats all": ('hide = ["@/srv"]\nwrite = ["@/srv"]\nread = ["@/srv"]\ntmp = ["@/srv"]', []),
    "parents first": (
        'read = ["@/srv/a", "~/docs"]\ntmp = ["@/srv"]',
        ["read @/home/docs", "tmp @/srv 0755", "read @/srv/a"],
    ),
    "the root is private anyway": ('tmp = ["/"]', []),
    "home is private": ('tmp = ["~"]', ["tmp @/home 0700"]),
    "tmp is everyone's": ('tmp = ["/tmp", "/var/tmp"]', ["tmp /tmp 1777", "tmp /var/tmp 1777"]),
    "a hidden directory is masked": ('read = ["@/srv"]\nhide = ["@/srv/a"]', ["read @/srv", "mask @/srv/a"]),
    "a hidden file is masked": ('read = ["~"]\nhide = ["~/docs/key"]', ["read @/home", "mask @/home/docs/key"]),
    "what nothing shows need not be masked": ('read = ["~/docs"]\nhide = ["@/srv/a"]', ["read @/home/docs"]),
    "what tmp covers need not be masked": (
        'read = ["@/srv"]\ntmp = ["@/srv/a"]\nhide = ["@/srv/a/b"]',
        ["read @/srv", "tmp @/srv/a 0755"],
    ),
    "hidden in hidden": ('read = ["@/srv"]\nhide = ["@/srv/a", "@/srv/a/b"]', ["read @/srv", "mask @/srv/a"]),
    "read in hidden": (
        'read = ["@/srv", "@/srv/a/b"]\nhide = ["@/srv/a"]',
        ["read @/srv", "tmp @/srv/a 0555", "read @/srv/a/b"],
    ),
    "hidden in read in hidden": (
        'read = ["@/srv", "@/srv/a/b"]\nhide = ["@/srv/a", "@/srv/a/b/c"]',
        ["read @/srv", "tmp @/srv/a 0555", "read @/srv/a/b", "mask @/srv/a/b/c"],
    ),
    "read in hidden in nothing": ('read = ["@/srv/a/b"]\nhide = ["@/srv/a"]', ["read @/srv/a/b"]),
    "optional and absent": ('read = ["?/none"]\nwrite = ["?@/none"]\ntmp = ["?@/none"]\nhide = ["?~/none"]', []),
    "an optional variable that is not set": ('read = ["?$NONE/x"]\nhide = ["?$NONE"]', []),
    "absent in a read-only tree": ('read = ["@/srv"]\nhide = ["@/srv/none"]', ["read @/srv"]),
    "the sandbox's own": ('hide = ["/sys/class", "/proc/none"]', ["mask /sys/class", "mask /proc/none"]),
    "read in hidden in the sandbox's own": (
        'read = ["/sys/kernel/mm"]\nhide = ["/sys/kernel"]',
        ["tmp /sys/kernel 0555", "read /sys/kernel/mm"],
    ),
    "a device keeps its meaning": ('write = ["/dev/null"]', ["write /dev/null with devices"]),
    "a wildcard": ('read = ["~/d*s"]', ["read @/home/docs"]),
    "a wildcard in the middle": ('read = ["~/*/key"]', ["read @/home/docs/key"]),
    "a class": ('read = ["~/doc[st]"]', ["read @/home/docs"]),
    "one character": ('read = ["~/doc?"]', ["read @/home/docs"]),
    "a wildcard passes dots over": ('read = ["@/srv/*"]', ["read @/srv/a"]),
    "a dot is named": ('read = ["@/srv/.*"]', ["read @/srv/.dot"]),
    "hide sees dots": ('read = ["@/srv"]\nhide = ["@/srv/*"]', ["read @/srv", "mask @/srv/.dot", "mask @/srv/a"]),
    "any depth": ('read = ["@/srv"]\nhide = ["@/srv/**/c"]', ["read @/srv", "mask @/srv/a/b/c"]),
    "any depth, also none": ('read = ["@/srv"]\nhide = ["@/srv/**/a"]', ["read @/srv", "mask @/srv/a"]),
    "everything below": ('hide = ["@/srv/**"]\nread = ["@/srv"]', ["read @/srv", "mask @/srv/.dot", "mask @/srv/a"]),
    "an optional wildcard without a match": ('read = ["?~/none*"]', []),
    "hidden wildcards need not match": ('write = ["@/srv"]\nhide = ["@/srv/*.key"]', ["write @/srv"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_policy_comes_to(world: World, case: str) -> None:
    world.make("src/", "@/home/docs/key", "@/srv/a/b/c", "@/srv/.dot")
    text, expected = CASES[case]

    assert world.rules(text) == expected


def test_wildcards_in_the_name_of_the_working_directory_stand_for_themselves(world: World) -> None:
    world.cwd = world.project / "odd [1] *"
    (world.cwd / "src").mkdir(parents=True)

    assert world.rules('write = ["."]\nread = ["./s*"]') == [
        "write @/home/project/odd [1] *",
        "read @/home/project/odd [1] */src",
    ]


def test_the_whole_root_is_what_lies_in_it(world: World) -> None:
    lines = world.rules('read = ["/"]\nhide = ["@"]')

    assert "read /usr" in lines
    assert not {"read /", "read /proc", "read /dev", "read /sys"} & set(lines)


# --- layers ---


@pytest.mark.parametrize(
    "below, above, expected",
    [
        ('write = ["@/srv"]', 'read = ["@/srv"]', ["read @/srv"]),
        ('read = ["@/srv"]', 'tmp = ["@/srv"]', ["tmp @/srv 0755"]),
        ('tmp = ["@/srv"]', 'write = ["@/srv"]', ["write @/srv"]),
        ('hide = ["@/srv"]', 'write = ["@/srv"]', []),
        ('read = ["@/srv"]', 'hide = ["@/srv"]', []),
        ('tmp = ["~"]', 'write = ["."]', ["tmp @/home 0700", "write @/home/project"]),
    ],
)
def test_the_later_layer_wins_at_the_same_path(world: World, below: str, above: str, expected: list[str]) -> None:
    world.profile("below", f'[process]\ncwd = "/"\n[filesystem]\n{below}')
    world.profile("above", f'extends = "below"\n[filesystem]\n{above}')

    assert world.view(world.expand("above").spec) == expected
    assert world.view(world.expand("below", "above").spec) == expected


def test_the_command_line_is_the_last_layer(world: World) -> None:
    world.profile("p", '[process]\ncwd = "/"\n[filesystem]\nread = ["@/srv"]')
    expansion = world.expand("p", options=(("filesystem.write", "@/srv"), ("filesystem.tmp", "sub")))

    assert world.view(expansion.spec) == ["tmp @/home/project/sub 0755", "write @/srv"]
    assert expansion.origins["mounts[8]"] == world.at("--write @/srv")


# --- symlinks ---


def test_a_symlink_is_shown_as_one_and_its_target_at_its_own_place(world: World) -> None:
    world.make("@/usr/bin/sh", "@/bin -> usr/bin")

    assert world.rules('read = ["@/bin"]') == ["read @/usr/bin", "link @/bin -> usr/bin"]
    assert world.rules('read = ["@/usr", "@/bin"]') == ["read @/usr", "link @/bin -> usr/bin"]


def test_a_symlink_in_a_shown_tree_is_there_already(world: World) -> None:
    world.make("@/etc/resolv.conf -> ../stub/resolv.conf", "@/stub/resolv.conf")

    assert world.rules('read = ["@/etc", "@/etc/resolv.conf"]') == ["read @/etc", "read @/stub/resolv.conf"]


def test_every_symlink_of_a_chain_is_made(world: World) -> None:
    world.make("@/a -> @/b/c", "@/b -> real", "@/real/c -> d", "@/real/d/x")

    assert world.rules('read = ["@/a/x"]') == [
        "read @/real/d/x",
        "link @/a -> @/b/c",
        "link @/b -> real",
        "link @/real/c -> d",
    ]


def test_a_symlink_in_a_private_directory_is_made_there(world: World) -> None:
    world.make("@/home/.gitconfig -> dotfiles/gitconfig", "@/home/dotfiles/gitconfig")

    assert world.rules('tmp = ["~"]\nread = ["~/.gitconfig"]') == [
        "tmp @/home 0700",
        "read @/home/dotfiles/gitconfig",
        "link @/home/.gitconfig -> dotfiles/gitconfig",
    ]


def test_a_hidden_symlink_hides_what_it_leads_to(world: World) -> None:
    world.make("@/home/.ssh -> @/srv/keys", "@/srv/keys/id")

    assert world.rules('read = ["@/srv"]\nhide = ["~/.ssh"]') == ["read @/srv", "mask @/srv/keys"]


@pytest.mark.parametrize("link", ["vendor -> @/srv", "vendor -> ../../srv", "vendor -> secret/keys"])
def test_a_symlink_that_could_have_been_planted_is_refused(world: World, link: str) -> None:
    world.make(link, "secret/keys/id")
    error = refused(world, 'write = ["."]\nhide = ["./secret"]\nread = ["./vendor"]')

    assert str(error).startswith("~/.config/sandbox/profiles/p.toml:6: filesystem.read[0]: ")
    assert f"{world.project}/vendor is a symlink in a tree that is writable inside" in str(error)
    assert error.hint.startswith("name the target itself: ")


def test_a_planted_symlink_on_the_way_is_refused(world: World) -> None:
    world.make("a -> @/srv", "@/srv/b/")

    assert "name the target" in refused(world, 'write = ["."]\nread = ["./a/b"]').hint


@pytest.mark.parametrize("narrows", ["read", "tmp", "protect"])
def test_a_planted_symlink_lifts_nothing_in_its_tree(world: World, narrows: str) -> None:
    """At one path the later layer wins: what a link leads to must not be won over so."""
    world.make("out -> kept", "kept/x")
    world.profile("below", f'[filesystem]\nwrite = ["."]\n{narrows} = ["./kept"]')
    world.profile("p", 'extends = "below"\n[filesystem]\nwrite = ["./out"]')

    with pytest.raises(ProfileError, match=f"{world.project}/out is a symlink in a tree that is writable") as caught:
        world.expand("p")
    assert caught.value.hint.endswith(f"name it itself: {world.project}/kept")
    named = world.expand("p", options=(("filesystem.write", "./kept"),))
    assert not [line for line in world.view(named.spec) if line.endswith("kept") and not line.startswith("write")]


def test_a_symlink_within_what_may_be_written_is_allowed(world: World) -> None:
    world.make("a -> b", "b/")

    assert world.rules('write = ["."]\nread = ["./a"]') == ["write @/home/project", "read @/home/project/b"]


def test_what_is_hidden_behind_a_symlink_that_can_be_changed_would_not_stay_hidden(world: World) -> None:
    world.make("secret -> data/secret", "data/secret/")
    error = refused(world, 'write = ["."]\nhide = ["?./secret"]')

    assert "would not stay hidden" in str(error)
    assert error.hint == f"name the target itself: {world.project}/data/secret"


def test_a_circle_of_symlinks_is_an_error(world: World) -> None:
    world.make("a -> b", "b -> a")

    assert "Too many levels of symbolic links" in str(refused(world, 'read = ["./a"]'))


def test_each_step_on_the_way_is_an_input(world: World) -> None:
    world.make("@/bin -> usr/bin", "@/usr/bin/")
    world.rules('read = ["@/bin", "?@/none/x"]')

    seen = {(kind, name.replace(str(world.top), "@")) for kind, name in world.inputs.seen}
    assert {(InputKind.NODE, "@/bin"), (InputKind.NODE, "@/usr"), (InputKind.NODE, "@/usr/bin")} <= seen
    assert (InputKind.ABSENT, "@/none") in seen


# --- wildcards and the host ---


def test_only_directories_that_a_pattern_names_are_listed(world: World) -> None:
    world.make("@/srv/a/x/", "@/srv/b/x/", "@/other/x/")
    world.rules('read = ["@/srv/*/x"]')

    listed = {name for kind, name in world.inputs.seen if kind == InputKind.LISTING}
    assert listed == {f"{world.top}/srv"}


def test_any_depth_does_not_follow_symlinks(world: World) -> None:
    world.make("a/loop -> ..", "a/key")

    assert world.rules('read = ["."]\nhide = ["./**/key"]') == ["read @/home/project", "mask @/home/project/a/key"]


def test_too_many_directories_are_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DIRECTORIES_LISTED", 3)
    world.make("a/", "b/", "c/")
    error = refused(world, 'read = ["./**"]')

    assert "more than 3 directories would have to be listed" in str(error)
    assert error.hint == "name a smaller tree before the wildcard"


# --- errors ---

REFUSED = {
    "missing": ('read = ["/none"]', "4: filesystem.read[0]: /none: No such file or directory", '"?/none"'),
    "dangling": ('read = ["@/dangling"]', "@/dangling: No such file or directory (leads to @/none/x)", "?@/dangling"),
    "second": ('write = ["@/srv",\n"@/none"]', "5: filesystem.write[1]: @/none: No such", '"?@/none"'),
    "no match": ('read = ["~/*.none"]', '4: filesystem.read[0]: "~/*.none": nothing matches', '"?~/*.none"'),
    "relative": ('read = ["src"]', '4: filesystem.read[0]: "src": is not an absolute path', '"./"'),
    "parent": ('read = ["../x"]', '4: filesystem.read[0]: "../x": is not an absolute path', '"/"'),
    "empty": ('read = [""]', '4: filesystem.read[0]: "": is not an absolute path', '"/"'),
    "other home": ('read = ["~bob/x"]', '"~bob/x": is not an absolute path', '"~/"'),
    "unset": ('read = ["$NONE/x"]', '"$NONE/x": the variable NONE is not set', '"?$NONE/x"'),
    "line break": ('read = ["/a\\nb"]', "a path cannot hold a NUL or a line break", ""),
    "through a file": ('read = ["@/file/x"]', "@/file/x: No such file or directory", "?"),
    "tmp on a file": ('tmp = ["@/file"]', "@/file: Not a directory", "name a directory"),
    "tmp on the host": (
        'write = ["@/srv"]\ntmp = ["@/srv/none"]',
        "it would have to be made on the host",
        '"?@/srv/none"',
    ),
    "hide in writable": ('write = ["@/srv"]\nhide = ["@/srv/none"]', "it could be made inside", '"?@/srv/none"'),
    "proc": ('read = ["/proc/1"]', "/proc/1: the sandbox has its own", "leave it out"),
    "dev": ('read = ["/dev"]', "/dev: the sandbox has its own", "name the devices"),
    "own below": ('tmp = ["/proc/acpi"]', "/proc/acpi: the sandbox has its own", "leave it out"),
    "hidden root": ('hide = ["/"]', "/ cannot be hidden", ""),
    "hidden proc": ('hide = ["/proc", "/proc/cpuinfo"]', "/proc: the sandbox has its own", 'hide = ["/proc/…"]'),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_line_and_the_way_out(world: World, case: str) -> None:
    world.make("@/file", "@/dangling -> none/x")
    text, message, hint = REFUSED[case]
    if case == "line break":
        with pytest.raises(ProfileError, match=message):
            world.rules(text)
        return
    error = refused(world, text)

    assert world.at(message) in str(error)
    assert "profiles/p.toml:" in str(error)
    assert world.at(hint) in error.hint


# --- what is never writable inside ---


@pytest.mark.parametrize(
    "text, what",
    [
        ('write = ["~"]', "your profiles"),
        ('write = ["~/.config/sandbox"]', "your profiles"),
        ('write = ["~/.config/sandbox/profiles"]', "your profiles"),
        ('write = ["$XDG_RUNTIME_DIR"]', "the state of the sandboxes"),
        ('write = ["@"]', "the state of the sandboxes"),
        ('write = ["@/run/sandbox/plans"]', "the state of the sandboxes"),
        ('read = ["@/run/sandbox"]\nwrite = ["@/run/sandbox/plans"]', "the state of the sandboxes"),
        ('write = ["~/.config/*"]', "your profiles"),
    ],
)
def test_a_policy_that_would_make_our_own_writable_is_refused(world: World, text: str, what: str) -> None:
    world.make("@/run/sandbox/plans/")
    error = refused(world, text)

    assert "filesystem.write[0]: " in str(error)
    assert what in str(error)


def test_what_could_be_made_where_our_own_will_be_is_refused(world: World) -> None:
    world.environment["XDG_CONFIG_HOME"] = world.at("@/srv/config")
    (world.top / "srv/config/sandbox/profiles").mkdir(parents=True)
    (world.top / "srv/config/sandbox/profiles/p.toml").write_text('[filesystem]\nwrite = ["~"]')
    world.environment["XDG_CONFIG_HOME"] = world.at("@/home/none")
    with pytest.raises(ProfileError) as caught:
        world.expand(world.at("@/srv/config/sandbox/profiles/p.toml"))

    assert f"{world.home} would make your profiles writable inside: {world.home}/none/sandbox" in str(caught.value)
    assert "mkdir -p" in caught.value.hint


@pytest.mark.parametrize("cover", ["hide", "read"])
def test_a_tree_around_our_own_may_be_written_if_our_own_is_covered(world: World, cover: str) -> None:
    lines = world.rules(f'write = ["~"]\n{cover} = ["~/.config/sandbox"]')

    assert "write @/home" in lines
    assert f"{'mask' if cover == 'hide' else 'read'} @/home/.config/sandbox" in lines


def test_a_directory_above_what_is_covered_cannot_be_renamed(world: World) -> None:
    """A mount point stays where it is, but its parents would not: renamed, they would make room for others."""
    lines = world.rules('write = ["~"]\nread = ["~/.config/sandbox"]')

    assert lines == ["write @/home", "write @/home/.config", "read @/home/.config/sandbox"]


def test_a_symlink_to_our_own_that_can_be_changed_is_refused(world: World) -> None:
    world.make("@/srv/config/sandbox/profiles/", "@/home/conf -> @/srv/config")
    world.environment["XDG_CONFIG_HOME"] = world.at("@/home/conf")
    path = world.top / "srv/config/sandbox/profiles/p.toml"
    path.write_text('[filesystem]\nwrite = ["~"]')
    with pytest.raises(
        ProfileError, match=r"would make your profiles writable inside: .*/conf is a symlink that leads there"
    ):
        world.expand("p")


def test_the_state_is_not_even_readable(world: World) -> None:
    assert world.rules('read = ["@/run"]') == ["read @/run", "mask @/run/sandbox"]


def test_a_profile_in_the_project_is_made_read_only(world: World) -> None:
    world.make("ci/")
    (world.project / "ci/run.toml").write_text('[filesystem]\nwrite = ["."]')
    expansion = world.expand("./ci/run.toml")

    assert world.view(expansion.spec) == [
        "write @/home/project",
        "write @/home/project/ci",
        "read @/home/project/ci/run.toml",
    ]
    assert expansion.origins["mounts[9]"] == "protects the profile in use"
    assert expansion.origins["mounts[8]"].startswith("./ci/run.toml:2: filesystem.write[0], kept in place for ")


def test_a_profile_that_is_itself_named_as_writable_is_refused(world: World) -> None:
    (world.project / "run.toml").write_text('[process]\ncwd = "/"\n[filesystem]\nwrite = ["./run.toml"]')
    with pytest.raises(ProfileError, match=r"run\.toml:4: .*the profile in use"):
        world.expand("./run.toml")


# --- other places of the state, and what this program is made of ---


@pytest.mark.parametrize("tree", ["/tmp", "/run"])
def test_a_plan_cannot_be_planted_in_a_place_that_is_not_in_use(
    world: World, tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)  # who has no state in these places yet
    error = refused(world, f'write = ["{tree}"]\nhide = ["@/run"]')

    assert "the state of the sandboxes writable inside: /" in str(error)
    assert "work in a directory of your own below /" in error.hint


def test_the_whole_root_is_never_writable(world: World) -> None:
    assert "the whole system would be writable" in str(refused(world, 'write = ["/"]'))


def test_the_state_of_another_runtime_directory_is_guarded(world: World) -> None:
    world.make("@/other/")
    world.environment["XDG_RUNTIME_DIR"] = world.at("@/other")

    assert f"{world.top}/other/sandbox" in str(refused(world, 'write = ["@/other"]'))


def test_the_python_that_runs_us_is_made_read_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.make("py/bin/python", "venv/bin/sandbox", "venv/bin/python -> @/home/project/py/bin/python")
    monkeypatch.setattr("sys.prefix", str(world.project / "venv"))
    monkeypatch.setattr("sys.base_prefix", str(world.project / "py"))
    monkeypatch.setattr("sys.executable", str(world.project / "venv/bin/python"))

    assert world.rules('write = ["."]') == [
        "write @/home/project",
        "read @/home/project/py",
        "read @/home/project/venv",
    ]


def test_a_launcher_beside_the_python_is_made_read_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.make("bin/python", "bin/sandbox", "bin/other")
    monkeypatch.setattr("sys.executable", str(world.project / "bin/python"))

    assert "read @/home/project/bin" in world.rules('write = ["."]')


# --- what must not be in a writable tree where namespaces may be made inside ---


@pytest.mark.parametrize(
    "text", ['hide = ["./key"]', 'read = ["./key"]', 'tmp = ["./d"]', 'hide = ["./d/*"]', 'hide = ["?./key"]']
)
@pytest.mark.parametrize("asked", ["[security]\nnested = true", '[oci.annotations]\n"dev.sandbox.nested" = "true"'])
def test_what_would_not_stay_covered_in_a_namespace_inside_is_refused(world: World, text: str, asked: str) -> None:
    world.make("key", "d/e")
    rules = f'write = ["."]\n{text}\n'

    assert world.rules(rules)
    error = refused(world, rules + asked)
    assert "with security.nested, " in str(error)
    assert error.hint.startswith("leave nested off, write to a smaller tree, or move ")


def test_a_profile_in_the_project_is_refused_where_it_would_not_stay_read_only(world: World) -> None:
    (world.project / "run.toml").write_text('[filesystem]\nwrite = ["."]\n[security]\nnested = true')
    with pytest.raises(ProfileError, match=r"run\.toml would not stay read-only") as caught:
        world.expand("./run.toml")

    assert f"move {world.project}/run.toml out of {world.project}" in caught.value.hint


def test_what_lies_in_no_writable_tree_may_be_hidden_with_namespaces_inside(world: World) -> None:
    world.make("@/srv/key")
    lines = world.rules('write = ["."]\nread = ["@/srv"]\nhide = ["@/srv/key"]\n[security]\nnested = true')

    assert "mask @/srv/key" in lines


# --- directories that an earlier run closed to us ---


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400], ids=["closed", "not listed", "not entered"])
@pytest.mark.parametrize("pattern", ["./**/key", "./*/b/*", "./*/*/key", "./a/**/k*"])
def test_a_directory_closed_by_an_earlier_run_is_hidden_whole(world: World, mode: int, pattern: str) -> None:
    world.make("a/b/key")
    closed = world.project / "a/b"
    closed.chmod(mode)
    try:
        lines = world.rules(f'write = ["."]\nhide = ["{pattern}"]')
        listed = (InputKind.LISTING, str(closed)) in world.inputs.seen
    finally:
        closed.chmod(0o700)

    seen = mode == 0o100 and pattern == "./*/*/key"  # the pattern can be followed without a listing
    assert ("mask @/home/project/a/b/key" if seen else "mask @/home/project/a/b") in lines
    assert seen or listed  # so that the plan is stale when the directory is opened


def test_a_hidden_path_in_a_closed_directory_makes_the_plan_stale_when_it_is_opened(world: World) -> None:
    world.make("a/key")
    (world.project / "a").chmod(0)
    try:
        lines = world.rules('write = ["."]\nhide = ["./a/key"]')
    finally:
        (world.project / "a").chmod(0o700)

    assert "mask @/home/project/a" in lines
    assert (InputKind.LISTING, f"{world.project}/a") in world.inputs.seen


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_pattern_that_shows_says_which_directory_is_closed(world: World, kind: str) -> None:
    world.make("a/b/key")
    (world.project / "a/b").chmod(0)
    try:
        error = refused(world, f'{kind} = ["./a/**/key"]')
    finally:
        (world.project / "a/b").chmod(0o700)

    assert f"cannot look into {world.project}/a/b: Permission denied" in str(error)


def test_patterns_in_tmp_do_not_make_the_plan_depend_on_all_of_tmp(world: World) -> None:
    world.make("key")
    first, *rest = (world.project / "key").relative_to("/tmp").parts
    lines = world.rules(f'read = ["."]\nhide = ["/tmp/{first[:-1]}*/{"/".join(rest)}", "/tmp/tmux-*"]')

    assert lines == ["read @/home/project", "mask @/home/project/key"]
    assert (InputKind.LISTING, "/tmp") not in world.inputs.seen


def test_patterns_in_tmp_are_listed_where_tmp_is_shown(world: World) -> None:
    first = world.top.parts[2]

    assert f"mask /tmp/{first}" in world.rules(f'read = ["/tmp"]\nhide = ["/tmp/{first[:-1]}*"]')


def test_what_was_hidden_must_be_there_when_the_plan_runs(world: World) -> None:
    """Something that an earlier run's child took away since could come back, and be seen."""
    world.make("key")
    name = world.profile("p", '[filesystem]\nwrite = ["."]\nhide = ["./key"]')
    expansion = world.expand(name)
    case = Case(expansion.spec, Host(uid=1, gid=1, state_dir="/s"), Origins(expansion.origins))
    steps = covers(case)
    masks = {step.op.target: step.flags for step in steps if isinstance(step.op, Mask)}

    assert not masks.pop(f"{world.project}/key") & Flag.IF_PRESENT
    assert all(flags & Flag.IF_PRESENT for flags in masks.values())
    expansion.spec.annotations["dev.sandbox.root"] = "directory"  # which need not have what the host has
    assert all(step.flags & Flag.IF_PRESENT for step in covers(case))


# --- the command line ---


@pytest.mark.parametrize("name", ["$HOME", "~", "*", "[a]", "a?", "${USER}", "~/x"])
def test_a_path_on_the_command_line_is_literal(world: World, name: str) -> None:
    world.make("a", "aa")
    path = world.project / name
    path.mkdir(parents=True)
    for text in (name, str(path), f"?{name}"):
        expansion = world.expand(options=(("filesystem.write", text), ("process.cwd", "/")))
        assert world.view(expansion.spec) == [f"write @/home/project/{name}"]


# --- a model of the whole ---

NAMES = ["@/m", "@/m/a", "@/m/a/x", "@/m/a/x/k", "@/m/b", "@/m/b/y", "@/m/b/y/z", "@/m/l", "@/m/l/k", "@/m/b/up"]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(["read", "write", "hide", "tmp"]), st.sampled_from(NAMES), st.integers(0, 2)),
        max_size=7,
    )
)
def test_what_is_mounted_is_what_the_nearest_rule_says(rules: list[tuple[str, str, int]]) -> None:
    """For every path of a small tree: what the mounts show there is what the rules say, and nothing hidden is reachable."""
    with TemporaryDirectory() as directory:
        world = World(Path(directory))
        world.make("@/m/a/x/k", "@/m/b/y/z/f", "@/m/l -> a/x", "@/m/b/up -> ../a")
        for layer in range(3):
            kinds = {
                kind: [path for own, path, number in rules if own == kind and number == layer] for kind, *_ in rules
            }
            lines = [f"{kind} = {paths}" for kind, paths in kinds.items()]
            world.profile(f"p{layer}", '[process]\ncwd = "/"\n[filesystem]\n' + "\n".join(lines))
        try:
            spec = world.expand("p0", "p1", "p2").spec
        except ProfileError as error:
            assert "symlink" in str(error) or "Not a directory" in str(error)
            return
        winners: dict[str, tuple[bool, int, int]] = {}
        for kind, name, layer in rules:
            path = os.path.realpath(world.at(name))
            strength = (kind == "hide", layer, ["tmp", "read", "write", "hide"].index(kind))
            winners[path] = max(winners.get(path, strength), strength)
        for path in tree(world.at("@/m")):
            nearest = path
            while nearest not in winners and nearest != "/":
                nearest = os.path.dirname(nearest)
            said = ["tmp", "read", "write", "hide"][winners[nearest][2]] if nearest in winners else "none"
            assert shown(spec, path) == (said if said in ("read", "write") else "none"), (path, world.view(spec))
        destinations = [mount.destination for mount in spec.mounts]
        assert len(set(destinations)) == len(destinations)
        assert all(not first.startswith(second + "/") for first, second in pairwise(destinations))


def shown(spec: Spec, path: str) -> str:
    """Return how the host's `path` is shown at its place: read, write or none."""
    assert spec.linux is not None
    if any(path == mask or path.startswith(mask + "/") for mask in spec.linux.masked_paths):
        return "none"
    result = "none"
    for mount in spec.mounts:
        if path == mount.destination or path.startswith(mount.destination + "/"):
            result = "none" if mount.type != "bind" else "read" if "rro" in mount.options else "write"
    return result
