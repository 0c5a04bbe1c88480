"""What `sandbox doctor` recognises where it cannot be made to happen, and how it looks."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import CHECKOUT, needs
from test_terminal import Terminal, terminal

from sandbox.kernel.probe import cgroup, distribution, lacks, namespaces
from sandbox.kernel.probe.distribution import install

__all__ = ["terminal"]

pytestmark = needs("userns")


def test_an_ubuntu_that_restricts_user_namespaces_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "sysctl", {"kernel.apparmor_restrict_unprivileged_userns": "1"}.get)
    monkeypatch.setattr(namespaces, "_has_rights", lambda: False)
    cause = namespaces.why_no_user(errno.EACCES)

    assert cause.why.startswith("AppArmor takes the rights in a user namespace away")
    assert cause.cure.endswith("sysctl kernel.apparmor_restrict_unprivileged_userns=0")
    assert namespaces.why_no_rights(errno.EPERM) == cause
    monkeypatch.setattr(namespaces, "_has_rights", lambda: True)
    assert not namespaces.why_no_rights(errno.EPERM)  # this program has a profile that allows it


def test_an_old_debian_that_forbids_user_namespaces_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "sysctl", {"kernel.unprivileged_userns_clone": "0"}.get)

    assert namespaces.why_no_user(errno.EPERM).cure.endswith("sysctl kernel.unprivileged_userns_clone=1")


def test_the_limit_on_keys_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.geteuid()
    texts = {"/proc/key-users": f"    0:    9 8/8 9/1000000 1/25000000\n{uid:5}:   200 199/199 199/200 5000/20000\n"}
    monkeypatch.setattr(lacks, "read", lambda path: texts.get(path, ""))

    cause = lacks.no_keys()

    assert cause.why == f"199 of kernel.keys.maxkeys, 200, are in use by uid {uid}"
    assert cause.cure.endswith("sysctl kernel.keys.maxkeys=2000")


def test_the_limit_on_a_cgroup_s_processes_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"/c/a/pids.max": "max", "/c/a/pids.current": "7", "/c/pids.max": "20", "/c/pids.current": "20"}
    monkeypatch.setattr(lacks, "_own_cgroups", lambda: ["/c/a", "/c"])
    monkeypatch.setattr(lacks, "read", lambda path: texts.get(path, ""))

    assert lacks.lack(errno.EAGAIN).why == "the cgroup /c has 20 processes, of 20 allowed (pids.max)"


NOBODYS = {
    "a user manager answers": (
        True,
        True,
        "below your user manager you may make cgroups",
        "systemd-run --user --scope",
    ),
    "no user manager answers": (True, False, "no user manager of yours is reached at ", "log in anew"),
    "no systemd": (False, False, "no systemd is there to ask", "as root: "),
}


@pytest.mark.parametrize("systemd, answers, why, cure", NOBODYS.values(), ids=NOBODYS.keys())
def test_why_no_cgroup_is_ours_is_read(
    monkeypatch: pytest.MonkeyPatch, systemd: bool, answers: bool, why: str, cure: str
) -> None:
    monkeypatch.setattr(cgroup, "around", lambda: "")
    monkeypatch.setattr(cgroup, "manager_answers", lambda: answers)
    monkeypatch.setattr(os.path, "isdir", lambda path: systemd)
    cause = cgroup.why_none()

    assert why in cause.why
    assert cause.cure.startswith(cure)


GRANTED = {
    "all": ("cpu cpuset io memory pids", "ok", "user@1000.service has cpu, cpuset, io, memory, pids", ""),
    "as systemd has it": (
        "cpu memory pids",
        "warn",
        "user@1000.service has cpu, memory, pids; not cpuset, io",
        "Delegate=cpu cpuset io memory pids",
    ),
    "nothing": ("", "warn", "user@1000.service has nothing; not cpu, cpuset, io, memory, pids", "daemon-reload"),
}


@pytest.mark.parametrize("given, state, found, cure", GRANTED.values(), ids=GRANTED)
@pytest.mark.parametrize(
    "own", ["/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope", "/system.slice/cron"]
)
def test_what_the_users_manager_has_is_read(
    monkeypatch: pytest.MonkeyPatch, own: str, given: str, state: str, found: str, cure: str
) -> None:
    place = "/cg/user.slice/user-1000.slice/user@1000.service"
    places = "".join(f"{name}\t0\t9\t1\n" for name in ("cpu", "cpuset", "io", "memory", "pids"))
    monkeypatch.setattr(cgroup.delegation, "own_cgroup", lambda: own)
    monkeypatch.setattr(cgroup.delegation, "mount_point", lambda: "/cg")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os.path, "isdir", lambda path: path == place)
    monkeypatch.setattr(
        cgroup, "read", lambda path: {f"{place}/cgroup.controllers": given, "/proc/cgroups": places}.get(path, "")
    )
    finding = cgroup.probe_granted()

    assert (finding.state, finding.found) == (state, found)
    assert cure in finding.cause.cure


V2 = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t9\t1\npids\t0\t9\t1\n"
CONTROLLERS = {
    "systemd gives it not": (
        V2,
        "/sys/fs/cgroup/user.slice/user@1000.service",
        "systemd gives its users no memory",
        "delegate.conf",
    ),
    "v1": (V2.replace("memory\t0", "memory\t4"), "/c", "hierarchies of cgroup v1 hold memory", "cgroup_no_v1=all"),
    "disabled": (
        V2.replace("9\t1\np", "9\t0\np"),
        "/c",
        "switched off when the system was booted: memory",
        "cgroup_disable",
    ),
    "not there": ("", "/c", "this kernel has no controller memory", "boot one that has it"),
    "from root": (V2, "/c", "/c was given without memory", ""),
}


@pytest.mark.parametrize("places, top, why, cure", CONTROLLERS.values(), ids=CONTROLLERS.keys())
def test_why_a_controller_is_missing_is_read(
    monkeypatch: pytest.MonkeyPatch, places: str, top: str, why: str, cure: str
) -> None:
    monkeypatch.setattr(cgroup, "read", lambda path: {"/proc/cgroups": places}.get(path, ""))
    cause = cgroup.why_missing(top, ["memory"])

    assert cause.why == why
    assert cure in cause.cure


@pytest.mark.parametrize(
    "identity, cure",
    [
        ({"ID": "debian"}, "apt install uidmap"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "apt install uidmap"),
        ({"ID": "fedora"}, "dnf install shadow-utils"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install shadow-utils"),
        ({"ID": "arch"}, "pacman -S shadow"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "zypper install shadow"),
        ({"ID": "alpine"}, "apk add shadow-subids"),
        ({"ID": "nixos"}, "in configuration.nix: security.shadow.enable = true;"),
        ({}, "install newuidmap"),
    ],
)
def test_the_package_is_named_as_the_distribution_does(
    monkeypatch: pytest.MonkeyPatch, identity: dict[str, str], cure: str
) -> None:
    monkeypatch.setattr(distribution, "release", lambda: identity)

    assert install("newuidmap").endswith(cure)


def test_the_manual_names_every_finding(sandbox: Sandbox) -> None:
    manual = (CHECKOUT / "docs/doctor.md").read_text()

    for finding in json.loads(sandbox("doctor", "--json").stdout)["findings"]:
        assert re.search(rf"[|,] {re.escape(finding['name'])} ?[|,]", manual), finding["name"]
        assert finding["group"] in manual


def test_several_at_once_and_sandboxes_beside_them(sandbox: Sandbox, runtime_dir: Path) -> None:
    """Each makes and removes the state's directories while the others use them."""
    doctors = [sandbox.popen("doctor", stdin=subprocess.DEVNULL) for _ in range(4)]
    others = [sandbox.popen("run", "true", stdin=subprocess.DEVNULL) for _ in range(4)]

    for process in (*doctors, *others):
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, ""), stdout
    assert not [name for name in os.listdir(runtime_dir / "sandbox/containers") if "probe" in name]


def test_what_a_killed_one_has_left_is_removed(sandbox: Sandbox, runtime_dir: Path) -> None:
    sandbox("run", "true", check=True)
    left = runtime_dir / "sandbox/containers/.probe-999999999"
    left.mkdir()
    (left / "pid").write_text("0")
    sandbox("doctor", check=True)

    assert not left.exists()


@pytest.mark.parametrize("columns", [30, 80, 120])
def test_on_a_terminal_it_fits_and_no_color_is_respected(sandbox: Sandbox, terminal: Terminal, columns: int) -> None:
    terminal.resize(50, columns)
    sandbox.environment |= {"TERM": "xterm", "NO_COLOR": "1"}
    process = terminal.start(sandbox, "doctor")
    shown = terminal.expect("sandbox works here")
    process.wait(20)

    assert not re.search(r"\x1b\[(\d+;)*(3|4|9)\d", shown)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= columns
    assert any(line.startswith("✓  user namespace") for line in lines)


def test_in_a_pipe_each_finding_is_a_line_without_colour(sandbox: Sandbox) -> None:
    result = sandbox("doctor", env={"COLUMNS": "40"})

    assert "\x1b" not in result.stdout
    lines = [line for line in result.stdout.splitlines() if not line.startswith("    ")]
    assert all(re.match(r"(ok|warn|fail|n/a): [^:]+: [^:]+: ", line) for line in lines[:-1])
    assert lines[-1].startswith("sandbox works here")


def test_verbose_says_how_it_was_tried(sandbox: Sandbox) -> None:
    assert "    tried: clone3(CLONE_NEWUSER), then /proc/self/uid_map\n" in sandbox("doctor", "--verbose").stdout


def test_it_leaves_nothing_behind(sandbox: Sandbox, runtime_dir: Path) -> None:
    def everything() -> set[str]:
        places = (str(runtime_dir), "/tmp", "/sys/fs/cgroup")
        return {os.path.join(d, n) for p in places for d, names, files in os.walk(p) for n in (*names, *files)}

    sandbox("run", "true", check=True)  # which makes the state's own directories
    before = {path for path in everything() if "probe" in path}
    state = {path for path in everything() if path.startswith(str(runtime_dir))}
    sandbox("doctor", check=True)

    assert {path for path in everything() if "probe" in path} == before
    assert {path for path in everything() if path.startswith(str(runtime_dir))} == state
