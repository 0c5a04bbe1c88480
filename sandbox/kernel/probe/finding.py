"""What a probe returns: one thing that this host allows or does not, found out by trying it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail", "n/a"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why this host refuses, and the command or words that change it; each may be "" where it is not known."""

    why: str = ""
    cure: str = ""

    def __bool__(self) -> bool:
        return bool(self.why or self.cure)


UNKNOWN = Cause()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A probe's answer: `fail` is for what the main job cannot do without, `warn` for what something else needs, and
    `n/a` for what could not be tried here or matters to nobody."""

    name: str
    state: State
    found: str
    cause: Cause = UNKNOWN
    how: str = ""


def refused(name: str, found: str, cause: Cause, *, how: str, needed: bool) -> Finding:
    """Return the finding for something that does not work: a failure where it is `needed`, else a warning."""
    return Finding(name=name, state="fail" if needed else "warn", found=found, cause=cause, how=how)
