"""Finding profiles, reading them, laying them over one another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from profile_world import World

from sandbox.errors import ProfileError
from sandbox.plan.inputs import InputKind, Inputs
from sandbox.profile import load
from sandbox.profile.load import available, key_text
from sandbox.profile.request import Request, layers


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def shown(world: World, *profiles: str) -> dict[str, tuple[object, str]]:
    inputs = Inputs(environment=world.environment)
    return {
        entry.key: (entry.value, entry.origin.replace("~/.config/sandbox/profiles/", ""))
        for entry in layers(Request(profiles, (), str(world.cwd), 1000, 1000), inputs, state_dir="")[0]
    }


def refused(world: World, *profiles: str, options: tuple[tuple[str, str], ...] = ()) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        world.expand(*profiles, options=options)
    return caught.value


# --- which file ---


def test_a_profile_of_the_user_stands_before_a_shipped_one(world: World) -> None:
    world.profile("build", 'description = "mine"')

    assert shown(world, "build") == {"description": ("mine", "build.toml:1: description")}


def test_the_absence_of_a_profile_that_would_shadow_ours_is_an_input(world: World) -> None:
    world.expand("build")

    for name in ("build", "base", "secrets"):
        assert (InputKind.ABSENT, f"{world.profiles}/{name}.toml") in world.inputs.seen
        assert (InputKind.FILE, f"{load.shipped_directory()}/{name}.toml") in world.inputs.seen
    assert (InputKind.UNSET, "XDG_CONFIG_HOME") in world.inputs.seen


@pytest.mark.parametrize("value", ["", "relative/dir"])
def test_a_configuration_directory_that_is_no_absolute_path_is_ignored(world: World, value: str) -> None:
    world.environment["XDG_CONFIG_HOME"] = value
    world.profile("p", 'description = "found"')

    assert shown(world, "p")["description"][0] == "found"


def test_a_path_is_taken_from_the_working_directory_and_extends_from_the_file(world: World) -> None:
    world.make("sub/")
    (world.project / "sub/a.toml").write_text('extends = "./b.toml"\ndescription = "a"')
    (world.project / "sub/b.toml").write_text('[process]\nhostname = "b"')

    assert shown(world, "sub/a.toml") == {
        "description": ("a", "sub/a.toml:2: description"),
        "process.hostname": ("b", "./b.toml:2: process.hostname"),
    }


def test_shipped_profiles_are_listed_with_the_users(world: World) -> None:
    world.profile("mine", "")
    world.profile(".hidden", "")
    names = dict(available(Inputs(environment=world.environment)))

    assert set(names) > {"agent", "base", "build", "mine", "secrets", "shell", "untrusted"}
    assert ".hidden" not in names
    assert names["mine"] == f"{world.profiles}/mine.toml"


def test_an_unknown_name_lists_the_nearest(world: World) -> None:
    error = refused(world, "biuld")

    assert str(error) == '--profile: no profile "biuld"'
    assert error.hint == "did you mean build?"


def test_an_unknown_name_without_neighbours_lists_all(world: World) -> None:
    known = ", ".join(name for name, _ in available(Inputs(environment=world.environment)))
    assert refused(world, "xyzzy").hint == f"known are: {known}"
    assert "build" in known


def test_a_path_that_is_not_there(world: World) -> None:
    assert str(refused(world, "./none.toml")) == f"--profile: {world.project}/none.toml: No such file or directory"


def test_a_name_in_extends_that_is_unknown_has_its_line(world: World) -> None:
    world.profile("p", 'extends = [\n  "base",\n  "bild"]')
    error = refused(world, "p")

    assert str(error) == '~/.config/sandbox/profiles/p.toml:3: extends[1]: no profile "bild"'
    assert "build" in error.hint


@pytest.mark.parametrize("name", ["..", "-x", "a b", "", "\u00e4"])
def test_a_name_that_cannot_be_a_file(world: World, name: str) -> None:
    assert "is not the name of a profile" in str(refused(world, name))


def test_a_circle_is_refused_and_named(world: World) -> None:
    world.profile("a", 'extends = "b"')
    world.profile("b", 'description = ""\nextends = ["c"]')
    world.profile("c", 'extends = "a"')
    error = refused(world, "a")

    assert str(error) == (
        "~/.config/sandbox/profiles/c.toml:1: extends: goes in a circle: a extends b extends c extends a"
    )


# --- what it says ---

WRONG = {
    "x = 1": ("p.toml:1: x: unknown key", "known are: description"),
    "[filesystem]\n\nraed = []": ("p.toml:3: filesystem.raed: unknown key", "did you mean read?"),
    "[filesytem]\nread = []": ("p.toml:1: filesytem: unknown key", "did you mean filesystem?"),
    '[filesystem]\nread = ["/usr",\n  7]': (
        'p.toml:3: filesystem.read[1]: expected a text ("a"), got a whole number',
        "",
    ),
    '[process]\ninit = "no"': ('p.toml:2: process.init: expected true or false, got a text ("a")', ""),
    '[network]\nmode = "all"': ("p.toml:2: network.mode: invalid enum value 'all'", 'write "host" or "none"'),
    '[user]\nmap = "all"': ("p.toml:2: user.map: invalid enum value 'all'", 'write "range" or "single"'),
    'root = "host"': ('p.toml:1: root: expected a table, got a text ("a")', ""),
    "[limits]\nrlimits = { nofile = { soft = 1 } }": ("p.toml:2: limits.rlimits.nofile: object missing required", ""),
    "[environment.set]\nA = 1": ('p.toml:2: environment.set.A: expected a text ("a"), got a whole number', ""),
    "a = = 1": ("p.toml:1: is not TOML: invalid value", ""),
    'a = "\n': ("p.toml:1: is not TOML: ", ""),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named_with_key_and_line(world: World, text: str) -> None:
    world.profile("p", text)
    error = refused(world, "p")
    message, hint = WRONG[text]

    assert message in str(error)
    assert hint in error.hint


@pytest.mark.parametrize(
    "text, message",
    [
        (f"x = {'[' * 100_000}", "is nested too deeply"),
        (f"[oci]\nx = {'[' * 400}{']' * 400}", "is nested too deeply"),
        (f"[oci]\nx{'.a' * 3000} = 1", "is nested too deeply"),
        (f"[limits]\npids = 1{'0' * 5000}", "holds a number of more digits than can be meant"),
    ],
)
def test_what_no_parser_takes_is_refused_without_a_traceback(world: World, text: str, message: str) -> None:
    world.profile("p", text)

    assert str(refused(world, "p")).endswith(f"p.toml: {message}")


def test_a_file_that_is_not_text(world: World) -> None:
    (world.profiles / "p.toml").write_bytes(b"\xff\xfe")

    assert str(refused(world, "p")).startswith("~/.config/sandbox/profiles/p.toml: is not TOML: ")


# --- layers ---


def test_lists_grow_tables_merge_and_of_single_values_the_last_counts(world: World) -> None:
    world.profile(
        "a", '[filesystem]\nread = ["/a"]\n[process]\nhostname = "a"\nnice = 1\n[environment.set]\nX = "a"\nY = "a"'
    )
    world.profile(
        "b", 'extends = "a"\n[filesystem]\nread = ["/b"]\n[process]\nhostname = "b"\n[environment.set]\nX = "b"'
    )

    assert shown(world, "b") == {
        "filesystem.read[0]": ("/a", "a.toml:2: filesystem.read[0]"),
        "filesystem.read[1]": ("/b", "b.toml:3: filesystem.read[0]"),
        "environment.set.X": ("b", "b.toml:7: environment.set.X"),
        "environment.set.Y": ("a", "a.toml:8: environment.set.Y"),
        "process.hostname": ("b", "b.toml:5: process.hostname"),
        "process.nice": (1, "a.toml:5: process.nice"),
    }


def test_a_profile_that_is_named_twice_counts_once_and_first(world: World) -> None:
    """Otherwise the second one that extends a base would undo what the first says against it."""
    world.profile("ground", '[process]\nhostname = "ground"')
    world.profile("a", 'extends = "ground"\n[process]\nhostname = "a"')
    world.profile("b", 'extends = "ground"')

    assert shown(world, "a", "b")["process.hostname"][0] == "a"


@pytest.mark.parametrize(
    "option, key, value, origin",
    [
        (("filesystem.read", "/usr"), "filesystem.read", ["/usr"], "--read /usr"),
        (("environment", "A=b=c"), "environment.set", {"A": "b=c"}, "--env A"),
        (("environment", "A"), "environment.keep", ["A"], "--env A"),
        (("network.mode", "host"), "network.mode", "host", "--network host"),
        (("process.tty", "true"), "process.tty", True, "--tty"),
        (("process.hostname", "h"), "process.hostname", "h", "--hostname h"),
    ],
)
def test_an_option_is_a_value_of_the_last_layer(
    world: World, option: tuple[str, str], key: str, value: object, origin: str
) -> None:
    layered = load.load((), (option,), "/", world.inputs)
    section, _, name = key.partition(".")

    assert layered.values[section][name] == value
    assert origin in {entry.text for entry in layered.origins.values()}


@pytest.mark.parametrize(
    "option, message",
    [
        (("network.mode", "all"), "--network: is refused: all"),
        (("environment", "=x"), '--env: "=x" has no name'),
    ],
)
def test_an_option_with_a_wrong_value_names_the_option(world: World, option: tuple[str, str], message: str) -> None:
    error = refused(world, options=(option,))

    assert str(error) == message
    assert error.hint


def test_keys_read_as_people_write_them() -> None:
    assert key_text(("filesystem", "read", 1)) == "filesystem.read[1]"


@pytest.mark.parametrize("what", ["fifo", "device", "directory", "large"])
def test_a_profile_that_is_no_file_neither_hangs_nor_fills_the_memory(world: World, what: str) -> None:
    path = world.project / "p.toml"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"#" * ((1 << 20) + 1))
    reasons = {"directory": "Is a directory", "large": "larger than 1 MiB"}
    with pytest.raises(ProfileError, match=reasons.get(what, "not a regular file")):
        world.expand("./p.toml")
