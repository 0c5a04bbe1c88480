"""A sandbox inside a sandbox, and ranges of ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs

pytestmark = needs("userns")


def test_a_sandbox_inside_a_sandbox(sandbox: Sandbox, home: Path) -> None:
    """The kernel refuses a new /proc there, as the outer one is partly covered: the outer one is shown instead."""
    (home / "nest.toml").write_text(
        f'extends = "build"\n[security]\nnested = true\n[filesystem]\nread = ["{sandbox.binary.parent.parent}"]\n'
    )
    inner = "id -u; cat /proc/self/uid_map; test -r /proc/self/status && echo proc; hostname; echo $$"
    script = (
        "mkdir -p /tmp/p /tmp/r; chmod 700 /tmp/r; cd /tmp/p; export XDG_RUNTIME_DIR=/tmp/r;"
        f" for i in 1 2; do {sandbox.binary} run --hostname inner sh -c '{inner}' || exit 9; done"
    )
    result = sandbox("run", "-p", str(home / "nest.toml"), "--hostname", "outer", "sh", "-c", script)

    assert result.returncode == 0, result.stderr
    cold, warm = result.stdout[: len(result.stdout) // 2], result.stdout[len(result.stdout) // 2 :]
    assert cold == warm
    assert cold.splitlines()[2:] == ["proc", "inner", "2"]


def test_without_leave_there_is_no_sandbox_inside(sandbox: Sandbox, project: Path) -> None:
    script = f"export XDG_RUNTIME_DIR=/tmp; chmod 700 /tmp; {sandbox.binary} run --cwd / true"
    result = sandbox("run", "--read", str(sandbox.binary.parent.parent), "sh", "-c", script)

    assert result.returncode == 125
    assert "cannot create the namespaces" in result.stderr


@pytest.mark.parametrize("kept", [False, True], ids=["cold", "kept"])
@needs("newuidmap")
def test_a_range_of_ids(sandbox: Sandbox, project: Path, kept: bool) -> None:
    (project / "range.toml").write_text(
        'extends = "build"\n[user]\nmap = "range"\nuid = 0\ngid = 0\n'
        '[security]\ncapabilities = ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]\n'
    )
    script = "id -u; touch f; chown 5:6 f; stat -c %u:%g f; chown 0:0 f; setpriv --reuid 7 --clear-groups id -u"
    for _ in range(2 if kept else 1):
        result = sandbox("run", "-p", "./range.toml", "sh", "-c", script)

    assert result.stdout == "0\n5:6\n7\n", result.stderr
    assert (project / "f").stat().st_uid == project.stat().st_uid


@needs("newuidmap")
def test_ones_own_id_in_a_range(sandbox: Sandbox, project: Path) -> None:
    (project / "range.toml").write_text('extends = "build"\n[user]\nmap = "range"\n')
    result = sandbox(
        "run", "-p", "./range.toml", "sh", "-c", "id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status"
    )

    own = str(project.stat().st_uid)
    assert result.stdout.splitlines()[0] == own
    assert [own, own, "1"] in [line.split() for line in result.stdout.splitlines()]
    assert "0000000000000000" in result.stdout
