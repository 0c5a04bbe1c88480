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
from sandbox.profile.load import Layered, Origin, shipped_directory, user_directory
from sandbox.profile.paths import Expander, Vocabulary, unquoted
from sandbox.profile.policy import OWN_DIRECTORIES, Access, Guarded, Policy, Rule, check, guard
from sandbox.profile.resolve import Resolved, Resolver

_KINDS = (("tmp", Access.TMP), ("read", Access.READ), ("write", Access.WRITE), ("hide", Access.HIDE))


def policy(layered: Layered, vocabulary: Vocabulary, resolver: Resolver, *, state_dir: str) -> Policy:
    """Return the policy of all layers, checked.  Raises ProfileError."""
    result = Policy(rules(layered, vocabulary, resolver))
    for entry in guarded(layered, resolver, state_dir=state_dir):
        guard(result, entry)
    check(result)
    return result


def rules(layered: Layered, vocabulary: Vocabulary, resolver: Resolver) -> Iterator[Rule]:
    """Yield the rules in force, in the order in which they were written."""
    expander = Expander(resolver)
    for kind, access in _KINDS:
        for index, text in enumerate(getattr(layered.profile.filesystem, kind)):
            origin = layered.origin("filesystem", kind, index)
            named = vocabulary.name(text, origin)
            if named is None:
                continue
            paths = expander.expand(named.path, origin, dotted=access is Access.HIDE)
            if paths is None:
                paths = [unquoted(named.path)]
            elif not paths and not named.optional and access is not Access.HIDE:
                raise _missing(f'"{text}": nothing matches', text, origin)
            for path in paths:
                yield from _rules(access, path, text, origin, resolver, optional=named.optional)


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
            raise _missing(f"{path}: {found.refusal or 'No such file or directory'}{leads}", text, origin)
    if found.real == "/" and access is not Access.HIDE:
        yield from _whole_root(access, origin, resolver)
        return
    yield Rule(access, path, found, origin, optional)


def _missing(message: str, text: str, origin: Origin) -> ProfileError:
    return ProfileError(message, where=origin.text, hint=f'create it, or mark it optional with "?{text}"')


def _whole_root(access: Access, origin: Origin, resolver: Resolver) -> Iterator[Rule]:
    """The root itself is the sandbox's own, and empty: what lies in the host's is shown instead."""
    if access is Access.TMP:  # the home of some system users
        return
    for name in resolver.inputs.names("/"):
        path = f"/{name}"
        found = resolver.resolve(path)
        if path not in OWN_DIRECTORIES and found.exists and found.real not in OWN_DIRECTORIES:
            yield Rule(access, path, found, origin, optional=True)


def guarded(layered: Layered, resolver: Resolver, *, state_dir: str) -> Iterator[Guarded]:
    """Yield what the contained program must not write, as this program reads or executes it later."""
    yield Guarded("the state of the sandboxes", resolver.resolve(state_dir), secret=True)
    user = user_directory(resolver.inputs)
    if user:
        yield Guarded("your profiles", resolver.resolve(user))
    package = os.path.dirname(os.path.abspath(sandbox.__file__))
    yield Guarded("the shipped profiles", resolver.resolve(shipped_directory()), shielded=True)
    yield Guarded("this program", resolver.resolve(package), shielded=True)
    if sys.prefix != sys.base_prefix:
        # Whatever lies in the virtual environment may be imported when Python starts.
        yield Guarded("the virtual environment of this program", resolver.resolve(sys.prefix), shielded=True)
    for path in layered.files:
        yield Guarded("the profile in use", resolver.resolve(path), shielded=True)
