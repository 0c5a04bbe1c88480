"""A spec that `sandbox spec` writes comes to the same under runc and crun: a probe sees the same in all three."""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from test_holds import PROFILES, facts, probe_binary

__all__ = ["probe_binary"]

pytestmark = needs("userns", "gcc", "runc", "crun")

RUNTIMES = ("runc", "crun")


def comparable(text: str) -> dict[str, set[str]]:
    """Return what the probe saw, without what has to differ.

    - `/`: our root is a new tmpfs, theirs the directory of the bundle.
    - mount options: runc and crun write no more than is asked for; the host's own flags that a bind keeps are the same.
      They show the ids of a tmpfs, and relatime where nothing is said; the root of a mount by its place on the host.
    - Masks and read-only paths: ours keep, or get, nosuid, nodev and noexec besides.
    - Devices: ours are nosuid and noexec besides.
    - /dev: runc and crun make /dev/console for a terminal only; runc has no /dev/core.
    - env: crun and runc know no variables of the call.
    """
    found = {name: set(values) for name, values in facts(text).items()}
    mounts = set()
    for line in found.pop("mount", set()):
        point, kind, _, options = line.split(" ", 3)
        flags = {flag for flag in options.split(",") if flag in ("ro", "rw", "nosuid", "nodev", "noexec")}
        if kind == "devtmpfs":
            flags = set()
        elif kind in ("tmpfs", "proc") and "ro" in flags:
            flags = {"ro"}
        if point != "/":
            mounts.add(f"{point} {kind} {','.join(sorted(flags))}")
    found["mount"] = mounts
    # "entry /dev/x MODE DEVICE LINK": the type and the device, not permissions
    found["entry"] = {line for line in found["entry"] if not re.match(r"/dev/(core|console)\b", line)}
    return found


def run_bundle(runtime: str, bundle: Path) -> str:
    program = f"/usr/sbin/{runtime}" if runtime == "runc" else runtime
    state = bundle / f"state-of-{runtime}"
    result = subprocess.run(
        [program, "--root", str(state), "run", "--bundle", str(bundle), f"sandbox-test-{secrets.token_hex(4)}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_probe_sees_the_same(sandbox: Sandbox, probe_binary: Path, home: Path, profile: str, runtime: str) -> None:
    probe = home / "tools/probe"
    probe.parent.mkdir()
    probe.write_bytes(probe_binary.read_bytes())
    probe.chmod(0o755)
    as_root = home / "as-root.toml"
    as_root.write_text("[user]\nuid = 0\ngid = 0\n[process]\ninit = false\n")
    options = ["-p", profile, "-p", str(as_root), "--read", str(probe.parent)]
    ours = sandbox("run", *options, str(probe), check=True).stdout
    bundle = home / "bundle"
    sandbox("spec", *options, "--output", str(bundle), "--", str(probe), check=True)
    theirs = run_bundle(runtime, bundle)

    mine, other = comparable(ours), comparable(theirs)
    different = {
        name: (
            sorted(mine.get(name, set()) - other.get(name, set())),
            sorted(other.get(name, set()) - mine.get(name, set())),
        )
        for name in mine.keys() | other.keys()
        if mine.get(name) != other.get(name)
    }
    assert not different


@pytest.mark.parametrize("profile", PROFILES)
def test_the_spec_as_it_is_printed_runs(sandbox: Sandbox, home: Path, profile: str) -> None:
    bundle = home / "bundle"
    written = sandbox("spec", "-p", profile, "--output", str(bundle), "--", "sh", "-c", "id -u; pwd", check=True)

    expected = f"0\n{'/tmp' if profile == 'untrusted' else sandbox.cwd}\n"
    assert [run_bundle(runtime, bundle) for runtime in RUNTIMES] == [expected, expected]
    assert "in this spec you are id 0" in written.stderr


def test_the_profile_to_build_upon_runs_too(sandbox: Sandbox, home: Path) -> None:
    """It shows no project: it has to be said where to start."""
    bundle = home / "bundle"
    sandbox("spec", "-p", "base", "--cwd", "/", "--output", str(bundle), "--", "sh", "-c", "pwd", check=True)

    assert [run_bundle(runtime, bundle) for runtime in RUNTIMES] == ["/\n", "/\n"]


def test_own_ids_are_for_crun(sandbox: Sandbox, home: Path) -> None:
    bundle = home / "bundle"
    sandbox("spec", "--own-ids", "--output", str(bundle), "--", "id", "-u", check=True)

    assert run_bundle("crun", bundle).strip() == str(home.stat().st_uid)


def test_the_printed_spec_is_the_bundles(sandbox: Sandbox, home: Path) -> None:
    bundle = home / "bundle"
    sandbox("spec", "--output", str(bundle), "--", "true", check=True)

    assert sandbox("spec", "--", "true", check=True).stdout == (bundle / "config.json").read_text()
