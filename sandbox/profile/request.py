"""What was asked for, and which layers are in force for it: profiles, a project's file, options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple

from sandbox.kernel.ids import account
from sandbox.plan.inputs import Inputs
from sandbox.profile.environment import SEARCH_PATH
from sandbox.profile.load import Layered, key_text, load
from sandbox.profile.paths import Vocabulary
from sandbox.profile.resolve import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.profile.project import Caller
    from sandbox.profile.tighten import View


class Detached(NamedTuple):
    """How a sandbox is run for which nobody waits."""

    interactive: bool = False  # those who attach themselves write to its stdin
    remove: bool = False  # nothing is kept at its end


class Request(NamedTuple):
    """What was asked for, by whom and from where."""

    profiles: tuple[str, ...]
    options: tuple[tuple[str, str], ...]  # profile key, value: ("filesystem.read", "/srv")
    cwd: str  # absolute, as getcwd(2) says
    uid: int
    gid: int
    project: Literal["", "base", "over"] = ""
    """Whether a project's `.sandbox.toml` is looked for.  "base": `profiles` are the default, in whose place it may
    name others; "over": the user has named them, and it is laid over them."""
    detached: Detached | None = None
    replace: bool = False
    """Whether it takes its name from a sandbox that has ended."""


class Shown(NamedTuple):
    """A value as `sandbox profile show` prints it."""

    key: str
    value: object
    origin: str


def layers(request: Request, inputs: Inputs, *, state_dir: str) -> tuple[list[Shown], tuple[str, ...]]:
    """Return each value of a request's profiles after inheritance, in the order of the schema, with its origin; and
    what the user should hear."""
    layered, notes = Eye(request, inputs, state_dir).layers()
    result = []
    for key, origin in layered.origins.items():
        value: object = layered.values
        for part in key:
            value = value[part]  # type: ignore[index]  # the keys were made from these very values
        if not isinstance(value, dict):
            result.append(Shown(key_text(key), value, origin.text))
    order = {section: number for number, section in enumerate(layered.profile.__struct_fields__)}
    return sorted(result, key=lambda shown: order[shown.key.partition(".")[0].partition("[")[0]]), notes


class Eye:
    """A request, and the host as it is seen for it."""

    def __init__(self, request: Request, inputs: Inputs, state_dir: str) -> None:
        self.request = request
        self.inputs = inputs
        self.state_dir = state_dir
        self.resolver = Resolver(inputs)
        self.user_name, self.home = self._account()
        self.vocabulary = Vocabulary(self.home, request.cwd, inputs)

    def layers(self) -> tuple[Layered, tuple[str, ...]]:
        """Return the layers in force, a project's among them, and what the user should hear.  Raises ProfileError."""
        request = self.request
        if request.project:
            from sandbox.profile import project  # late: an engine's bundle has none

            found, note = project.search(self.caller(), self.inputs)
            notes = (note,) if note else ()
            if found:
                named = request.project == "over"
                return project.in_force(found, request.profiles, request.options, self.view(), named=named), notes
            return load(request.profiles, request.options, request.cwd, self.inputs), notes
        return load(request.profiles, request.options, request.cwd, self.inputs), ()

    def caller(self) -> Caller:
        """Return who asks, for the search for a project's file."""
        from sandbox.profile.project import Caller  # late: as above

        return Caller(self.request.uid, self.resolver.resolve(self.home).real, self.request.cwd, self.state_dir)

    def view(self) -> View:
        """Return what layers are compared by."""
        from sandbox.profile.tighten import View  # late: as above

        return View(self.vocabulary, self.resolver, self.inputs, self.request.cwd, self.state_dir, self.defaults())

    def defaults(self) -> Mapping[str, str]:
        """Return the variables that every command gets, unless a profile says otherwise."""
        return {"PATH": SEARCH_PATH, "HOME": self.home, "USER": self.user_name, "LOGNAME": self.user_name}

    def _account(self) -> tuple[str, str]:
        """Return the caller's name and home directory, as far as they are known."""
        home = self.inputs.variable("HOME") or ""
        name = self.inputs.variable("USER") or ""
        if not home.startswith("/") or not name:
            known = account(self.request.uid, self.inputs)
            home = home if home.startswith("/") else known.home if known else "/"
            name = name or (known.name if known else str(self.request.uid))
        return name, os.path.normpath(home)
