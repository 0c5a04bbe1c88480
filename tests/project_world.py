"""A project with a `.sandbox.toml` of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from profile_world import World

from sandbox.plan.inputs import Inputs
from sandbox.profile.expand import Expansion, expand
from sandbox.profile.load import read
from sandbox.profile.project import Found, Stack, lay_over, search
from sandbox.profile.request import Eye, Request
from sandbox.profile.tighten import Loosening

NAME = ".sandbox.toml"


class Project(World):
    """A world whose project has a file of its own, and a base profile "mine"."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.make("src/a", "secret/key", ".env", "@/srv/data/x", "@/home/other")
        for path in (self.top, self.home, self.project):
            path.chmod(0o755)
        self.base('[filesystem]\nwrite = ["."]\n')

    def base(self, text: str) -> None:
        self.profile("mine", text)

    def write(self, text: str, directory: Path | None = None) -> Path:
        path = (directory or self.project) / NAME
        path.write_text(self.at(text))
        path.chmod(0o644)
        return path

    def request(self, *profiles: str, named: bool = False, options: tuple[tuple[str, str], ...] = ()) -> Request:
        uid = os.getuid()
        mode = "over" if named else "base"
        return Request(profiles or ("mine",), options, str(self.cwd), uid, uid, mode)  # type: ignore[arg-type]

    def eye(self, request: Request | None = None) -> Eye:
        self.inputs = Inputs(environment=self.environment)
        return Eye(request or self.request(), self.inputs, str(self.state))

    def found(self) -> list[Found]:
        return search(self.eye().caller(), self.inputs)[0]

    def judge(self, text: str) -> list[Loosening]:
        path = self.write(text)
        view = self.eye().view()
        stack = Stack(read(("mine",), str(self.cwd), view.inputs), [])
        return lay_over(Found(str(path), path.read_bytes()), stack, (), view, named=False)[1]

    def looser(self, text: str) -> list[str]:
        return [entry.key for entry in self.judge(text)]

    def run(self, request: Request | None = None) -> Expansion:
        self.inputs = Inputs(environment=self.environment)
        return expand(request or self.request(), self.inputs, state_dir=str(self.state))


@pytest.fixture
def world(tmp_path: Path) -> Project:
    return Project(tmp_path)
