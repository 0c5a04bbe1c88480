"""A project's `.sandbox.toml`: which profile it asks for, its approval, and that nothing of it is in force unasked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from profile_world import tree
from project_world import NAME, Project, world

from sandbox.errors import ProfileError
from sandbox.profile import trust
from sandbox.profile.environment import kept
from sandbox.profile.expand import Expansion
from sandbox.profile.project import Untrusted
from sandbox.spec.runtime import Spec

__all__ = ["world"]  # a fixture


# --- which profile it asks for ---


def test_it_may_choose_a_profile_that_is_no_looser(world: Project) -> None:
    world.profile("less", '[filesystem]\nread = ["."]')
    world.write('extends = "less"')

    assert world.view(world.run().spec) == ["read @/home/project"]


def test_a_looser_profile_is_named(world: Project) -> None:
    world.profile("more", 'extends = "mine"\n[network]\nmode = "host"')
    world.write('extends = "more"\n[security]\nnested = true')
    with pytest.raises(Untrusted) as caught:
        world.run()
    assert [line.partition(", ")[0] for line in caught.value.details] == [
        f'~/project/{NAME}:1: extends: ~/.config/sandbox/profiles/more.toml:3: network.mode: "host"',
        f"~/project/{NAME}:3: security.nested: true",
    ]
    judged = world.judge('extends = "more"')

    assert [entry[:2] for entry in judged] == [("extends", f"~/project/{NAME}:1: extends")]
    assert judged[0].wanted == '~/.config/sandbox/profiles/more.toml:3: network.mode: "host"'


def test_a_profile_that_was_named_is_not_chosen_anew(world: Project) -> None:
    world.profile("more", '[network]\nmode = "host"')
    world.write('extends = "more"\n[filesystem]\nread = ["./src"]')
    spec = world.run(world.request("mine", named=True)).spec

    assert spec.linux is not None
    assert "network" in [entry.type for entry in spec.linux.namespaces]
    assert world.view(spec) == ["write @/home/project", f"read @/home/project/{NAME}", "read @/home/project/src"]


@pytest.mark.parametrize(
    "text",
    ['extends = "./other.toml"', 'extends = ["mine", "other.toml"]', '[security]\nseccomp = "./filter.json"'],
)
def test_another_file_of_the_project_is_never_read(world: Project, text: str) -> None:
    """Also when trusted: its content can change, and nobody would be asked."""
    path = world.write(text)
    trust.trust(str(path), path.read_bytes(), (), world.eye().inputs)

    with pytest.raises(ProfileError, match=r"is a file, and a project may"):
        world.run()


# --- approval ---


def test_exactly_what_was_approved_is_in_force(world: Project) -> None:
    path = world.write('[network]\nmode = "host"')
    trust.trust(str(path), path.read_bytes(), (), world.eye().inputs)
    spec = world.run().spec
    assert spec.linux is not None
    assert "network" not in [entry.type for entry in spec.linux.namespaces]

    with pytest.raises(Untrusted):
        world.run(world.request("mine", named=True))  # it was shown over the default, not over this
    content = path.read_bytes()
    path.unlink()
    world.write(content.decode(), world.project / "src")
    world.cwd = world.project / "src"
    with pytest.raises(Untrusted):
        world.run()
    world.cwd = world.project
    path.write_bytes(content + b"\n")
    with pytest.raises(Untrusted):
        world.run()


def test_an_approval_over_a_named_profile_holds_for_that(world: Project) -> None:
    path = world.write('[network]\nmode = "host"')
    trust.trust(str(path), path.read_bytes(), ("mine",), world.eye().inputs)

    world.run(world.request("mine", named=True))
    with pytest.raises(Untrusted):
        world.run()


@pytest.mark.parametrize("spoil", ["directory", "file", "link"])
def test_an_approval_that_others_could_have_made_is_none(world: Project, spoil: str) -> None:
    path = world.write('[network]\nmode = "host"')
    inputs = world.eye().inputs
    trust.trust(str(path), path.read_bytes(), (), inputs)
    (entry,) = trust.approvals(inputs)
    place = Path(trust.directory(inputs))
    if spoil == "directory":
        place.chmod(0o777)
    elif spoil == "file":
        (place / entry.name).chmod(0o666)
    else:
        (place / entry.name).rename(place / "x")
        (place / entry.name).symlink_to("x")

    with pytest.raises(Untrusted):
        world.run()


def test_approvals_can_be_listed_and_taken_back(world: Project) -> None:
    path = world.write("")
    inputs = world.eye().inputs
    for profiles in ((), ("a", "b")):
        trust.trust(str(path), b"x", profiles, inputs)
    assert [entry[:2] for entry in trust.approvals(world.eye().inputs)] == [(str(path), ()), (str(path), ("a", "b"))]
    assert Path(trust.directory(inputs)).stat().st_mode & 0o777 == 0o700

    assert trust.untrust(str(path), world.eye().inputs) == 2
    assert trust.approvals(world.eye().inputs) == []


def test_approvals_and_the_file_are_out_of_the_programs_reach(world: Project) -> None:
    world.base('[filesystem]\nwrite = ["."]\nread = ["~"]')
    path = world.write("")
    trust.trust(str(path), b"", (), world.eye().inputs)
    view = world.view(world.run().spec)

    assert "mask @/home/.config/sandbox/trusted" in view
    assert f"read @/home/project/{NAME}" in view
    world.base('[filesystem]\nwrite = ["~/.config"]')
    with pytest.raises(ProfileError, match="would make your profiles writable inside"):
        world.run()


def test_with_nested_namespaces_it_stays_writable_and_judged(world: Project) -> None:
    world.base('[filesystem]\nwrite = ["."]\n[security]\nnested = true')
    world.write("")

    assert world.view(world.run().spec) == ["write @/home/project"]


# --- nothing is ever looser ---

PLACES = ("/srv", "/srv/a", "/srv/a/b", "/srv/c", "/home/project", "/home/project/d", "/home/project/d/e")
KINDS = ("read", "write", "hide", "tmp", "protect")
VARIABLES = ("A", "AB", "B", "HOME", "SSH_X")
PATTERNS = (*VARIABLES, "A*", "*", "?", "SSH_*")

rules = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(PLACES)), max_size=5)
texts = st.fixed_dictionaries(
    {},
    optional={
        "keep": st.lists(st.sampled_from(PATTERNS), max_size=2),
        "unset": st.lists(st.sampled_from(PATTERNS), max_size=2),
        "set": st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(("1", "2")), max_size=2),
    },
)
scalars = st.fixed_dictionaries(
    {},
    optional={
        "network.mode": st.sampled_from(('"none"', '"host"')),
        "security.seccomp": st.sampled_from(('"strict"', '"default"', '"off"')),
        "security.no_new_privs": st.sampled_from(("true", "false")),
        "user.map": st.sampled_from(('"single"',)),
        "limits.rlimits.nofile": st.integers(1, 9).map(str),
        "limits.pids": st.integers(1, 9).map(str),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = ['process.cwd = "/"']
    for kind in KINDS:
        chosen = [f'"?@{place}"' for other, place in draw(rules) if other == kind]
        lines.append(f"filesystem.{kind} = [{', '.join(chosen)}]")
    for name, value in draw(texts).items():
        if isinstance(value, dict):
            lines += [f'environment.set.{variable} = "{text}"' for variable, text in value.items()]
        else:
            lines.append(f"environment.{name} = {list(value)}".replace("'", '"'))
    lines += [f"{name} = {value}" for name, value in draw(scalars).items()]
    return "\n".join(lines)


def effect(expansion: Expansion, paths: list[str]) -> dict[str, int]:
    """Return what the command can do, from what will be mounted and set, as numbers that must not grow."""
    spec = expansion.spec
    assert spec.linux is not None
    assert spec.process is not None
    result = {path: _reach(spec, path) for path in paths}
    have = dict.fromkeys(VARIABLES, "outside")
    passed = kept(expansion.keep, have) | dict(entry.split("=", 1) for entry in spec.process.env)
    for name, value in passed.items():
        result[f"${name}={value}"] = 1
    result["network"] = int("network" not in [entry.type for entry in spec.linux.namespaces])
    allowed = spec.linux.seccomp.syscalls if spec.linux.seccomp else []
    names = {name for rule in allowed if rule.action == "SCMP_ACT_ALLOW" for name in rule.names}
    result["filter"] = len(names) if spec.linux.seccomp else 9999
    result["privileges"] = int(not spec.process.no_new_privileges)
    result["nofile"] = next((limit.hard for limit in spec.process.rlimits), 99)
    pids = spec.linux.resources.pids if spec.linux.resources else None
    result["pids"] = pids.limit if pids else 99
    return result


def _reach(spec: Spec, path: str) -> int:
    def around(place: str) -> bool:
        return path == place or path.startswith(place + "/")

    assert spec.linux is not None
    mounts = [mount for mount in spec.mounts if around(mount.destination)]
    masks = [place for place in spec.linux.masked_paths if around(place)]
    deepest = max(mounts, key=lambda mount: len(mount.destination), default=None)
    if deepest is None or deepest.type != "bind" or any(len(place) >= len(deepest.destination) for place in masks):
        return 0
    return 1 if {"ro", "rro"} & set(deepest.options) else 2


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), documents())
def test_a_file_that_nobody_trusts_is_never_looser(base: str, own: str) -> None:
    with tempfile.TemporaryDirectory() as top:
        world = Project(Path(top))
        world.make("@/srv/a/b/f", "@/srv/c/f", "d/e/f")
        world.base(world.at(base))
        world.write(own.partition("\n")[2])
        paths = [path for place in ("srv", "home/project") for path in tree(f"{world.top}/{place}") if NAME not in path]
        try:
            before = world.run(world.request()._replace(project=""))
        except ProfileError:
            event("no base")
            return
        try:
            after = world.run()
        except ProfileError as error:
            event(type(error).__name__)
            return
        event("in force")
        allowed, given_ = effect(before, paths), effect(after, paths)
        assert {key: value for key, value in given_.items() if value > allowed.get(key, 0)} == {}
