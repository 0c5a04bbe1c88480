"""Volumes that are shared with the host, and sources to which who is root inside has no way."""

from __future__ import annotations

import os
from typing import Any

import pytest
from needs import needs
from test_lower_container import BASE, PODMAN, RANGES, USER, lowered
from test_lower_in_force import Bundle, bind, bundle, ranges

from sandbox.errors import SpecError
from sandbox.lower.host import Host
from sandbox.plan.ops import BindMount, BindRoot, Early, Notice, PivotRoot, Step

__all__ = ["bundle"]

OURS = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network", "cgroup")]
SHARED = {
    "linux.namespaces": OURS,
    "linux.uidMappings": None,
    "linux.gidMappings": None,
    "linux.rootfsPropagation": "shared",
}
MOUNTED = "mount -t tmpfs none /m/below && touch /m/below/inside"
CAPABLE = {"process.capabilities": {kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "permitted", "effective")}}


class Outside:
    """What a mount namespace outside looks like before, while and after a container is run in it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.data = bundle.path / "data"

    def run(self, script: str, changes: dict[str, Any], *, propagation: str = "shared", joined: bool = False) -> str:
        """Run a script as podman would have us do: as root of a user namespace that it has made; /m is $BUNDLE/data, which
        is shared outside.  Return what it said."""
        look = f"cat /proc/self/mountinfo >{self.bundle.path}"
        hooks = {
            kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"{look}/{kind}; {done}"]}]
            for kind, done in (("createRuntime", "true"), ("poststart", f"touch {self.data}/go"))
        }
        namespaces = [*OURS]
        (self.bundle.path / "net").touch()
        if joined:
            namespaces[4] = {"type": "network", "path": "$BUNDLE/net"}
        result = self.bundle(
            f"while ! test -e /m/go; do :; done; {script}",
            {**SHARED, **CAPABLE, "linux.namespaces": namespaces, "hooks": hooks, **changes},
            within=(
                *("unshare", "--user", "--map-root-user", "--map-auto", "--mount", f"--propagation={propagation}"),
                *(
                    "sh",
                    "-c",
                    f'unshare --net="$1" true; shift; {self.prepare()}; {look}/before; "$@"; code=$?; {look}/after; exit $code',
                ),
                *(str(self.data), str(self.bundle.path / "net")),
            ),
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def prepare(self) -> str:
        return f"mount --bind {self.data} {self.data} && mount --make-shared {self.data} && mount -t tmpfs x {self.data}/sub"

    def mounts(self, when: str) -> set[str]:
        """Return the lines of mountinfo, each with its number and its peer group."""
        return set((self.bundle.path / when).read_text().splitlines())

    def comes(self) -> list[str]:
        """Return where the container has left mounts; nothing else may have changed, at any time."""
        before = self.mounts("before")
        assert len(before) > 5
        assert self.mounts("createRuntime") == self.mounts("poststart") == before
        assert before <= self.mounts("after")
        return sorted({line.split()[4] for line in self.mounts("after") - before})


@pytest.fixture
def outside(bundle: Bundle) -> Outside:
    (bundle.path / "data/sub").mkdir()
    return Outside(bundle)


@needs("newuidmap")
@pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
@pytest.mark.parametrize("options", [("rbind", "rshared"), ("bind", "shared"), ("rbind", "shared", "ro")], ids=",".join)
def test_what_is_mounted_in_a_shared_volume_is_seen_outside_and_nothing_else(
    outside: Outside, options: tuple[str, ...], joined: bool
) -> None:
    script = f"mount -t tmpfs none /tmp 2>/dev/null; {MOUNTED}"

    outside.run(script, bind(*options), joined=joined)

    assert outside.comes() == [f"{outside.data}/below"]


NOT_ASKED: dict[str, dict[str, Any]] = {
    "nothing": bind("rbind"),
    "a private volume": bind("rbind", "rprivate"),
    "a slave": bind("rbind", "rslave"),
    "a private root": {**bind("rbind", "rshared"), "linux.rootfsPropagation": "private"},
    "a root that says nothing": {**bind("rbind", "rshared"), "linux.rootfsPropagation": None},
    "a root that is a slave": {**bind("rbind", "rshared"), "linux.rootfsPropagation": "rslave"},
}


@needs("newuidmap")
@pytest.mark.parametrize("propagation", ["private", "shared", "slave"])
@pytest.mark.parametrize("changes", NOT_ASKED.values(), ids=NOT_ASKED)
def test_without_being_asked_nothing_is_seen_outside(
    outside: Outside, changes: dict[str, Any], propagation: str
) -> None:
    outside.run(MOUNTED, changes, propagation=propagation)

    assert outside.comes() == []


@needs("newuidmap")
def test_what_is_mounted_outside_is_seen_in_a_shared_volume_too(outside: Outside) -> None:
    # The hook runs outside, once the container does.
    hooks = {
        "poststart": [
            {
                "path": "/bin/sh",
                "args": [
                    "sh",
                    "-c",
                    f"mount -t tmpfs none {outside.data}/sub; mkdir {outside.data}/sub/seen; touch {outside.data}/go",
                ],
            }
        ]
    }

    result = outside.bundle(
        "while ! test -e /m/go; do :; done; ls /m/sub",
        {**SHARED, "hooks": hooks, **bind("rbind", "rshared")},
        within=(
            "unshare",
            "--user",
            "--map-root-user",
            "--map-auto",
            "--mount",
            "sh",
            "-c",
            f'{outside.prepare()}; "$@"',
            "sh",
        ),
    )

    assert result.stdout == "seen\n", result.stderr


@needs("newuidmap")
def test_a_symlink_of_the_image_leads_none_of_our_mounts_into_a_shared_volume(outside: Outside) -> None:
    """What lay there would be seen outside, and stay."""
    (outside.bundle.rootfs / "link").symlink_to("/m")
    (outside.bundle.rootfs / "m").mkdir()
    shared = bind("rbind", "rshared")["mounts"]
    led = {"destination": "/link/below", "type": "tmpfs", "source": "tmpfs"}

    outside.run(
        "true", {"mounts": [*shared, led], "linux.maskedPaths": ["/link/note"], "linux.readonlyPaths": ["/link/sub"]}
    )

    assert outside.comes() == []


@needs("newuidmap")
def test_in_a_new_user_namespace_it_is_said_that_nothing_is_seen_outside(bundle: Bundle) -> None:
    result = bundle("cat /m/note", {**ranges(), **bind("rbind", "rshared"), "linux.rootfsPropagation": "shared"})

    assert result.stdout == "host\n"
    assert "config.json: mounts[2]: what is mounted in it is not seen outside" in result.stderr


# --- lowered ---


def volume(target: str = "/v", *options: str) -> dict[str, Any]:
    return {"destination": target, "source": "/src", "options": ["rbind", *(options or ("rshared",))]}


IN_IT: dict[str, tuple[dict[str, Any], str]] = {
    "a mount in it": ({"mounts": [volume(), volume("/v/x", "rprivate")]}, r"mounts\[1\]: /v/x would lie in mounts\[0\] \(/v\)"),
    "a mount on it": ({"mounts": [volume(), volume("/v", "rslave")]}, r"mounts\[1\]: /v would lie in"),
    "another of its kind": ({"mounts": [volume(), volume("/v/x")]}, r"mounts\[1\]: /v/x would lie in"),
    "a mount over it": ({"mounts": [volume("/v/x"), volume("/v", "rslave")]}, r"mounts\[1\]: /v would cover mounts\[0\]"),
    "a device": (
        {"mounts": [volume()], "linux.devices": [{"type": "c", "path": "/v/fuse", "major": 10, "minor": 229}]},
        r"linux\.devices\[0\]: /v/fuse would lie in",
    ),
    "what is hidden in it": ({"mounts": [volume()], "linux.maskedPaths": ["/v/x"]}, r"linux\.maskedPaths\[0\]: /v/x would"),
    "read-only in it": ({"mounts": [volume()], "linux.readonlyPaths": ["/v"]}, r"linux\.readonlyPaths\[0\]: /v would"),
}  # fmt: skip


def within(changes: dict[str, Any], host: Host = PODMAN) -> tuple[Step, ...]:
    return lowered({**SHARED, **changes}, host.replace(sources={"rootfs": "/b/rootfs", "/src": "/src"}))


@pytest.mark.parametrize("changes, words", IN_IT.values(), ids=IN_IT)
def test_nothing_else_may_lie_in_a_shared_volume(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        within(changes)


def test_a_shared_volume_is_mounted_last_of_all() -> None:
    steps = within(
        {"mounts": [volume(), volume("/w", "rprivate"), volume("/vv", "rprivate")], "linux.maskedPaths": ["/x"]}
    )

    kinds = [type(step.op) for step in steps]
    assert kinds[kinds.index(PivotRoot) - 1] is BindMount
    assert [step.op.early for step in steps if isinstance(step.op, BindMount)] == [Early.NO, Early.NO, Early.COPY]
    assert Notice not in kinds


WHO: dict[str, tuple[dict[str, Any], int]] = {
    "the caller": (RANGES, Early.NO),
    "the caller, alone": ({}, Early.NO),
    "another": (
        {f"linux.{kind}Mappings": [{"containerID": 0, "hostID": 100000, "size": 10}] for kind in ("uid", "gid")},
        Early.OPEN,
    ),
    "another group": (
        {**RANGES, "linux.gidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}]},
        Early.OPEN,
    ),
    "nobody": (
        {f"linux.{kind}Mappings": [{"containerID": 7, "hostID": 1000, "size": 1}] for kind in ("uid", "gid")}
        | {"process.user": {"uid": 7, "gid": 7}},
        Early.NO,
    ),
    "that of a namespace which is joined": (
        {
            "linux.namespaces": [{"type": "user", "path": "/ns"}, *BASE["linux"]["namespaces"][1:]],
            "linux.uidMappings": None,
            "linux.gidMappings": None,
        },
        Early.OPEN,
    ),
}


@pytest.mark.parametrize("changes, early", WHO.values(), ids=WHO)
def test_sources_are_opened_by_the_caller_where_another_is_root_inside(changes: dict[str, Any], early: int) -> None:
    host = USER.replace(sources={"rootfs": "/b/rootfs", "/src": "/src"})
    operations = [step.op for step in lowered({**changes, "mounts": [volume("/v", "rprivate")]}, host)]

    assert [op.early for op in operations if isinstance(op, BindMount | BindRoot)] == [early] * 2


# --- closed directories ---


@pytest.fixture
def closed(bundle: Bundle) -> Bundle:
    """Return a bundle that is below a directory of the caller's alone."""
    bundle.path.chmod(0o700)
    bundle.rootfs.chmod(0o755)
    for name in ("proc", "dev", "m"):  # another could make nothing in it
        (bundle.rootfs / name).mkdir()
    return bundle


def others() -> dict[str, Any]:
    """Return maps of our subordinate ids, without our own."""
    return {
        name: [{**entry, "containerID": 0} for entry in entries if entry["size"] > 1]
        for name, entries in ranges().items()
    }


@needs("newuidmap")
@pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
def test_root_and_volumes_below_a_closed_directory_of_the_callers(closed: Bundle, joined: bool) -> None:
    changes = {**others(), **bind("rbind", "ro")}
    script = "id -u; cat /m/note /etc/note; touch /m/x; ls /proc/self/fd | wc -l"
    within: tuple[str, ...] = ()
    if joined:  # by way of another process
        kinds = ("user", "mount", "pid", "ipc", "uts", "cgroup")
        changes["linux.namespaces"] = [
            *({"type": kind} for kind in kinds),
            {"type": "network", "path": "/proc/self/ns/net"},
        ]
    result = closed(script, changes, within=within)

    assert result.stdout.split() == ["0", "host", "image", "4"], result.stderr
    assert "Read-only file system" in result.stderr


@needs("newuidmap")
def test_many_volumes_below_a_closed_directory(closed: Bundle) -> None:
    mounts = []
    for number in range(120):
        (closed.path / f"data/{number}").mkdir()
        (closed.rootfs / f"m/{number}").mkdir()
        (closed.path / f"data/{number}/number").write_text(f"{number}\n")
        mounts.append({"destination": f"/m/{number}", "source": f"data/{number}", "options": ["bind"]})

    result = closed("for i in /m/*; do echo ${i#/m/} $(cat $i/number); done", {**others(), "mounts": mounts})

    pairs = [line.split() for line in result.stdout.splitlines()]
    assert len(pairs) == 120, result.stderr
    assert all(left == right for left, right in pairs)


@needs("newuidmap")
def test_a_source_that_goes_is_named_though_it_is_opened_early(closed: Bundle) -> None:
    config = {**others(), **bind("rbind", source="data/below")}
    assert closed("echo ran", config).stdout == "ran\n"
    os.rename(closed.path / "data/below", closed.path / "data/gone")

    result = closed("echo ran", config)

    assert result.returncode == 1
    assert "mounts[2]" in result.stderr
