"""A run from where its caller has no way to: to root nothing is closed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conftest import Sandbox
from needs import needs

pytestmark = needs("userns", "not_root")


def test_a_home_of_another_user_is_named(sandbox: Sandbox) -> None:
    """As `su` and `sudo` leave it."""
    result = sandbox("run", "true", env={"HOME": "/root"})

    assert result.returncode == 125
    assert "\n  cause: /root is closed to you: it is uid 0's, with mode 0" in result.stderr
    assert "\n  hint: HOME is another user's: " in result.stderr


def test_a_working_directory_below_a_closed_one_is_explained(sandbox: Sandbox, project: Path) -> None:
    (project / "closed/in").mkdir(parents=True)
    script = (
        f"cd closed/in && chmod 0 .. && {sandbox.binary} run true; status=$?; chmod 700 {project}/closed; exit $status"
    )
    result = subprocess.run(
        ["sh", "-c", script], cwd=project, env=sandbox.environment, capture_output=True, text=True, check=False
    )

    assert result.returncode == 125
    assert f"\n  cause: {project}/closed is closed to you: it is yours, with mode 0000\n" in result.stderr
    assert f"\n  hint: chmod u+x {project}/closed\n" in result.stderr
