"""What went wrong in others, tried here: those lessons that no other test tries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Sandbox
from hostile_world import SHIPPED, promises, spec_of, start_directory
from needs import CHECKOUT, needs
from test_exec_options import Containers


@needs("userns", "new_proc")
def test_capabilities_are_not_inherited_unless_asked_for(tmp_path: Path) -> None:
    """Neither by the container's first process nor by one that joins, with whatever is added."""
    made = Containers(tmp_path)
    given = ["CAP_KILL", "CAP_CHOWN"]
    made.change(process__capabilities=dict.fromkeys(("bounding", "effective", "permitted"), given))
    made.change(process__args=["sh", "-c", "grep Cap /proc/self/status; exec sleep 1000"])
    try:
        made.start()
        for _ in range(200):
            first = (tmp_path / "output").read_text()
            if "CapAmb" in first:
                break
            time.sleep(0.02)
        later = made.exec("--cap", "CAP_SETUID", "ID", "grep", "Cap", "/proc/self/status").stdout
        plain = made.exec("ID", "grep", "Cap", "/proc/self/status").stdout
    finally:
        made("delete", "--force", made.id)

    for status in (first, plain):
        sets = {name: int(value, 16) for name, value in re.findall(r"Cap(\w+):\s+(\w+)", status)}
        assert sets["Prm"] == sets["Eff"] == sets["Bnd"] == 1 << 0 | 1 << 5
        assert sets["Inh"] == sets["Amb"] == 0
    added = {name: int(value, 16) for name, value in re.findall(r"Cap(\w+):\s+(\w+)", later)}
    assert added["Eff"] & 1 << 7
    assert added["Inh"] & ~(1 << 7) == 0


@needs("userns", "new_proc")
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH], ids=["open", "place"])
def test_a_container_is_handed_no_directory(tmp_path: Path, home: Path, secret: str, flags: int) -> None:
    """Neither with nor without a kept plan, nor a process that joins: by it lies all that is around it."""
    made = Containers(tmp_path)
    descriptor = os.open(home, flags)
    script = "cat /proc/self/fd/0/.netrc /proc/self/cwd/.netrc"

    def handed(*words: str) -> str:
        command = [made.program, "--root", str(tmp_path / "state"), *words]
        result = subprocess.run(
            command, stdin=descriptor, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
        )
        assert result.returncode == 1
        assert "Python" not in result.stderr
        assert secret not in result.stdout
        return result.stderr.splitlines()[0]

    try:
        made.change(process__args=["sh", "-c", script])
        refusals = {handed("run", made.id) for _ in range(2)}
        subprocess.run([made.program, "run", "--bundle", tmp_path, made.id], stdin=subprocess.DEVNULL, check=False)
        refusals |= {handed("run", made.id)}
        made.change(process__args=["sleep", "1000"])
        made.start()
        state = f"{tmp_path}/state-{Path(made.program).name}"
        refusals |= {handed("--root", state, "exec", made.id, "sh", "-c", script)}
        refusals |= {handed("--root", state, "exec", "--cwd", "/proc/self/fd/0", made.id, "sh", "-c", script)}
    finally:
        os.close(descriptor)
        made("delete", "--force", made.id)

    assert refusals == {"sandbox-oci: standard input is a directory"}


def test_no_program_of_ours_gives_rights(sandbox: Sandbox) -> None:
    """Neither by its mode nor by capabilities of the file, as installed and in the sources."""
    prefix = sandbox.binary.parent.parent
    installed = [*prefix.glob("bin/sandbox*"), *prefix.glob("lib/python3*/site-packages/sandbox/**/*")]
    assert len(installed) > 50
    for path in (*installed, *(CHECKOUT / "nsinit").iterdir(), *(CHECKOUT / "tests").rglob("*")):
        assert not path.lstat().st_mode & 0o6000, path
        if path.is_file() and not path.is_symlink():
            assert "security.capability" not in os.listxattr(path), path


ODD = ("--help", "-p", "--", "--read=x", "-rf", "--version")


@needs("userns")
@pytest.mark.parametrize("name", ODD)
def test_a_command_that_looks_like_an_option_is_a_command(sandbox: Sandbox, project: Path, name: str) -> None:
    """A file by that name, which a hostile project may have, and arguments by those names."""
    file = project / name
    file.write_text('#!/bin/sh\necho "ran $*"\n')
    file.chmod(0o755)
    for _ in range(2):  # without a kept plan, and with it
        result = sandbox("run", "--env", f"PATH={project}:/usr/bin:/bin", "--", name, *ODD)
        assert result.stdout == f"ran {' '.join(ODD)}\n", result.stderr


TRAP = "open({!r}, 'a').write('executed')\n"


@needs("userns")
def test_nothing_that_lies_about_is_executed_by_us(sandbox: Sandbox, project: Path, home: Path, tmp_path: Path) -> None:
    """Modules, programs and variables that an earlier run, or a hostile checkout, has put where Python or we might look."""
    witness = tmp_path / "witness"
    for name in (
        "sitecustomize",
        "usercustomize",
        "sandbox",
        "msgspec",
        "tomllib",
        "os",
        "json",
        "typer",
        "rich",
    ):
        (project / f"{name}.py").write_text(TRAP.format(str(witness)))
        (project / name).mkdir()
        (project / name / "__init__.py").write_text(TRAP.format(str(witness)))
    (project / "x.pth").write_text(f"import os; open({str(witness)!r}, 'a')\n")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = home / f".local/lib/{version}/site-packages"
    site.mkdir(parents=True)
    (site / "usercustomize.py").write_text(TRAP.format(str(witness)))
    (site / "x.pth").write_text(f"import os; open({str(witness)!r}, 'a')\n")
    for name in (
        "python3",
        version,
        "newuidmap",
        "newgidmap",
        "sh",
        "true",
        "sandbox-oci",
        "libseccomp.so.2",
    ):
        (project / name).unlink(missing_ok=True)
        (project / name).write_text(f"#!/bin/sh\necho executed >>{witness}\n")
        (project / name).chmod(0o755)
    hostile = {
        "PYTHONPATH": str(project),
        "PYTHONHOME": str(project),
        "PYTHONSTARTUP": str(project / "os.py"),
        "PYTHONINSPECT": "1",
        "PYTHONUSERBASE": str(project),
        "PATH": f"{project}:/usr/bin:/bin",
        "BASH_ENV": str(project / "sh"),
        "ENV": str(project / "sh"),
        "PAGER": str(project / "sh"),
        "SHELL": str(project / "sh"),
    }
    subprocess.run([sys.executable, "-c", ""], env={"PYTHONPATH": str(project)}, check=False, capture_output=True)
    assert witness.exists(), "the trap would not have been noticed"
    witness.unlink()
    for words in (("run", "/usr/bin/true"), ("run", "-p", "untrusted", "/usr/bin/true"), ("profile", "list")):
        for _ in range(2):
            result = sandbox(*words, env=hostile)
            assert result.returncode == 0, result.stderr
    sandbox("run", "--user", "0", "/usr/bin/true", env=hostile)

    assert not witness.exists()


AGENT = """
hook='#!/bin/sh\\ntouch WITNESS\\n'
try() { "$@" 2>/dev/null && echo "done: $*"; }
put() { mkdir -p "$(dirname "$1")"; printf "$hook" >"$1"; chmod 755 "$1"; }
for name in .git/hooks/pre-commit .git/hooks/post-checkout .git/config .git/config.worktree .envrc .bashrc .vscode/tasks.json \
    .github/workflows/x.yml .gitlab-ci.yml .claude/settings.json .mcp.json .husky/pre-commit .pre-commit-config.yaml; do
    put "$name"
done 2>/dev/null
git config core.fsmonitor "touch WITNESS" 2>/dev/null
git config core.hooksPath evil 2>/dev/null
mv .git moved 2>/dev/null && git init -q . 2>/dev/null
rm -rf .git/hooks .git/config .github .envrc 2>/dev/null
mkdir -p evil/hooks; ln -sfn "$PWD/evil" .git/hooks 2>/dev/null; ln -sfn evil .github 2>/dev/null
ln -f evil/hooks .git/config 2>/dev/null; mv -T evil .vscode 2>/dev/null; mv -T evil .git/worktrees 2>/dev/null
echo ../evil >.git/commondir 2>/dev/null
echo work >work; git add work; git -c user.name=a -c user.email=a@b commit -qm work
"""


@needs("userns")
@pytest.mark.parametrize("kind", ["repository", "worktree", "nothing yet"])
def test_an_agent_leaves_nothing_that_is_executed_later(
    sandbox: Sandbox, project: Path, home: Path, tmp_path: Path, kind: str
) -> None:
    """It makes, moves, links and configures what git, an editor, a shell or the forge would execute."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}

    def outside(*words: str, cwd: Path = project) -> None:
        subprocess.run([*git, *words], cwd=cwd, env=environment, check=True, capture_output=True)

    if kind == "repository":
        outside("init", "-q", ".")
        outside("commit", "-q", "--allow-empty", "-m", "first")
    elif kind == "worktree":
        (home / "main").mkdir()
        outside("init", "-q", ".", cwd=home / "main")
        outside("commit", "-q", "--allow-empty", "-m", "first", cwd=home / "main")
        outside("worktree", "add", "-q", str(project / "tree"), cwd=home / "main")
        project = project / "tree"
    before = {path.name for path in project.iterdir()}
    witness = tmp_path / "witness"
    sandbox(
        "run", "-p", "agent", "--cwd", str(project), "sh", "-c", AGENT.replace("WITNESS", str(witness)), cwd=project
    )
    left = {path.name for path in project.iterdir()} - before

    assert left <= {"evil", "work"}
    if kind != "nothing yet":
        for words in (("status",), ("checkout", "-q", "-b", "later"), ("commit", "-q", "--allow-empty", "-m", "later")):
            outside(*words, cwd=project)
        if kind == "repository":
            assert subprocess.run(
                [*git, "log", "--oneline", "--", "work"], cwd=project, capture_output=True, check=True
            ).stdout
    assert not witness.exists()


@needs("userns")
@pytest.mark.parametrize("profile", SHIPPED)
def test_no_filter_of_ours_asks_anybody(sandbox: Sandbox, profile: str) -> None:
    spec = spec_of(sandbox, "-p", profile, *start_directory(profile), "true")
    filter_ = spec["linux"].get("seccomp")

    assert ("filter" in promises(spec)) == (filter_ is not None)
    if filter_ is not None:
        actions = {filter_["defaultAction"], *(rule["action"] for rule in filter_["syscalls"])}
        assert actions == {"SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"}
        assert "listenerPath" not in filter_


@needs("userns")
def test_where_no_sandbox_can_be_made_nothing_runs(sandbox: Sandbox, project: Path) -> None:
    """Within a sandbox that allows none inside, each profile, with and without what it would fall back on."""
    variants = [f"-p {profile} {' '.join(start_directory(profile))}" for profile in SHIPPED]
    variants += ["--network host", "--no-init", "--user 0", "--tty"]
    loop = "\n".join(f"{sandbox.binary} run {variant} touch {project}/ran; echo $?" for variant in variants)
    script = f"export XDG_RUNTIME_DIR=/tmp; chmod 700 /tmp; mkdir -p ~/x\n{loop}\n"
    result = sandbox("run", "--read", str(sandbox.binary.parent.parent), "sh", "-c", script)

    assert result.stdout.split() == ["125"] * len(variants), result.stderr
    assert not (project / "ran").exists()
