"""Options of which one value says several things."""

from __future__ import annotations

from sandbox.errors import ProfileError


def user_ids(text: str, where: str) -> dict[str, str]:
    """Return uid and, if it is named, gid of UID[:GID], as decimal numbers.

    Nothing is guessed: a name would be one thing here and another one inside, and a number with a sign, blanks or a
    leading zero could be meant otherwise (crun's `exec -u`).  Raises ProfileError.
    """
    ids = dict(zip(("uid", "gid"), text.split(":", 1), strict=False))
    for number in ids.values():
        if not (number.isascii() and number.isdigit()) or (number[0] == "0" and number != "0"):
            raise ProfileError(f'"{text}" is not UID or UID:GID', where=where, hint="write numbers: --user 0:0")
    return ids


def shares(text: str, option: str, *, pairs: bool) -> tuple[str, dict[str, str] | str]:
    """Return what stands before the last colon, and what behind it: a text, or `pairs` of KEY=VALUE.

    Raises ProfileError.
    """
    subject, _, rest = text.rpartition(":")
    form = "PATH:KEY=RATE[,KEY=RATE]" if pairs else "PAGE:SIZE"
    if not subject or not rest:
        raise ProfileError(f'"{text}" is not {form}', where=option, hint=f"write {option} {form}")
    if not pairs:
        return subject, rest
    found = {}
    for word in rest.split(","):
        key, equals, value = word.partition("=")
        if not equals or key not in ("read", "write", "read_ops", "write_ops"):
            raise ProfileError(
                f'"{word}" is not KEY=RATE', where=option, hint="a key is read, write, read_ops or write_ops"
            )
        found[key] = value
    return subject, found
