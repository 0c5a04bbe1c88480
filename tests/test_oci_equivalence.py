"""One bundle and small changes to it, under runc, crun and ours: a probe sees the same, or it is said why not.

The measure is runc; where the specification says otherwise, or runc 1.1.5 does not know a property, crun is.  What a
runtime does in its own way everywhere is translated to runc's way, one fact at a time (WAYS).  What is left over of a
variant has to be matched, line by line, by an explanation (oci_differences.py), and every explanation has to match a
line.  Where the exit statuses differ, they are all that is compared.
"""

from __future__ import annotations

import re
from collections import Counter

import oci_newer
import pytest
from needs import needs
from oci_differences import CRUN, NOT_AS_RUNC, OURS, WAYS
from oci_variants import VARIANTS, Variant
from oci_world import Seen, World, base_config, unexplained, world

pytestmark = needs("userns", "gcc", "runc", "crun")

OTHERS = {"crun": CRUN, "sandbox-oci": OURS}
if oci_newer.newer():
    WAYS = {**WAYS, "crun": (oci_newer.WAY, *WAYS["crun"])}
    OTHERS = {"crun": oci_newer.updated(CRUN, oci_newer.CRUN), "sandbox-oci": oci_newer.updated(OURS, oci_newer.OURS)}


__all__ = ["world"]


@pytest.fixture(scope="module")
def known(world: World) -> dict[tuple[str, str], Seen]:
    """What was seen by (runtime, variant), for the second who is compared with it."""
    return {}


def see(world: World, name: str, variant: Variant) -> Seen:
    runtime = world.runtime(name)
    bundle = world.fill(base_config(*variant.edits), variant.files)
    try:
        found = variant.way(runtime, bundle, *variant.options)
        if name == "sandbox-oci":
            assert not runtime.leftovers()
    finally:
        runtime.clean()
    return found


def translated(name: str, fact: str) -> str | None:
    for pattern, words, _ in WAYS[name]:
        if match := re.fullmatch(pattern, fact):
            return match.expand(words) if words else None
    return fact


def lines(name: str, found: Seen, *, all_facts: bool) -> Counter[str]:
    """Return the exit status and, if wanted, the facts in runc's words."""
    counted = Counter([f"exit {found.status}"])
    for fact, number in found.facts.items() if all_facts else ():
        if words := translated(name, fact):
            counted[words] += number
    return counted


def differences(measure: str, other: str, one: Seen, two: Seen) -> list[str]:
    both = bool(one.facts) and bool(two.facts) and one.status == two.status
    first, second = lines(measure, one, all_facts=both), lines(other, two, all_facts=both)
    called = "ours" if other == "sandbox-oci" else other
    return [f"{measure}: {line}" for line in sorted((first - second).elements())] + [
        f"{called}: {line}" for line in sorted((second - first).elements())
    ]


@pytest.mark.parametrize("other", ["crun", pytest.param("sandbox-oci", marks=needs("sandbox_oci"), id="ours")])
@pytest.mark.parametrize(
    "variant", [pytest.param(variant, id=variant.name, marks=needs(*variant.needs)) for variant in VARIANTS]
)
def test_a_probe_sees_the_same(world: World, known: dict[tuple[str, str], Seen], variant: Variant, other: str) -> None:
    measure = "crun" if other == "sandbox-oci" and variant.name in NOT_AS_RUNC else "runc"
    for name in (measure, other):
        known[name, variant.name] = known.get((name, variant.name)) or see(world, name, variant)
    one, two = known[measure, variant.name], known[other, variant.name]

    problems = unexplained(differences(measure, other, one, two), OTHERS[other].get(variant.name, {}))
    assert not problems, f"{problems}\n{measure} said: {one.complaints}\n{other} said: {two.complaints}"
    if other == "sandbox-oci" and two.status and not two.facts:
        assert re.fullmatch(r'time="[^"]*" level=error msg="(?:runc|sandbox-oci) run failed: .*"\n', two.complaints)


def test_what_is_explained_is_in_the_table() -> None:
    names = [variant.name for variant in VARIANTS]

    assert len(names) == len(set(names))
    assert {*CRUN, *OURS, *NOT_AS_RUNC, *oci_newer.CRUN, *oci_newer.OURS} <= set(names)
