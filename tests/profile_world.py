"""A small host to expand profiles on, and a view of the result as text."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.plan.inputs import Inputs
from sandbox.profile.expand import Expansion, expand
from sandbox.profile.mounts import MASKED
from sandbox.profile.request import Request
from sandbox.spec.runtime import Mount, Spec

STANDARD = 7  # mounts that every sandbox has


class World:
    """Home, project, configuration and state below one directory, which is shown as "@"."""

    def __init__(self, top: Path) -> None:
        self.top = top.resolve()
        self.home = self.top / "home"
        self.project = self.home / "project"
        self.state = self.top / "run/sandbox"
        self.profiles = self.home / ".config/sandbox/profiles"
        for path in (self.project, self.state, self.profiles, self.top / "srv"):
            path.mkdir(parents=True)
        self.environment = {"HOME": str(self.home), "USER": "ann", "XDG_RUNTIME_DIR": str(self.top / "run")}
        self.cwd = self.project
        self.inputs = Inputs()

    def make(self, *paths: str) -> None:
        """Make directories ("a/"), files ("a") and symlinks ("a -> b") below the project, or where "@" says."""
        for path in paths:
            name, _, target = path.partition(" -> ")
            place = Path(self.at(name)) if name.startswith("@") else self.project / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if target:
                place.symlink_to(self.at(target))
            elif name.endswith("/"):
                place.mkdir(exist_ok=True)
            else:
                place.write_text(name)

    def at(self, text: str) -> str:
        return text.replace("@", str(self.top))

    def profile(self, name: str, text: str) -> str:
        """Write a profile of the user's."""
        path = self.profiles / f"{name}.toml"
        path.write_text(self.at(text))
        return name

    def expand(self, *profiles: str, options: tuple[tuple[str, str], ...] = (), uid: int = 1000) -> Expansion:
        self.inputs = Inputs(environment=self.environment)
        written = tuple((key, self.at(value)) for key, value in options)
        request = Request(profiles, written, str(self.cwd), uid, uid)
        return expand(request, self.inputs, state_dir=str(self.state))

    def rules(self, text: str, *, cwd: str = "/") -> list[str]:
        """Return what `[filesystem]` with this text comes to."""
        name = self.profile("p", f'[process]\ncwd = "{cwd}"\n[filesystem]\n{text}\n')
        return self.view(self.expand(name).spec)

    def view(self, spec: Spec, *, standard: bool = False) -> list[str]:
        """Return mounts, masks and links as lines, without those that every sandbox has."""
        assert spec.linux is not None
        mounts = spec.mounts if standard else spec.mounts[STANDARD:]
        lines = [mount_line(mount) for mount in mounts]
        lines += [f"mask {path}" for path in spec.linux.masked_paths if standard or path not in MASKED]
        links = spec.annotations["dev.sandbox.symlinks"].strip("{}")
        lines += [f"link {entry}".replace('"', "").replace(":", " -> ") for entry in links.split(",") if entry]
        return [line.replace(str(self.top), "@") for line in lines]


def mount_line(mount: Mount) -> str:
    """Return a mount in a few words: what it gives, and where."""
    if mount.type == "tmpfs":
        mode = next((option for option in mount.options if option.startswith("mode=")), "")
        return f"tmp {mount.destination} {mode.removeprefix('mode=')}".rstrip()
    if mount.type == "bind":
        if "/.cache/sandbox/" in mount.source:
            return f"cache {mount.destination}"
        assert mount.source == mount.destination
        devices = "" if "rnodev" in mount.options else " with devices"
        return f"{'read' if 'rro' in mount.options else 'write'} {mount.destination}{devices}"
    return f"{mount.type} {mount.destination}"


def tree(top: str) -> list[str]:
    """Return the real paths of everything below `top`; symlinks are left out."""
    found = [top]
    for directory, names, files in os.walk(top):
        found += [path for name in (*names, *files) if not os.path.islink(path := f"{directory}/{name}")]
    return found
