"""What the tests of scopes stand on: a user manager that starts scopes, and of which nothing is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

from needs import needs
from user_manager_world import UserManager, running


@needs("user_manager")
def test_a_scope_of_it_is_ours_to_divide(user_manager: UserManager) -> None:
    command = ["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes", "--unit", "sandbox-tried"]
    script = 'd=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); mkdir "$d/below" && echo $$ >"$d/below/cgroup.procs"; echo "$d"'
    result = subprocess.run(
        [*command, "sh", "-c", script],
        env={"PATH": "/usr/bin:/bin", **user_manager.environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    directory = Path(result.stdout.strip())
    assert directory.name == "sandbox-tried.scope"
    assert directory.is_relative_to(user_manager.cgroup)
    assert user_manager.wait_for_none() == []
    assert not directory.exists()


@needs("user_manager")
def test_nothing_is_left_of_it(runtime_dir: Path) -> None:
    with running(runtime_dir) as manager:
        assert manager.units("init.scope") == ["init.scope"]
    assert manager.own or not manager.cgroup.parent.exists()
    assert manager.process is None or manager.process.returncode is not None
