"""The shipped profiles: what they come to, and that no other file is out of date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from needs import CHECKOUT
from profile_world import STANDARD, World

from sandbox.profile import reference
from sandbox.profile.resolve import Resolver
from sandbox.spec.runtime import annotation

SHIPPED = tuple(sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.toml") if path.stem != "secrets"))
READ_ONLY = ("base", "offline-test", "untrusted")
# The host's own, which differs from machine to machine.
SYSTEM = ("/bin", "/tmp/.X11-unix/", "/etc", "/gnu/", "/lib", "/nix/", "/opt", "/run", "/sbin", "/usr", "/var/")

CACHES = {
    "go": [".cache/go-build", "go/pkg"],
    "java": [".cache/coursier", ".gradle/caches", ".gradle/wrapper", ".ivy2/cache", ".m2/repository", ".m2/wrapper"],
    "node": [
        *(".bun/install/cache", ".cache/node", ".cache/node-gyp", ".cache/pnpm", ".cache/yarn"),
        *(".local/share/pnpm/store", ".npm", ".yarn/berry"),
    ],
    "python": [".cache/pip", ".cache/pypoetry", ".cache/uv"],
    "rust": [".cargo/git", ".cargo/registry"],
}
GOLDEN = {
    "base": ["tmp @/home 0700", "tmp /tmp 1777"],
    "offline-test": ["tmp @/home 0700", "read @/home/project", "write @/home/project/build", "tmp /tmp 1777"],
    "shell": ["tmp @/home 0700", "read @/home/.inputrc", "write @/home/project", "tmp /tmp 1777"],
    "untrusted": ["tmp /tmp 1777"],
}

SECRETS = (
    ".ssh/id",
    ".gnupg/key",
    ".aws/credentials",
    ".azure/token",
    ".config/gcloud/db",
    ".config/gh/hosts.yml",
    ".kube/config",
    ".docker/config.json",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".git-credentials",
    ".mozilla/x",
    ".config/chromium/x",
    ".config/google-chrome/x",
    ".password-store/x",
    ".local/share/keyrings/x",
    ".bash_history",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make(*(f"@/home/{name}" for name in SECRETS), "@/home/.inputrc", "build/")
    return world


def options(profile: str) -> tuple[tuple[str, str], ...]:
    return (("process.cwd", "/"),) if profile == "base" else ()


@pytest.mark.parametrize("profile", SHIPPED)
def test_what_a_shipped_profile_shows(world: World, profile: str) -> None:
    spec = world.expand(profile, options=options(profile)).spec
    lines = [line for line in world.view(spec) if not line.split()[1].startswith(SYSTEM)]
    stubs = [f"read {path}" for path in json.loads(spec.annotations.get("dev.sandbox.absent", "{}"))]
    lines = [line for line in lines if line.replace("@", str(world.top)) not in stubs]

    assert bool(stubs) == (profile == "agent")
    own = ["tmp @/home 0700", "write @/home/project", "tmp /tmp 1777"]
    caches = [f"cache @/home/{path}" for path in CACHES.get(profile, ())]
    assert sorted(lines) == sorted(GOLDEN.get(profile, own) + caches)


def test_the_standard_mounts_of_a_sandbox(world: World) -> None:
    spec = world.expand("build").spec

    assert world.view(spec, standard=True)[:STANDARD] == [
        "proc /proc",
        "tmp /dev 755",
        "devpts /dev/pts",
        "tmp /dev/shm 1777",
        "mqueue /dev/mqueue",
        "sysfs /sys",
        "cgroup /sys/fs/cgroup",
    ]


@pytest.mark.parametrize("profile", SHIPPED)
def test_the_system_is_read_only(world: World, profile: str) -> None:
    spec = world.expand(profile, options=options(profile)).spec
    binds = [mount for mount in spec.mounts if mount.type == "bind" and "rro" not in mount.options]
    writable = [mount.destination for mount in binds if "/.cache/sandbox/" not in mount.source]
    projects = [str(world.project)] if profile not in READ_ONLY else []

    assert writable == ([f"{world.project}/build"] if profile == "offline-test" else projects)
    assert spec.root is not None
    assert spec.root.readonly


@pytest.mark.parametrize("profile", SHIPPED)
def test_no_way_out(world: World, profile: str) -> None:
    spec = world.expand(profile, options=options(profile)).spec
    assert spec.linux is not None
    assert spec.process is not None
    assert spec.process.capabilities is not None

    assert "network" in [namespace.type for namespace in spec.linux.namespaces]
    assert spec.linux.seccomp is not None
    assert spec.process.no_new_privileges
    assert not spec.process.capabilities.bounding
    assert annotation(spec, "nested") == "false"


@pytest.mark.parametrize("profile", SHIPPED)
@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_stay_hidden_when_the_whole_home_is_shown(world: World, profile: str, secret: str) -> None:
    spec = world.expand(profile, options=(("filesystem.read", "@/home"), ("process.cwd", "/"))).spec
    assert spec.linux is not None
    path = f"{world.home}/{secret}"

    assert any(path == mask or path.startswith(mask + "/") for mask in spec.linux.masked_paths)


def test_sockets_of_the_session_are_hidden_when_everything_is_shown(world: World) -> None:
    world.make("@/run/bus", "@/agent")
    world.environment["SSH_AUTH_SOCK"] = f"{world.top}/agent"
    spec = world.expand("build", options=(("filesystem.read", "@"), ("process.cwd", "/"))).spec
    assert spec.linux is not None

    assert {f"{world.top}/run", f"{world.top}/agent"} <= set(spec.linux.masked_paths)


def test_the_programs_of_a_merged_usr_are_found_by_their_old_paths(world: World) -> None:
    links = world.expand("untrusted").spec.annotations["dev.sandbox.symlinks"]
    resolver = Resolver(world.inputs)

    assert ('"/bin":"usr/bin"' in links) == bool(resolver.resolve("/bin").links)


def test_the_reference_is_what_the_schema_says() -> None:
    written = (CHECKOUT / "docs/profiles.md").read_text()

    assert written == reference.document(), "run: python -m sandbox.profile.reference > docs/profiles.md"
