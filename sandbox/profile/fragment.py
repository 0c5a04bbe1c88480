"""Lay the raw runtime-spec fragment of `[oci]` over a spec.

Objects are merged, lists are appended, other values replace.  What a fragment mounts is held to the
same rule as `[filesystem]`: what this program reads later is never writable inside.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox.errors import ProfileError
from sandbox.profile.lines import Key
from sandbox.profile.load import Layered, key_text
from sandbox.profile.paths import below
from sandbox.profile.resolve import Resolver
from sandbox.spec.runtime import Mount, Spec


def merge_fragment(spec: Spec, layered: Layered, origins: dict[str, str], resolver: Resolver, state_dir: str) -> Spec:
    """Return `spec` with the fragment in it; `origins` learns where its values come from.  Raises ProfileError."""
    fragment = layered.profile.oci
    if not fragment:
        return spec
    document = msgspec.to_builtins(spec)
    before = len(spec.mounts)
    _merge(document, fragment, layered, origins, (), "")
    try:
        merged = msgspec.convert(document, Spec)
    except msgspec.ValidationError as error:
        raise _refused(str(error), layered) from error
    for index in range(before, len(merged.mounts)):
        _check_mount(merged.mounts[index], origins[f"mounts[{index}]"], layered, resolver, state_dir)
    if "root" in fragment and merged.root is not None:
        source = Mount(destination="/", type="bind", source=merged.root.path, options=["ro"])
        _check_mount(source, layered.origin("oci", "root").text, layered, resolver, state_dir)
        merged.root.path = source.source
    return merged


def _merge(
    into: dict[str, Any], values: dict[str, Any], layered: Layered, origins: dict[str, str], key: Key, place: str
) -> None:
    for name, value in values.items():
        here = f"{place}.{name}" if place else name
        if not isinstance(value, list):
            origins[here] = layered.origin("oci", *key, name).text
        if isinstance(value, dict) and isinstance(into.setdefault(name, {}), dict):
            _merge(into[name], value, layered, origins, (*key, name), here)
        elif isinstance(value, list) and isinstance(into.setdefault(name, []), list):
            for index, element in enumerate(value):
                origins[f"{here}[{len(into[name])}]"] = layered.origin("oci", *key, name, index).text
                into[name].append(element)
        else:
            into[name] = value


def _refused(text: str, layered: Layered) -> ProfileError:
    """Find the line of what msgspec refuses: `… - at `$.linux.sysctl``."""
    import re  # late: only where something is wrong

    reason, _, place = text.partition(" - at `$")
    unknown = re.search(r"unknown field `(.*)`", reason)
    key: Key = ("oci", *re.findall(r"\.([^.\[`]+)", place), *([unknown[1]] if unknown else []))
    while len(key) > 1 and key not in layered.origins:
        key = key[:-1]
    where = layered.origins[key].text if key in layered.origins else key_text(key)
    return ProfileError(f"{reason[:1].lower()}{reason[1:]}", where=where, hint="see the OCI runtime specification")


def _check_mount(mount: Mount, where: str, layered: Layered, resolver: Resolver, state_dir: str) -> None:
    """Hold a raw bind mount to the rules, and resolve its source.  Raises ProfileError."""
    if mount.type != "bind" and not {"bind", "rbind"} & set(mount.options):
        return
    if not mount.source.startswith("/"):
        raise ProfileError(f'"{mount.source}" is not an absolute path', where=where, hint="begin it with /")
    found = resolver.resolve(mount.source)
    if not found.exists:
        raise ProfileError(f"{mount.source}: {found.refusal or 'No such file or directory'}", where=where)
    mount.source = found.real
    from sandbox.profile.rules import guarded

    for entry in guarded(layered, resolver, state_dir=state_dir):
        path = entry.found.real
        related = below(path, found.real) or below(found.real, path)
        # Only a recursive attribute holds for what is mounted further below.
        secret = entry.secret and entry.found.exists
        if related and (secret or not {"ro", "rro"} & set(mount.options)):
            verb = "readable" if secret else "writable"
            raise ProfileError(
                f"{mount.source} would make {entry.what} {verb} inside ({path})",
                where=where,
                hint="mount a smaller tree",
            )
