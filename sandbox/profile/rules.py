"""The rules of `[filesystem]`, from the texts of all layers to real paths of the host.

Decides what is left out (optional and absent), what is an error, and what must be guarded against
the contained program.  Which rule wins is left to `policy`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator

import sandbox
from sandbox.errors import ProfileError
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import Layered, Origin, shipped_directory, user_directory
from sandbox.profile.paths import Expander, Vocabulary, below, unquoted
from sandbox.profile.policy import OWN_DIRECTORIES, VISIBLE, Access, Guarded, Policy, Rule, check, guard
from sandbox.profile.resolve import Resolved, Resolver
from sandbox.profile.trust import directory as trusted_directory

PROJECT_FILE = ".sandbox.toml"
"""What a project's own profile is called (`sandbox.profile.project`)."""

_SHARED_DIRECTORIES = ("/tmp", "/var/tmp")
_KINDS = (
    ("tmp", Access.TMP),
    ("cache", Access.TMP),
    ("read", Access.READ),
    ("write", Access.WRITE),
    ("hide", Access.HIDE),
)


def policy(layered: Layered, vocabulary: Vocabulary, resolver: Resolver, *, state_dir: str) -> Policy:
    """Return the policy of all layers, checked.  Raises ProfileError."""
    result = unchecked(layered, vocabulary, resolver, state_dir=state_dir)
    for entry in guarded(layered, resolver, state_dir=state_dir):
        guard(result, entry)
    check(result)
    return result


def unchecked(layered: Layered, vocabulary: Vocabulary, resolver: Resolver, *, state_dir: str) -> Policy:
    """Return what the layers ask for, before anything is held against it.  Raises ProfileError."""
    if layered.profile.filesystem.protect:
        from sandbox.profile.protect import protect, see_through_stubs  # late: not every profile has it

        see_through_stubs(state_dir, resolver)
        result = Policy(rules(layered, vocabulary, resolver))
        protect(result, layered, vocabulary, resolver)
    else:
        result = Policy(rules(layered, vocabulary, resolver))
    _drop_caches(result)
    return result


def rules(layered: Layered, vocabulary: Vocabulary, resolver: Resolver) -> Iterator[Rule]:
    """Yield the rules in force, in the order in which they were written."""
    expander = Expander(resolver)
    shown: list[str] = []
    for kind, access in _KINDS:
        if access is Access.HIDE:
            _spare_listings(expander, shown)
        for index, text in enumerate(getattr(layered.profile.filesystem, kind)):
            origin = layered.origin("filesystem", kind, index)
            if kind == "cache":
                yield _cache(vocabulary, text, origin, resolver)
                continue
            named = vocabulary.name(text, origin)
            if named is None:
                continue
            paths = expander.expand(named.path, origin, hide=access is Access.HIDE, optional=named.optional)
            if paths is None:
                paths = [unquoted(named.path)]
            elif not paths and not named.optional and access is not Access.HIDE:
                raise _missing(f'"{text}": nothing matches', text, origin)
            for path in paths:
                for rule in _rules(access, path, text, origin, resolver, optional=named.optional):
                    shown += [rule.path] if access in VISIBLE else []
                    yield rule


def _cache(vocabulary: Vocabulary, text: str, origin: Origin, resolver: Resolver) -> Rule:
    from sandbox.profile.caches import place  # late: not every profile has one

    path = vocabulary.single(text.removeprefix("?"), origin)
    found = resolver.resolve(path)
    source = place(found.real, vocabulary, resolver, origin)
    return Rule(Access.TMP, path, found, origin, text.startswith("?"), source)


def _drop_caches(policy: Policy) -> None:
    """Leave out the optional caches for which a directory would have to be made on the host."""
    for path, rule in list(policy.winners.items()):
        around = policy.above(path)
        if rule.source and rule.optional and not rule.found.exists and around is not None and around.access in VISIBLE:
            del policy.winners[path]


def _spare_listings(expander: Expander, shown: list[str]) -> None:
    """Let patterns in everyone's directories match only what is `shown` of them.

    Their listing changes all the time, and no plan that was made from it would be kept for long.
    """
    for directory in _SHARED_DIRECTORIES:
        real = expander.resolver.resolve(directory).real
        if real not in expander.listings and not any(below(real, path) for path in shown):
            inside = (path[len(real) + 1 :] for path in shown if below(path, real))
            expander.listings[real] = sorted({path.partition("/")[0] for path in inside})


def _rules(
    access: Access, path: str, text: str, origin: Origin, resolver: Resolver, *, optional: bool
) -> Iterator[Rule]:
    found = resolver.resolve(path)
    if access is Access.HIDE and found.refusal:
        # What we cannot look into is hidden whole: nobody of ours loses by it.
        found = Resolved(found.real, found.links, stat.S_IFDIR)
    if not found.exists and access is not Access.HIDE:
        if optional:
            return
        if access is not Access.TMP or found.refusal:
            leads = f" (leads to {found.real})" if found.links else ""
            if found.closed:
                raise _closed(f"{path}: {found.refusal}{leads}", path, origin)
            raise _missing(f"{path}: {found.refusal or 'No such file or directory'}{leads}", text, origin)
    if found.real == "/" and access is not Access.HIDE:
        yield from _whole_root(access, origin, resolver)
        return
    yield Rule(access, path, found, origin, optional)


def _closed(message: str, path: str, origin: Origin) -> ProfileError:
    from sandbox.kernel.diagnosis import closed_parent  # late: for a refusal alone

    cause = closed_parent(path)
    return ProfileError(message, where=origin.text, cause=cause.why, hint=cause.cure)


def _missing(message: str, text: str, origin: Origin) -> ProfileError:
    return ProfileError(message, where=origin.text, hint=f'create it, or mark it optional with "?{text}"')


def _whole_root(access: Access, origin: Origin, resolver: Resolver) -> Iterator[Rule]:
    """The root itself is the sandbox's own, and empty: what lies in the host's is shown instead."""
    if access is Access.TMP:  # the home of some system users
        return
    if access is Access.WRITE:
        raise ProfileError(
            "the whole system would be writable: the path is /",
            where=origin.text,
            hint="go to a project's directory (cd ~/project), or name the directories to write to",
        )
    try:
        names = resolver.inputs.names("/")
    except OSError as error:
        raise ProfileError(f"/: cannot be listed: {error.strerror}", where=origin.text) from error
    for name in names:
        path = f"/{name}"
        found = resolver.resolve(path)
        if path not in OWN_DIRECTORIES and found.exists and found.real not in OWN_DIRECTORIES:
            yield Rule(access, path, found, origin, optional=True)


def guarded(layered: Layered, resolver: Resolver, *, state_dir: str) -> Iterator[Guarded]:
    """Yield what the contained program must not write, as this program reads or executes it later."""
    for path in (state_dir, *state_places(resolver.inputs)):
        yield Guarded("the state of the sandboxes", resolver.resolve(path), secret=True)
    user = user_directory(resolver.inputs)
    if user:
        yield Guarded("your profiles", resolver.resolve(user))
        yield Guarded("what you have trusted", resolver.resolve(trusted_directory(resolver.inputs)), secret=True)
    package = os.path.dirname(os.path.abspath(sandbox.__file__))
    yield Guarded("the shipped profiles", resolver.resolve(shipped_directory()), shielded=True)
    yield Guarded("this program", resolver.resolve(package), shielded=True)
    for path in _python():
        # Whatever lies in these may be executed or imported when this program starts.
        yield Guarded("the Python of this program", resolver.resolve(path), shielded=True)
    for path in layered.files:
        if os.path.basename(path) == PROJECT_FILE and layered.profile.security.nested:
            continue  # it could not be kept read-only; what is written there can only tighten, or asks the user
        yield Guarded("the profile in use", resolver.resolve(path), shielded=True)


def state_places(inputs: Inputs) -> list[str]:
    """Return all places in which the launcher may some day take a kept plan (`sandbox/kernel/state.py`).

    Also those that are not in use: which one is, depends on the caller's environment, and on what
    exists.  A plan that was planted in another would be executed as soon as that changes.
    """
    uid = os.geteuid()
    runtime = inputs.variable("XDG_RUNTIME_DIR") or ""
    places = [f"{runtime}/sandbox"] if runtime.startswith("/") else []
    places += [f"/run/user/{uid}/sandbox", f"/tmp/sandbox-{uid}"]
    return [*places, "/run/sandbox"] if uid == 0 else places


def _python() -> Iterator[str]:
    """Yield where the interpreter, its library and the launcher lie; those in what was yielded before need no more."""
    # The system's own prefix holds all else too, and belongs to root: of it, only the programs.
    yield from (prefix for prefix in dict.fromkeys((sys.prefix, sys.base_prefix)) if prefix != "/usr")
    if sys.executable:
        yield os.path.dirname(os.path.realpath(sys.executable))
        yield sys.executable  # for the symlinks on the way
        yield os.path.join(os.path.dirname(sys.executable), "sandbox")
