"""`filesystem.protect`: what nobody inside may change in a writable tree, nor make where it is absent.

What is there becomes read-only.  For what is absent, something empty has to lie on the host while the
sandbox runs (`KeepAbsent`): here is decided where, and as what.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from sandbox.errors import ProfileError
from sandbox.kernel.state import held_stubs
from sandbox.profile.load import Layered, Origin
from sandbox.profile.paths import Expander, Vocabulary, unquoted
from sandbox.profile.policy import Access, Policy, Rule
from sandbox.profile.resolve import Resolved, Resolver

DIRECTORY = "directory"
FILE = "file:"  # and its content

# An empty directory is the best of stubs: git neither lists nor adds it, and removing it can destroy nothing.  These two
# git would stop at.  A `commondir` that says "." says what is so without it.
_FILES = {"commondir": ".\n", "config.worktree": ""}
_OF_A_WORKTREE = ("commondir", "config.worktree", "gitdir", "modules")


def see_through_stubs(state_dir: str, resolver: Resolver) -> None:
    """Take for absent what lies on the host only because a sandbox that runs keeps it from being made."""
    for path in held_stubs(state_dir):
        resolver.inputs.absent(path)
        resolver.modes[path] = None


def protect(policy: Policy, layered: Layered, vocabulary: Vocabulary, resolver: Resolver) -> None:
    """Add what `protect` says to the rules of a policy.  Raises ProfileError."""
    expander = Expander(resolver)
    for index, text in enumerate(layered.profile.filesystem.protect):
        origin = layered.origin("filesystem", "protect", index)
        named = vocabulary.name(text, origin)
        if named is None:
            continue
        paths = expander.expand(named.path, origin, hide=True, optional=True)
        for path in [unquoted(named.path)] if paths is None else paths:
            _protect(policy, path, resolver.resolve(path), origin, resolver)
            for elsewhere in _of_git_elsewhere(path, resolver):
                _protect(policy, elsewhere, resolver.resolve(elsewhere), origin, resolver, git=True)


def _of_git_elsewhere(path: str, resolver: Resolver) -> Iterator[str]:
    """Yield what `.git/NAME` stands for where .git is a file, as in a worktree or a submodule: gitrepository-layout(5).

    The repository has to be shown for git to work there, and its hooks are those of all its worktrees.
    """
    top, inside, name = path.rpartition("/.git/")
    own = _pointed_at(f"{top}/.git", b"gitdir: ", resolver) if inside else ""
    if not own:
        return
    common = _pointed_at(f"{own}/commondir", b"", resolver) or own
    if name != "worktrees" or common == own:
        yield f"{common}/{name}"
        return
    # Git writes to all of them (`git gc`), but not where one of them leads.
    trees = {own, *(f"{common}/worktrees/{tree}" for tree in resolver.inputs.names(f"{common}/worktrees"))}
    yield from (f"{tree}/{entry}" for tree in sorted(trees) for entry in _OF_A_WORKTREE)


def _pointed_at(file: str, start: bytes, resolver: Resolver) -> str:
    """Return the directory that one of git's files names, "" if it names none."""
    try:
        content = resolver.inputs.read(file) if stat.S_ISREG(resolver.node(file) or 0) else b""
    except OSError:  # nor can git read it
        return ""
    if not content.startswith(start) or b"\0" in content:
        return ""
    path = os.fsdecode(content.removeprefix(start).rstrip(b"\r\n"))
    return resolver.resolve(os.path.join(os.path.dirname(file), path)).real if path else ""


def _protect(
    policy: Policy, path: str, found: Resolved, origin: Origin, resolver: Resolver, *, git: bool = False
) -> None:
    lifting = (rule for rule in policy.rules if rule.access is Access.WRITE and rule.named == path)
    if any(rule.origin.layer >= origin.layer for rule in lifting):
        return
    for link in found.links:
        if policy.access(link.path) is Access.WRITE:
            raise ProfileError(
                f"{link.path} is a symlink that can be changed inside, so that {path} would not stay what it is",
                where=origin.text,
                hint=f"put what it leads to in its place, or let it be changed: --write {path}",
            )
    if policy.access(found.real) is not Access.WRITE:
        return
    place, mode = found.real, found.mode or (stat.S_IFDIR if found.refusal else 0)
    if not mode:
        place, mode = _first_absent(place, resolver)
    if not mode:
        directory, _, name = place.rpartition("/")
        content = _FILES.get(name) if git or directory.endswith("/.git") else None
        policy.absent[place] = (DIRECTORY if content is None else FILE + content, origin.text)
    policy.add(Rule(Access.READ, path, Resolved(place, (), mode or stat.S_IFDIR), origin))


def _first_absent(path: str, resolver: Resolver) -> tuple[str, int]:
    """Return the uppermost path on the way to `path` that is absent, and 0; or a file that is in the way, and its mode."""
    while True:
        parent = os.path.dirname(path)
        mode = resolver.node(parent)
        if mode is not None:
            return (path, 0) if stat.S_ISDIR(mode) else (parent, mode)
        path = parent
