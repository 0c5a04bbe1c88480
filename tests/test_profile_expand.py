"""From sections to a spec: everything but the file system."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from profile_world import STANDARD, World

from sandbox.errors import HostError, ProfileError
from sandbox.kernel import ids
from sandbox.plan.inputs import InputKind
from sandbox.profile.environment import kept
from sandbox.profile.expand import Expansion
from sandbox.spec.runtime import decode, encode


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def expanded(world: World, text: str, *, cwd: str = "/", options: tuple[tuple[str, str], ...] = ()) -> Expansion:
    start = "" if "cwd =" in text else f'[process]\ncwd = "{cwd}"\n'
    if "[process]" in text:
        text, start = text.replace("[process]", start.strip() or "[process]"), ""
    return world.expand(world.profile("p", start + text), options=options)


def refused(world: World, text: str) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        expanded(world, text)
    return caught.value


def value(expansion: Expansion, place: str) -> object:
    """Return what stands at a place of the spec's JSON."""
    found = msgspec.to_builtins(expansion.spec)
    for part in place.replace("[", ".").replace("]", "").split("."):
        found = found[int(part)] if isinstance(found, list) else found.get(part)
    return found


VALUES = {
    '[process]\nhostname = "h"': ("hostname", "h"),
    '[process]\numask = "027"': ("process.user.umask", 0o27),
    "[process]\nnice = 5": ("process.scheduler", {"policy": "SCHED_OTHER", "nice": 5}),
    "[process]\ntty = true": ("process.terminal", True),
    "[limits]\nrlimits = { nofile = 64 }": ("process.rlimits[0]", {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}),
    '[limits]\nrlimits.core = { soft = 0, hard = "unlimited" }': (
        "process.rlimits[0]",
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
    ),
    '[limits]\nmemory = "1.5G"': ("linux.resources.memory.limit", 3 * 2**29),
    "[limits]\nmemory = 1048576": ("linux.resources.memory.limit", 2**20),
    "[limits]\ncpus = 1.5": ("linux.resources.cpu", {"quota": 150000, "period": 100000}),
    "[limits]\ncpus = 2": ("linux.resources.cpu.quota", 200000),
    "[limits]\npids = 9": ("linux.resources.pids.limit", 9),
    '[limits]\npids = "?9"': ("linux.resources.pids.limit", 9),
    '[limits]\nmemory = "?1M"\nswap = "1M"': ("linux.resources.memory", {"limit": 2**20, "swap": 2**21}),
    '[limits]\nmemory = "1M"\nswap = 0': ("linux.resources.memory", {"limit": 2**20, "swap": 2**20}),
    "[limits]\nswap = 0": ("linux.resources.unified", {"memory.swap.max": "0"}),
    '[limits]\nmemory = "1M"': ("linux.resources.unified", {"memory.oom.group": "1"}),
    '[limits]\nmemory = "1M"\noom_group = false': ("linux.resources.unified", {"memory.oom.group": "0"}),
    "[limits]\noom_group = true": ("linux.resources.unified", {"memory.oom.group": "1"}),
    '[limits]\nmemory_low = "1M"': ("linux.resources.memory", {"reservation": 2**20}),
    '[limits]\nmemory_high = "1M"\nmemory_min = "1K"': (
        "linux.resources.unified",
        {"memory.high": "1048576", "memory.min": "1024"},
    ),
    '[limits]\nmemory_high = "100%"': (
        "linux.resources.unified",
        {"memory.high": str(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))},
    ),
    "[limits]\ncpu_weight = 20\nio_weight = 30": (
        "linux.resources.unified",
        {"io.weight": "30", "cpu.weight": "20"},
    ),
    '[limits]\ncpuset = "0-3,6"\ncpuset_mems = "0"': ("linux.resources.cpu", {"cpus": "0-3,6", "mems": "0"}),
    '[limits]\nhugepages = { "2MB" = "4M", "1GB" = 0 }': (
        "linux.resources.hugepageLimits",
        [{"pageSize": "2MB", "limit": 2**22}, {"pageSize": "1GB", "limit": 0}],
    ),
    '[limits]\nmemory = "1M"\nunified = { "memory.oom.group" = "0", "memory.peak" = "x" }': (
        "linux.resources.unified",
        {"memory.oom.group": "0", "memory.peak": "x"},
    ),
    "[user]\nuid = 0\ngid = 5": ("linux.uidMappings", [{"containerID": 0, "hostID": 1000, "size": 1}]),
    "[user]\ngid = 5": ("linux.gidMappings", [{"containerID": 5, "hostID": 1000, "size": 1}]),
    '[security]\ncapabilities = ["net_admin", "CAP_NET_ADMIN"]': ("process.capabilities.ambient", ["CAP_NET_ADMIN"]),
    "[security]\nno_new_privs = false": ("process.noNewPrivileges", None),
    '[security]\nseccomp = "off"': ("linux.seccomp", None),
    '[oci]\ndomainname = "d"': ("domainname", "d"),
    '[oci.linux.sysctl]\n"net.x" = "1"': ("linux.sysctl", {"net.x": "1"}),
    '[[oci.mounts]]\ndestination = "/m"\ntype = "tmpfs"': (
        f"mounts[{STANDARD}]",
        {"destination": "/m", "type": "tmpfs"},
    ),
    "[oci.process]\noomScoreAdj = 500": ("process.oomScoreAdj", 500),
    "[oci.linux.resources.memory]\nswap = 1": ("linux.resources.memory.swap", 1),
}


@pytest.mark.parametrize("text", VALUES)
def test_where_a_key_goes(world: World, text: str) -> None:
    place, expected = VALUES[text]
    expansion = expanded(world, text)

    assert value(expansion, place) == expected
    assert encode(decode(encode(expansion.spec))) == encode(expansion.spec)


def test_of_two_rates_for_one_disk_the_lower_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project may add a path, and only tighten by it: the kernel would take the last that it was told."""
    monkeypatch.setattr("sandbox.profile.resources.whole_device", lambda *_: (8, 0))
    text = '[limits.io]\n"/" = { write = 5, read = "?9" }\n"/usr" = { write = 6, read = 7 }\n"/etc" = { write = 5 }'
    expansion = expanded(world, text)

    assert value(expansion, "linux.resources.blockIO.throttleWriteBpsDevice") == [{"major": 8, "minor": 0, "rate": 5}]
    assert value(expansion, "linux.resources.blockIO.throttleReadBpsDevice") == [{"major": 8, "minor": 0, "rate": 7}]
    assert expansion.origins["linux.resources.blockIO.throttleReadBpsDevice[0]"].endswith("limits.io./usr.read")


ANNOTATIONS = {
    "": {"root": "fresh", "terminal": "auto", "init": "true", "nested": "false", "symlinks": "{}", "keep": "[]"},
    "[process]\ninit = false\ntty = false": {"init": "false", "terminal": "never"},
    "[process]\ntty = true": {"terminal": "always"},
    "[security]\nnested = true": {"nested": "true"},
    '[limits]\ntimeout = "1.5m"': {"timeout": "90"},
    "[limits]\ntimeout = 2": {"timeout": "2"},
    '[limits]\ntimeout = "250ms"': {"timeout": "0.25"},
    '[environment]\nkeep = ["A", "B*"]': {"keep": '["A","B*"]'},
}


@pytest.mark.parametrize("text", ANNOTATIONS)
def test_what_oci_has_no_word_for_is_an_annotation(world: World, text: str) -> None:
    annotations = expanded(world, text).spec.annotations

    for name, expected in ANNOTATIONS[text].items():
        assert annotations["dev.sandbox." + name] == expected


REFUSED = {
    "[limits]\nrlimits = { nofiles = 1 }": ('4: limits.rlimits.nofiles: no limit is called "nofiles"', "nofile"),
    "[limits]\nrlimits.core = { soft = 2, hard = 1 }": ("4: limits.rlimits.core: the soft limit 2 is over", ""),
    "[limits]\nrlimits.core = -1": ("-1 is not a limit", "unlimited"),
    '[limits]\nmemory = "lots"': ('4: limits.memory: "lots" is not a size', "512M"),
    '[limits]\nmemory = "-1"': ('"-1" is not a size', "512M"),
    "[limits]\ncpus = 0": ("0.0 is not a number of processors", "0.5"),
    "[limits]\npids = 0": ("0 is too few processes", "1 or more"),
    '[limits]\npids = "many"': ("4: limits.pids: many is not a number of processes", "1 or more"),
    '[limits]\nmemory = "101%"': ('4: limits.memory: "101%" is no share', "80%"),
    '[limits]\nswap = "?"': ('4: limits.swap: "" is not a size', "512M"),
    "[limits]\ncpu_weight = 0": ("4: limits.cpu_weight: 0 is not a weight", "others have 100"),
    "[limits]\nio_weight = 10001": ("4: limits.io_weight: 10001 is not a weight", "1 to 10000"),
    '[limits]\ncpuset = "0-"': ('4: limits.cpuset: "0-" is no list of numbers', "0-3,6"),
    '[limits]\ncpuset_mems = "3-1"': ('4: limits.cpuset_mems: "3-1" is no range', "0-3,6"),
    '[limits]\nhugepages = { 2M = "4M" }': ('4: limits.hugepages.2M: "2M" is no size of pages', "2MB"),
    '[limits.io."/proc"]\nread = 1': ("3: limits.io./proc: /proc lies on no block device", "lsblk"),
    '[limits.io."/nowhere/x"]\nread = 1': ("/nowhere/x: No such file or directory", "of this machine"),
    '[limits]\nmemory_high = 1\nunified = { "memory.high" = "2" }': (
        "5: limits.unified.memory.high: memory.high is what ",
        "leave out one of the two",
    ),
    '[limits]\ntimeout = "soon"': ('4: limits.timeout: "soon" is not a time', "90s"),
    "[limits]\ntimeout = -1": ('"-1" is not a time', "90s"),
    '[process]\numask = "99"': ('3: process.umask: "99" is not a umask', "027"),
    '[process]\numask = "7777"': ("is not a umask", "027"),
    "[process]\nnice = 20": ("20 is not a nice value", "-20 to 19"),
    "[user]\nuid = -1": ("4: user.uid: -1 is not an id", ""),
    "[user]\ngid = 4294967295": ("4294967295 is not an id", ""),
    '[root]\nfrom = "image:x"': ('4: root.from: "image:x" is no root', "dir:PATH"),
    '[root]\nfrom = "dir:/none"': ("4: root.from: /none: No such file or directory", "root file system"),
    '[root]\nfrom = "dir:/"': ("/ would show the state of the sandboxes", ""),
    '[security]\nseccomp = "strictly"': ('4: security.seccomp: no filter is called "strictly"', "strict"),
    '[security]\nseccomp = "/none.json"': ("4: security.seccomp: /none.json: No such file or directory", ""),
    '[environment]\nset = { A = "$NONE" }': ("4: environment.set.A: the variable NONE is not set", "$$"),
    '[environment]\nkeep = ["A=B"]': ('4: environment.keep[0]: "A=B" is not the name of a variable', ""),
    '[oci]\nhostnam = "x"': ("4: oci.hostnam: object contains unknown field `hostnam`", "OCI"),
    "[oci.process]\noomScoreAdj = true": ("4: oci.process.oomScoreAdj: expected `int | null`, got `bool`", "OCI"),
    '[[oci.mounts]]\ndestination = "/m"\ntype = "bind"\nsource = "@/run"\noptions = ["ro"]': (
        "3: oci.mounts[0]: @/run would make the state of the sandboxes readable inside",
        "smaller",
    ),
    '[[oci.mounts]]\ndestination = "/m"\ntype = "bind"\nsource = "@/home"': (
        "3: oci.mounts[0]: @/home would make your profiles writable inside",
        "smaller",
    ),
    '[process]\ncwd = "/none"': ("2: process.cwd: the working directory /none is not there inside", "--cwd /"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_names_the_line(world: World, text: str) -> None:
    error = refused(world, text)
    message, hint = REFUSED[text]

    assert world.at(message) in str(error)
    assert hint in error.hint


# --- the working directory ---


@pytest.mark.parametrize("text", ['read = ["~/project"]', 'write = ["."]', 'tmp = ["."]', 'read = ["./deep/er"]'])
def test_the_working_directory_is_kept_where_it_is_shown(world: World, text: str) -> None:
    world.make("deep/er/")
    spec = world.expand(world.profile("p", f"[filesystem]\n{text}")).spec

    assert spec.process is not None
    assert spec.process.cwd == str(world.project)


@pytest.mark.parametrize("text", ["", 'tmp = ["~"]', 'read = ["~"]\nhide = ["."]'])
def test_a_working_directory_that_is_not_shown_is_an_error(world: World, text: str) -> None:
    with pytest.raises(ProfileError) as caught:
        world.expand(world.profile("p", f"[filesystem]\n{text}"))

    assert str(caught.value) == f"the working directory {world.project} is not there inside"
    assert caught.value.hint == "show it with --read . or --write ., or start elsewhere: --cwd /"


def test_a_working_directory_behind_a_symlink_is_the_real_one(world: World) -> None:
    world.make("@/link -> @/srv")
    spec = expanded(world, f'[process]\ncwd = "{world.top}/link"\n[filesystem]\nread = ["@/srv"]').spec

    assert spec.process is not None
    assert spec.process.cwd == world.at("@/srv")


# --- the environment ---


@pytest.mark.parametrize(
    "layers, expected_set, expected_keep",
    [
        (['set = { A = "1" }'], {"A": "1"}, []),
        (['set = { A = "1" }', 'set = { A = "2" }'], {"A": "2"}, []),
        (['set = { A = "1" }', 'keep = ["A"]'], {}, ["A"]),
        (['set = { A = "1" }', 'keep = ["*"]'], {"A": "1"}, ["*"]),
        (['keep = ["A"]', 'set = { A = "1" }'], {"A": "1"}, ["A"]),
        (['set = { A = "1", AB = "2" }', 'unset = ["A*"]'], {}, []),
        (['keep = ["A", "B"]', 'unset = ["A"]'], {}, ["B"]),
        (['keep = ["A*"]', 'unset = ["AWS_*"]'], {}, ["A*", "!AWS_*"]),
        (['keep = ["A*"]', 'unset = ["AWS_*"]', 'keep = ["AWS_REGION"]'], {}, ["A*", "!AWS_*", "AWS_REGION"]),
        (['keep = ["A*"]\nunset = ["AB"]'], {}, ["A*", "!AB"]),
        (['set = { A = "1" }\nunset = ["A"]'], {}, []),
        (['unset = ["A"]', 'set = { A = "1" }'], {"A": "1"}, []),
        (['set = { A = "$HOME/x ${USER} $$5 $" }'], {"A": "@/home/x ann $5 $"}, []),
    ],
)
def test_of_a_name_the_last_layer_decides(
    world: World, layers: list[str], expected_set: dict[str, str], expected_keep: list[str]
) -> None:
    names = [
        world.profile(f"p{number}", f'[process]\ncwd = "/"\n[environment]\n{text}')
        for number, text in enumerate(layers)
    ]
    expansion = world.expand(*names)
    assert expansion.spec.process is not None
    variables = dict(entry.split("=", 1) for entry in expansion.spec.process.env)
    for name in ("PATH", "HOME", "USER", "LOGNAME"):
        variables.pop(name, None)

    assert variables == {name: world.at(text) for name, text in expected_set.items()}
    assert expansion.keep == json.loads(expansion.spec.annotations["dev.sandbox.keep"]) == expected_keep


def test_defaults_are_the_callers_but_for_the_path(world: World) -> None:
    spec = expanded(world, "").spec
    assert spec.process is not None

    assert spec.process.env == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"HOME={world.home}",
        "USER=ann",
        "LOGNAME=ann",
    ]


def test_a_default_gives_way_to_what_is_kept(world: World) -> None:
    spec = expanded(world, '[environment]\nkeep = ["PATH", "LOG*"]').spec
    assert spec.process is not None

    assert [entry.partition("=")[0] for entry in spec.process.env] == ["HOME", "USER"]


def test_what_is_kept_is_no_input_of_the_plan(world: World) -> None:
    world.environment["LANG"] = "C"
    expanded(world, '[environment]\nkeep = ["LANG"]\nset = { A = "$USER" }')

    assert (InputKind.ENVIRONMENT, "USER") in world.inputs.seen
    assert not {(InputKind.ENVIRONMENT, "LANG"), (InputKind.UNSET, "LANG")} & set(world.inputs.seen)


def test_the_last_pattern_that_matches_decides_what_is_kept() -> None:
    environ = {"LC_ALL": "C", "AWS_KEY": "k", "AWS_REGION": "r", "aws": "x"}

    assert kept(["*", "!AWS_*", "AWS_REGION"], environ) == {"LC_ALL": "C", "AWS_REGION": "r", "aws": "x"}
    assert kept([], environ) == {}


def test_a_value_on_the_command_line_is_taken_as_it_is(world: World) -> None:
    spec = expanded(world, "", options=(("environment", "A=$NONE"),)).spec
    assert spec.process is not None

    assert "A=$NONE" in spec.process.env


# --- who and where ---


def test_a_range_fills_the_ids_around_ones_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.profile.expand.subordinate", lambda *_: [ids.Range(100000, 65536)])
    linux = expanded(world, '[user]\nmap = "range"').spec.linux
    assert linux is not None

    rows = [(entry.container_id, entry.host_id, entry.size) for entry in linux.uid_mappings]
    assert rows == [(0, 100000, 1000), (1000, 1000, 1), (1001, 101000, 64536)]


def test_who_has_no_range_learns_where_it_was_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> list[ids.Range]:
        raise HostError("gives no uids to ann", where="/etc/subuid", hint="sudo usermod")

    monkeypatch.setattr("sandbox.profile.expand.subordinate", none)
    with pytest.raises(HostError, match=r"p\.toml:4: user\.map: /etc/subuid: gives no uids to ann"):
        expanded(world, '[user]\nmap = "range"')


def test_without_a_network_of_its_own_a_sandbox_shows_the_hosts_sysfs(world: World) -> None:
    spec = expanded(world, '[network]\nmode = "host"').spec
    assert spec.linux is not None

    assert "network" not in [namespace.type for namespace in spec.linux.namespaces]
    assert [(mount.type, mount.options[1]) for mount in spec.mounts if mount.destination == "/sys"] == [("bind", "rro")]


def test_a_root_of_its_own(world: World) -> None:
    world.make("@/image/etc/", "@/link -> image")
    expansion = expanded(
        world, '[root]\nfrom = "dir:@/link"\n[filesystem]\nread = ["@/srv"]\nhide = ["?@/srv/none", "@/home"]'
    )
    spec = expansion.spec
    assert spec.root is not None

    assert (spec.root.path, spec.root.readonly) == (world.at("@/image"), True)
    assert world.view(spec) == ["read @/srv", "mask @/home"]
    assert expansion.origins["root"].endswith("p.toml:4: root.from")


def test_what_a_root_of_its_own_brings_is_hidden_around_what_is_shown(world: World) -> None:
    world.make("@/image/", "@/srv/a/")
    text = '[root]\nfrom = "dir:@/image"\n[filesystem]\nread = ["@/srv/a"]\nhide = ["@/srv"]'

    assert world.view(expanded(world, text).spec) == ["tmp @/srv 0555", "read @/srv/a"]


def test_a_symlink_of_the_host_means_nothing_in_a_root_of_its_own(world: World) -> None:
    world.make("@/image/", "@/bin -> srv")
    error = refused(world, '[root]\nfrom = "dir:@/image"\n[filesystem]\nread = ["@/bin"]')

    assert error.hint == f"name the target itself: {world.top}/srv"


def test_every_part_of_a_spec_has_an_origin(world: World) -> None:
    text = '[filesystem]\nread = ["@/srv"]\nhide = ["/sys/class"]\n[limits]\nrlimits.core = 0\n[process]\nnice = 1\numask = "0"'
    expansion = expanded(world, text)
    spec, origins = expansion.spec, expansion.origins
    assert spec.linux is not None
    assert spec.process is not None
    places = {f"mounts[{index}]" for index in range(len(spec.mounts))}
    places |= {f"linux.maskedPaths[{index}]" for index in range(len(spec.linux.masked_paths))}
    places |= {f"linux.readonlyPaths[{index}]" for index in range(len(spec.linux.readonly_paths))}
    places |= {f"process.env[{index}]" for index in range(len(spec.process.env))}
    places |= {"root", "hostname", "process.cwd", "process.user", "process.user.umask", "process.scheduler"}
    places |= {"process.rlimits[0]", "linux.seccomp", "linux.namespaces", "linux.uidMappings", "process.capabilities"}

    assert places <= set(origins)
    assert all(origins[place] for place in places)


def test_a_filter_of_ones_own_is_read_from_a_file(world: World) -> None:
    path = world.top / "filter.json"
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    spec = expanded(world, f'[security]\nseccomp = "{path}"').spec
    assert spec.linux is not None
    assert spec.linux.seccomp is not None

    assert spec.linux.seccomp.default_action == "SCMP_ACT_ALLOW"
    assert (InputKind.FILE, str(path)) in world.inputs.seen


def test_equal_requests_on_an_equal_host_give_equal_specs(world: World) -> None:
    first = encode(world.expand("build").spec)

    assert encode(world.expand("build").spec) == first
    assert os.path.isdir(world.state)


@pytest.mark.parametrize("name", ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"])
@pytest.mark.parametrize("place", ["profile", "bounding", "effective", "inheritable", "permitted", "ambient"])
def test_a_capability_that_undoes_the_sandbox_is_refused(world: World, name: str, place: str) -> None:
    if place == "profile":
        text = f'[security]\ncapabilities = ["CHOWN", "{name[4:].lower()}"]'
    else:
        text = f'[oci.process.capabilities]\n{place} = ["CAP_CHOWN", "{name}"]'
    with pytest.raises(ProfileError, match=f"p.toml:.*who has {name} can ") as caught:
        expanded(world, text)

    assert "security.nested = true" in caught.value.hint
