"""`filesystem.cache`: kept for one project, and nothing of it where programs outside look."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from profile_world import World

from sandbox.errors import ProfileError


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def source(world: World, text: str) -> str:
    world.profile("p", f'[process]\ncwd = "/"\n[filesystem]\n{text}\n')
    expansion = world.expand("p")
    assert len(expansion.caches) == 1
    return expansion.caches[0]


def test_it_lies_where_nobody_looks_and_is_shown_at_its_place(world: World) -> None:
    world.make("@/home/.cargo/registry/index")

    assert world.rules('tmp = ["~"]\ncache = ["~/.cargo/registry"]') == [
        "tmp @/home 0700",
        "cache @/home/.cargo/registry",
    ]
    place = Path(source(world, 'cache = ["~/.cargo/registry"]'))
    assert place.is_relative_to(world.home / ".cache/sandbox")
    assert not place.exists(), "to say what would be done makes nothing"


def test_each_project_and_each_path_has_its_own(world: World) -> None:
    here = source(world, 'cache = ["~/a/b"]')
    other = source(world, 'cache = ["~/a%2Fb"]')
    world.cwd = world.top / "srv"
    elsewhere = source(world, 'cache = ["~/a/b"]')

    assert len({here, other, elsewhere}) == 3
    assert Path(here).parent == Path(other).parent != Path(elsewhere).parent


def test_a_choice_that_is_closed_is_named(world: World) -> None:
    world.make("@/srv/closed/mine/")
    (world.top / "srv/closed").chmod(0)
    world.environment["XDG_CACHE_HOME"] = f"{world.top}/srv/closed/mine"

    with pytest.raises(ProfileError) as caught:
        source(world, 'cache = ["~/a"]')
    (world.top / "srv/closed").chmod(0o700)
    assert caught.value.reason == f"{world.top}/srv/closed/mine: Permission denied"
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_the_cache_directory_is_the_users_choice(world: World) -> None:
    world.environment["XDG_CACHE_HOME"] = f"{world.top}/srv"
    assert source(world, 'cache = ["~/x"]').startswith(f"{world.top}/srv/sandbox/project-")
    world.environment["XDG_CACHE_HOME"] = "relative"
    assert source(world, 'cache = ["~/x"]').startswith(f"{world.home}/.cache/sandbox/project-")


def test_a_symlink_in_its_place_is_refused(world: World) -> None:
    place = Path(source(world, 'cache = ["~/x"]'))
    place.parent.mkdir(parents=True)
    place.symlink_to(world.home)

    with pytest.raises(ProfileError, match="is to hold a cache, and is no directory") as caught:
        world.expand("p")
    assert caught.value.hint


def test_no_mount_point_is_made_for_it_on_the_host(world: World) -> None:
    world.profile("p", '[filesystem]\nwrite = ["."]\ncache = ["./absent"]')

    with pytest.raises(ProfileError, match="it would have to be made on the host"):
        world.expand("p")


def test_an_optional_one_is_left_out_there(world: World) -> None:
    world.make("there/")

    lines = world.rules('write = ["."]\ncache = ["?./absent", "?./there", "?~/c"]')
    assert lines == ["cache @/home/c", "write @/home/project", "cache @/home/project/there"]


@needs("userns")
def test_what_is_put_there_is_there_next_time_in_this_project_alone(
    sandbox: Sandbox, home: Path, project: Path
) -> None:
    for profile, value in (("a", "first"), ("b", "")):
        (home / f"{profile}.toml").write_text(
            f'extends = "build"\ndescription = "{value}"\nfilesystem.cache = ["~/.c/d"]\n'
        )
    (home / ".c/d").mkdir(parents=True)
    (home / ".c/d/of-the-host").touch()

    assert sandbox("run", "-p", str(home / "a.toml"), "sh", "-c", "ls ~/.c/d; echo kept >~/.c/d/x").stdout == ""
    for profile in ("a", "b", "a"):
        assert sandbox("run", "-p", str(home / f"{profile}.toml"), "sh", "-c", "cat ~/.c/d/*").stdout == "kept\n"
    assert [path.name for path in (home / ".c/d").iterdir()] == ["of-the-host"]
    (home / "other").mkdir()
    assert sandbox("run", "-p", str(home / "a.toml"), "ls", "-A", str(home / ".c/d"), cwd=home / "other").stdout == ""


@needs("userns")
def test_removed_it_is_made_anew(sandbox: Sandbox, home: Path) -> None:
    (home / "a.toml").write_text('extends = "build"\nfilesystem.cache = ["~/.c"]\n')
    for _ in range(3):
        command = ("run", "-p", str(home / "a.toml"), "sh", "-c", "ls -A ~/.c; touch ~/.c/x")
        assert sandbox(*command, check=True).stdout == ""
        [place] = (home / ".cache/sandbox").glob("project-*/*")
        (place / "x").unlink()
        place.rmdir()
