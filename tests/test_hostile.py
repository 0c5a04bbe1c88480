"""A hostile program under every shipped profile, and in a plain container: the whole catalogue is tried, and looked at from outside.

What each profile promises is read off its spec, so that a profile that is added is covered at once.  The control shows
that the attacks are real: in a namespace that only looks like a sandbox they succeed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Sandbox
from hostile_world import PROMISES, SHIPPED, Ground, catalogue, may_write, promises, spec_of, start_directory, verdicts
from needs import needs, why_not
from test_exec_options import Containers

pytestmark = needs("userns", "gcc")

# What is told to be no boundary in docs/security.md.
DOCUMENTED = {
    "descriptor-other-end-of-a-pipe",
    "lease-on-what-is-shown",
    "limits-of-init",
    "mount-sources",
    "set-id-file-in-the-project",
    "socket-in-a-shared-directory",
    "watch-what-is-shown",
}
# Why an attack cannot be tried, where that may be.
MISSING = (
    "no namespaces inside",
    "no security module",
    "nothing may be written",
    "process 1 is this program's",
    "no such program is shown",
    "nothing of the system is shown",
    "no /sys",
)
# Where namespaces may be made inside, these are tried with the rights of root in one.
NO_CGROUP = {"cgroup-of-others", "limits-by-a-mount-in-a-namespace"}
IN_A_NAMESPACE = {"locked-mounts-in-a-namespace", "copies-of-mounts-in-a-namespace", "another-proc-in-a-namespace"}


@pytest.fixture
def ground(home: Path, project: Path, runtime_dir: Path) -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground(home, project, runtime_dir, stack)


def run(sandbox: Sandbox, ground: Ground, *options: str) -> dict[str, str]:
    """Let the program loose in a sandbox with these options; return what became of each attack."""
    options = (*options, "--read", str(ground.fixed), "--read", str(ground.program))
    spec = spec_of(sandbox, *options, "true")
    writable = may_write(spec, ground.project)
    if writable:
        options += ("--hide", "./sub/private", "--read", "./sub/fixed")
    given = promises(spec)
    command = [str(ground.program), *ground.words(given, writable=writable)]
    environment = sandbox.environment | {"SECRET_TOKEN": ground.secret, "LD_LIBRARY_PATH": "/nowhere"}
    result = ground.let_loose([str(sandbox.binary), "run", *options, "--", *command], cwd=sandbox.cwd, env=environment)

    assert result.returncode == 0, result.stdout + result.stderr
    found = verdicts(result.stdout)
    ground.assert_untouched()
    if "network" in given:
        ground.assert_silence()
    return found


def assert_held(ground: Ground, found: dict[str, str]) -> None:
    assert list(found) == catalogue(ground.program)
    broken = {name: how for name, how in found.items() if how.startswith("BROKE")}
    assert not broken, "\n".join(map(str, broken.items()))
    unexplained = {
        name: why
        for name, why in found.items()
        if why != "held" and not why.startswith("n/a: no such promise") and not any(word in why for word in MISSING)
    }
    assert not unexplained


@pytest.mark.parametrize("profile", SHIPPED)
def test_a_hostile_program_under_a_shipped_profile(sandbox: Sandbox, ground: Ground, profile: str) -> None:
    found = run(sandbox, ground, "-p", profile, *start_directory(profile))

    assert_held(ground, found)


def test_under_build_every_attack_is_tried_and_held(sandbox: Sandbox, ground: Ground) -> None:
    """What is not tried here is known by name, and tried in the next two."""
    found = run(sandbox, ground, "-p", "build")

    untried = {name for name, verdict in found.items() if verdict != "held"}
    # Not every file system knows leases, nor does every host have labels.
    assert untried | {"security-label", "lease-on-what-is-shown"} == DOCUMENTED | IN_A_NAMESPACE | NO_CGROUP | {
        "security-label"
    }


# Options, and the attacks for which they give the right: in a network of its own.
OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "root": (("--user", "0"), ""),
    "no init": (("--no-init",), ""),
    "the host's network": (("--network", "host"), ""),
    "no filter": (("-p", "./unfiltered.toml"), ""),
    "the whole home": (
        ("--write", "HOME", "--hide", "HOME/.config", "--hide", "?HOME/.cache", "--hide", "HOME/bus"),
        "",
    ),
    "capabilities": (
        ("-p", "./range.toml"),
        "call-open_by_handle_at sockets-of-rare-families network-changed events-and-audit",
    ),
}


@pytest.mark.parametrize("options, given", OPTIONS.values(), ids=OPTIONS)
def test_a_hostile_program_with_options(
    sandbox: Sandbox, ground: Ground, project: Path, options: tuple[str, ...], given: str
) -> None:
    """What an option gives away is not promised; all else holds."""
    (project / "range.toml").write_text(
        'extends = "build"\n[user]\nmap = "range"\nuid = 0\ngid = 0\n'
        '[security]\ncapabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_SETUID",'
        ' "CAP_SETGID", "CAP_KILL", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_SYS_RESOURCE"]\n'
    )
    (project / "unfiltered.toml").write_text('extends = "build"\n[security]\nseccomp = "off"\n')
    found = run(sandbox, ground, *(word.replace("HOME", str(ground.home)) for word in options))

    assert {name for name, how in found.items() if how.startswith("BROKE")} == set(given.split())
    assert_held(ground, {name: "held" if name in given.split() else how for name, how in found.items()})


@pytest.mark.parametrize(
    "options", [(), ("--user", "0"), ("-p", "./unfiltered.toml")], ids=["build", "root", "no filter"]
)
def test_a_hostile_program_that_joins(
    sandbox: Sandbox, ground: Ground, project: Path, options: tuple[str, ...]
) -> None:
    """`sandbox exec` makes another process of the sandbox: it has no more, and is told no more."""
    (project / "unfiltered.toml").write_text('extends = "build"\n[security]\nseccomp = "off"\n')
    options += ("--read", str(ground.fixed), "--read", str(ground.program), "--name", "joined")
    options += ("--hide", "./sub/private", "--read", "./sub/fixed")
    given = promises(spec_of(sandbox, *options[:-6], "true"))
    first = sandbox.popen("run", *options, "--", "sh", "-c", "echo up; exec cat", stdin=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == "up\n"
    environment = sandbox.environment | {"SECRET_TOKEN": ground.secret, "LD_LIBRARY_PATH": "/nowhere"}
    command = [str(ground.program), *ground.words(given, writable=True)]
    result = ground.let_loose([str(sandbox.binary), "exec", "joined", "--", *command], cwd=sandbox.cwd, env=environment)
    first.communicate("")

    assert result.returncode == 0, result.stdout + result.stderr
    found = verdicts(result.stdout)
    assert found["processes-of-others"].strip() == "BROKE: process 2, cat"  # the sandbox's own first
    assert_held(ground, found | {"processes-of-others": "held"})
    ground.assert_untouched()
    ground.assert_silence()


@needs("cgroup2", "cgroup_controller")
@pytest.mark.parametrize("options", [(), ("--user", "0"), ("--no-init",)], ids=["own ids", "root", "no init"])
def test_a_hostile_program_with_a_cgroup(
    sandbox: Sandbox, ground: Ground, project: Path, options: tuple[str, ...]
) -> None:
    """It is limited, and can neither lift that nor get out, nor see who else is."""
    limit = 'hugepages."2MB" = "4M"' if why_not("cgroup_pids") else "pids = 200"
    (project / "limited.toml").write_text(f'extends = "build"\n[limits]\n{limit}\n')
    found = run(sandbox, ground, "-p", "./limited.toml", *options)

    assert_held(ground, found)
    assert found["cgroup-of-others"] == "held"


@needs("cgroup_memory", "cgroup_pids")
@pytest.mark.parametrize("nested", ["false", "true"])
def test_a_hostile_program_with_limits(sandbox: Sandbox, ground: Ground, home: Path, nested: str) -> None:
    """Where systemd has mounted the hierarchy, a mount of its own, too, shows it no limit that it could change."""
    (home / "limited.toml").write_text(
        f'extends = "build"\n[security]\nnested = {nested}\n[limits]\nmemory = "512M"\npids = 200\n'
    )
    options = ("-p", str(home / "limited.toml"), "--read", str(ground.fixed), "--read", str(ground.program))
    given = promises(spec_of(sandbox, *options, "true"))
    ground.before = ground.listing()
    result = ground.let_loose(
        [str(sandbox.binary), "run", *options, "--", str(ground.program), *ground.words(given, writable=False)],
        cwd=sandbox.cwd,
        env=sandbox.environment,
    )
    found = verdicts(result.stdout)

    assert "cgroup" in given
    assert {name: how for name, how in found.items() if how.startswith("BROKE")} == {}
    assert found["cgroup-of-others"] == "held"
    ground.assert_untouched()


def test_on_a_terminal(sandbox: Sandbox, ground: Ground) -> None:
    """It has one of its own, and can type into none."""
    found = run(sandbox, ground, "-p", "build", "--tty")

    assert_held(ground, found)
    assert {found[name] for name in ("typed-into-the-terminal", "terminals-of-the-host", "signals-outside")} == {"held"}


def test_with_namespaces_inside_what_covers_something_stays(sandbox: Sandbox, ground: Ground, home: Path) -> None:
    (home / "nest.toml").write_text('extends = "build"\n[security]\nnested = true\n')
    options = ("-p", str(home / "nest.toml"), "--read", str(ground.fixed), "--read", str(ground.program))
    given = promises(spec_of(sandbox, *options, "true"))
    ground.before = ground.listing()
    words = ground.words(given, writable=False)
    result = ground.let_loose(
        [str(sandbox.binary), "run", *options, "--", str(ground.program), *words],
        cwd=sandbox.cwd,
        env=sandbox.environment,
    )
    found = verdicts(result.stdout)

    broken = {name: how for name, how in found.items() if how.startswith("BROKE")}
    assert not broken, "\n".join(map(str, broken.items()))
    assert {found[name] for name in IN_A_NAMESPACE} == {"held"}
    ground.assert_untouched()
    ground.assert_silence()


@needs("sandbox_oci")
@pytest.mark.parametrize("network", ["host", "own"])
def test_a_hostile_program_in_a_plain_container(
    sandbox: Sandbox, ground: Ground, tmp_path: Path, runtime_dir: Path, network: str
) -> None:
    """The bundle of `sandbox-oci spec --rootless`, which has neither a filter nor a process 1 of ours."""
    engine = str(sandbox.binary.with_name("sandbox-oci"))
    bundle = tmp_path / "bundle"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (bundle / "rootfs" / name).mkdir(parents=True)
    (bundle / "rootfs/bin/hostile").write_bytes(ground.program.read_bytes())
    (bundle / "rootfs/bin/hostile").chmod(0o6755)
    ground.let_loose([engine, "spec", "--rootless", "--bundle", str(bundle)])
    spec = json.loads((bundle / "config.json").read_text())
    if network == "own":
        spec["linux"]["namespaces"].append({"type": "network"})
    fixed = {"destination": str(ground.fixed), "type": "bind", "source": str(ground.fixed), "options": ["rbind", "ro"]}
    spec["mounts"].append(fixed)
    spec["process"]["terminal"] = False
    given = promises(spec)
    # A shell would be process 1; here the program starts itself.
    spec["process"]["args"] = ["/bin/hostile", *ground.words(given, writable=False)]
    (bundle / "config.json").write_text(json.dumps(spec))
    result = ground.let_loose([engine, "run", "--bundle", str(bundle), f"box-{ground.key}"], env=sandbox.environment)

    assert result.returncode == 0, result.stdout + result.stderr
    assert_held(ground, verdicts(result.stdout))
    ground.assert_untouched()
    if network == "own":
        ground.assert_silence()


@needs("sandbox_oci")
def test_a_hostile_program_that_joins_a_container(ground: Ground, tmp_path: Path) -> None:
    made = Containers(tmp_path)
    (tmp_path / "rootfs/bin/hostile").write_bytes(ground.program.read_bytes())
    (tmp_path / "rootfs/bin/hostile").chmod(0o6755)
    spec = json.loads((tmp_path / "config.json").read_text())
    fixed = {"destination": str(ground.fixed), "type": "bind", "source": str(ground.fixed), "options": ["rbind", "ro"]}
    made.change(mounts=[*spec["mounts"], fixed], linux__namespaces=[*spec["linux"]["namespaces"], {"type": "network"}])
    given = promises(json.loads((tmp_path / "config.json").read_text()))
    words = ground.words(given, writable=False)
    try:
        made.start()
        state = f"{tmp_path}/state-{Path(made.program).name}"
        result = ground.let_loose([made.program, "--root", state, "exec", made.id, "/bin/hostile", *words])
    finally:
        made("delete", "--force", made.id)

    assert result.returncode == 0, result.stdout + result.stderr
    assert_held(ground, verdicts(result.stdout))
    ground.assert_untouched()
    ground.assert_silence()


# Where nothing holds, as root in namespaces in which nothing was shut, each of these succeeds on any machine.
SUCCEEDS_IN_THE_CONTROL = set(
    "descriptor-inherited descriptor-reopened hidden-by-name hidden-by-processes hidden-linked hidden-moved hidden-facts"
    " environment readonly-written readonly-described readonly-moved covered-in-a-writable-tree init-memory"
    " init-places init-settings proc-written memory-of-the-machine mount-new mount-changed mount-taken-away"
    " mount-by-descriptor another-root above-the-root locked-mounts-in-a-namespace copies-of-mounts-in-a-namespace"
    " call-bpf call-keyctl call-add_key call-open_by_handle_at call-clone3 typed-into-the-terminal"
    " namespaces-by-unshare namespaces-by-clone namespaces-by-clone3 namespaces-by-flags-that-change"
    " namespaces-by-setns personality abstract-socket socket-that-is-not-shown loopback-of-the-host shared-memory"
    " keyring-of-the-caller devices-of-the-host trace-init memory-of-init settings-of-init signals-outside"
    " capabilities new-privileges program-in-memory filter-loosened filter-by-tracing"
    " limits-rewritten cgroup-left cgroup-by-birth cgroup-of-others limits-by-a-mount-in-a-namespace"
    " state-of-the-sandbox doors-of-the-keeper".split()
)
# And these where there is no namespace at all; a signal to everybody would reach other tests.
SUCCEEDS_OUTSIDE = {"signals-by-owner", "processes-of-others"}


@needs("mountns", "new_proc", "cgroup2")
def test_the_attacks_are_real(ground: Ground) -> None:
    words = ground.words(set(PROMISES), writable=True)
    shell = ["sh", "-c", '"$@"; :', "sh", str(ground.program), *words]
    environment = os.environ | {"SECRET_TOKEN": ground.secret}
    new = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
    found = verdicts(ground.let_loose([*new, *shell], env=environment).stdout)
    outside = verdicts(ground.let_loose([str(ground.program), *sorted(SUCCEEDS_OUTSIDE), *words]).stdout)

    assert set() == SUCCEEDS_IN_THE_CONTROL - {name for name, how in found.items() if how.startswith("BROKE")}
    assert set(outside) == {name for name, how in outside.items() if how.startswith("BROKE")}
    # Which the host side notices, too.
    with pytest.raises(AssertionError):
        ground.assert_untouched()
    with pytest.raises(AssertionError):
        ground.assert_silence()
