"""`filesystem.cache`: where on the host lies what a project's sandboxes keep between runs.

    $XDG_CACHE_HOME/sandbox/PROJECT-DIGEST/PATH     PATH with %2F for /

Each project directory has its own: what the code of one project has written there, that of another would
execute.  And nobody outside looks there: pip or cargo of your own, given what a sandboxed program has put into
their caches, would build with it.
"""

from __future__ import annotations

import os
import stat

from sandbox.errors import HostError, ProfileError
from sandbox.profile.load import Origin
from sandbox.profile.paths import Vocabulary
from sandbox.profile.resolve import Resolver

_ELSEWHERE = "set XDG_CACHE_HOME to a directory of your own that is writable"


def place(path: str, vocabulary: Vocabulary, resolver: Resolver, origin: Origin) -> str:
    """Return the directory that is shown at `path`; it need not be there yet.

    Raises ProfileError where something else has taken its place: who may write to the caches as a whole could have
    put a symlink there.
    """
    from hashlib import sha256  # late: not every profile has a cache

    configured = resolver.inputs.variable("XDG_CACHE_HOME") or ""
    base = configured if configured.startswith("/") else f"{vocabulary.home}/.cache"
    project = f"{os.path.basename(vocabulary.cwd) or 'root'}-{sha256(os.fsencode(vocabulary.cwd)).hexdigest()[:16]}"
    resolved = resolver.resolve(base)
    if resolved.refusal:
        raise ProfileError(f"{base}: {resolved.refusal}", where=origin.text, hint=_ELSEWHERE)
    directory = resolved.real.rstrip("/")
    for name in ("sandbox", project, path.strip("/").replace("%", "%25").replace("/", "%2F")):
        directory = f"{directory}/{name}"
        try:
            mode = resolver.node(directory)
        except OSError as error:
            raise ProfileError(f"{directory}: {error.strerror}", where=origin.text) from error
        if mode is None:
            resolver.inputs.awaited(directory)
        elif not stat.S_ISDIR(mode):
            raise ProfileError(
                f"{directory} is to hold a cache, and is no directory",
                where=origin.text,
                hint=f"see who made it: ls -ld {directory}; then remove it",
            )
    return directory


def make(directories: tuple[str, ...]) -> None:
    """Make what is not there yet.  Raises HostError."""
    for directory in directories:
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
        except OSError as error:
            raise HostError(
                f"cannot make {directory}: {error.strerror}",
                where="filesystem.cache",
                hint=_ELSEWHERE,
            ) from error
