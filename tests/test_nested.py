"""A sandbox inside a sandbox, and ranges of ids."""

from __future__ import annotations

import os
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


NEST = """
test "$1" = 0 && { echo "$(hostname) $(id -u)"; exit; }
mkdir -p /tmp/p /tmp/r; chmod 700 /tmp/r; cd /tmp/p; export XDG_RUNTIME_DIR=/tmp/r
for i in 1 2; do
    %s run -p %s/nest.toml --hostname "inner$1" --timeout 1h sh %s/nest.sh $(($1 - 1)) || exit 9
    ls -i /tmp/r/sandbox/plans | grep 'plan$' > plans$1-$i
done
cmp plans$1-1 plans$1-2 && echo "kept at $1: $(wc -l < plans$1-1)"
"""


def test_a_sandbox_in_a_sandbox_in_a_sandbox_each_with_a_kept_plan(sandbox: Sandbox, tmp_path: Path) -> None:
    place = str(tmp_path)
    (tmp_path / "nest.toml").write_text(
        f'extends = "build"\n[security]\nnested = true\n'
        f'[filesystem]\nread = ["{sandbox.binary.parent.parent}", "{place}"]\n'
    )
    (tmp_path / "nest.sh").write_text(NEST % (sandbox.binary, place, place))
    for _ in range(2):
        result = sandbox("run", "-p", f"{place}/nest.toml", "--hostname", "outer", "sh", f"{place}/nest.sh", "2")

        innermost = [f"inner1 {os.getuid()}"] * 2 + ["kept at 1: 1"]
        assert result.stdout.splitlines() == [*innermost, *innermost, "kept at 2: 1"], result.stderr
        assert (result.returncode, result.stderr) == (0, "")


def test_the_processes_outside_are_seen_and_out_of_reach(sandbox: Sandbox, tmp_path: Path) -> None:
    """The outer /proc is writable in a sandbox that may make further ones, for the maps of their ids."""
    (tmp_path / "nest.toml").write_text(
        f'extends = "build"\n[security]\nnested = true\n'
        f'[filesystem]\nread = ["{sandbox.binary.parent.parent}", "{tmp_path}"]\n'
    )
    (tmp_path / "reach.py").write_text(
        "import os, sys\n"
        "place = f'/proc/{sys.argv[1]}/'\n"
        "assert b'sleep' in open(place + 'cmdline', 'rb').read()\n"
        "for name in ('mem', 'environ', 'maps', 'setgroups', 'uid_map', 'root/etc/passwd', 'cwd/x', 'fd/0'):\n"
        "    for flags in (os.O_RDONLY, os.O_WRONLY):\n"
        "        try:\n"
        "            fd = os.open(place + name, flags)\n"
        "            done = os.write(fd, b'0 0 1') if flags else os.read(fd, 1)\n"
        "        except OSError:\n"
        "            continue\n"
        "        if flags or name not in ('setgroups', 'uid_map'):\n"
        "            print('reached', name, flags, done)\n"
        "print('end')\n"
    )
    script = (
        "sleep 60 & mkdir -p /tmp/p /tmp/r; chmod 700 /tmp/r; cd /tmp/p; export XDG_RUNTIME_DIR=/tmp/r;"
        f" {sandbox.binary} run -p {tmp_path}/nest.toml /usr/bin/python3 {tmp_path}/reach.py $!"
    )
    result = sandbox("run", "-p", f"{tmp_path}/nest.toml", "sh", "-c", script)

    assert (result.stdout, result.stderr) == ("end\n", "")


def test_without_leave_there_is_no_sandbox_inside(sandbox: Sandbox, project: Path) -> None:
    script = f"export XDG_RUNTIME_DIR=/tmp; chmod 700 /tmp; {sandbox.binary} run --cwd / true"
    result = sandbox("run", "--read", str(sandbox.binary.parent.parent), "sh", "-c", script)

    assert result.returncode == 125
    assert "cannot create the namespaces" in result.stderr
    assert "outside, in the profile: [security] nested = true" in result.stderr


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
