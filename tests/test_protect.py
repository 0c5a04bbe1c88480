"""`filesystem.protect`: what nobody inside may change, nor make where it is absent; and nothing is left on the host."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Sandbox
from needs import needs
from profile_world import World

from sandbox.errors import EXIT_OWN_FAILURE, ProfileError
from sandbox.plan.inputs import InputKind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def absent(world: World) -> str:
    """Return the annotation by which stubs are asked for."""
    assert world.profile
    return world.expand("p").spec.annotations.get("dev.sandbox.absent", "{}").replace(str(world.top), "@")


# --- what a policy comes to ---

CASES = {
    "what is there is read-only": (
        ["@/srv/a/x"],
        'write = ["@/srv"]\nprotect = ["@/srv/a"]',
        ["write @/srv", "read @/srv/a"],
        "{}",
    ),
    "what leads there is kept in place": (
        ["@/srv/a/b"],
        'write = ["@/srv"]\nprotect = ["@/srv/a/b"]',
        ["write @/srv", "write @/srv/a", "read @/srv/a/b"],
        "{}",
    ),
    "what is absent gets a stub": (
        [],
        'write = ["@/srv"]\nprotect = ["@/srv/a"]',
        ["write @/srv", "read @/srv/a"],
        '{"@/srv/a":"directory"}',
    ),
    "the uppermost that is absent": (
        [],
        'write = ["@/srv"]\nprotect = ["@/srv/a/b/c", "@/srv/a/d"]',
        ["write @/srv", "read @/srv/a"],
        '{"@/srv/a":"directory"}',
    ),
    "a file that is in the way": (
        ["@/srv/.git"],
        'write = ["@/srv"]\nprotect = ["@/srv/.git/hooks"]',
        ["write @/srv", "read @/srv/.git"],
        "{}",
    ),
    "git's own files are files": (
        ["@/srv/.git/HEAD"],
        'write = ["@/srv"]\nprotect = ["@/srv/.git/commondir", "@/srv/commondir"]',
        ["write @/srv", "write @/srv/.git", "read @/srv/.git/commondir", "read @/srv/commondir"],
        r'{"@/srv/.git/commondir":"file:.\n","@/srv/commondir":"directory"}',
    ),
    "it shows nothing": (["@/srv/a"], 'protect = ["@/srv/a", "@/srv/b"]', [], "{}"),
    "a read-only tree needs none": (["@/srv/a"], 'read = ["@/srv"]\nprotect = ["@/srv/b"]', ["read @/srv"], "{}"),
    "hide is stronger": (
        ["@/srv/a"],
        'write = ["@/srv"]\nhide = ["@/srv/a"]\nprotect = ["@/srv/a"]',
        ["write @/srv", "mask @/srv/a"],
        "{}",
    ),
    "write at the same path lifts it": (
        ["@/srv/a"],
        'write = ["@/srv", "@/srv/a"]\nprotect = ["@/srv/a"]',
        ["write @/srv"],
        "{}",
    ),
    "a wildcard matches what is there, names with a dot too": (
        ["@/srv/.x", "@/srv/y"],
        'write = ["@/srv"]\nprotect = ["@/srv/*"]',
        ["write @/srv", "read @/srv/.x", "read @/srv/y"],
        "{}",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_protect_comes_to(world: World, case: str) -> None:
    made, text, expected, stubs = CASES[case]
    world.make(*made)

    assert world.rules(text) == expected
    assert absent(world) == stubs


def test_a_later_layer_lifts_it(world: World) -> None:
    world.make("@/srv/a/x")
    world.profile("below", '[process]\ncwd = "/"\n[filesystem]\nwrite = ["@/srv"]\nprotect = ["@/srv/a"]')
    world.profile("above", 'extends = "below"\n[filesystem]\nwrite = ["@/srv/a"]')

    assert world.view(world.expand("above").spec) == ["write @/srv"]


def test_a_symlink_that_could_be_exchanged_is_refused(world: World) -> None:
    world.make("@/srv/.vscode -> @/srv/x", "@/srv/x/")
    world.profile("p", '[process]\ncwd = "/"\n[filesystem]\nwrite = ["@/srv"]\nprotect = ["@/srv/.vscode"]')

    with pytest.raises(ProfileError, match=r"\.vscode is a symlink that can be changed inside") as caught:
        world.expand("p")
    assert (
        caught.value.hint == f"put what it leads to in its place, or let it be changed: --write {world.top}/srv/.vscode"
    )
    lifted = world.expand("p", options=(("filesystem.write", "@/srv/.vscode"),))
    assert world.view(lifted.spec) == ["write @/srv"]


def test_with_nested_it_would_not_hold_and_is_refused(world: World) -> None:
    world.profile(
        "p",
        '[process]\ncwd = "/"\n[filesystem]\nwrite = ["@/srv"]\nprotect = ["@/srv/x"]\n[security]\nnested = true',
    )

    with pytest.raises(ProfileError, match="would not stay read-only"):
        world.expand("p")


def test_another_sandboxs_stub_is_taken_for_absent(world: World) -> None:
    world.make("@/srv/a/")
    (world.state / "stubs").mkdir()
    (world.state / "stubs/s1").write_bytes(f"d{world.top}/srv/a\0\0".encode())
    world.profile("p", '[process]\ncwd = "/"\n[filesystem]\nwrite = ["@/srv"]\nprotect = ["@/srv/a/b"]')

    assert absent(world) == '{"@/srv/a":"directory"}'
    kinds = {entry.kind for entry in world.inputs.seen.values() if entry.name == f"{world.top}/srv/a"}
    assert kinds == {InputKind.ABSENT}, "a plan that takes it for absent is stale while it is there"


def test_what_was_put_in_a_stubs_place_is_hidden_and_protected(world: World) -> None:
    """Its list is read until the next start has swept it, after a sandbox was killed."""
    world.make("@/srv/.git/config.worktree", "@/srv/a/key", "@/srv/b")
    (world.state / "stubs").mkdir()
    held = [f"d{world.top}/srv/a\0\0", f"d{world.top}/srv/b\0\0", f"f{world.top}/srv/.git/config.worktree\0.\n\0"]
    (world.state / "stubs/s1").write_text("".join(held))
    hide, keep = 'hide = ["?@/srv/a", "?@/srv/b"]', 'protect = ["@/srv/.git/config.worktree"]'
    world.profile("p", f'[process]\ncwd = "/"\n[filesystem]\nwrite = ["@/srv"]\n{hide}\n{keep}')

    assert world.view(world.expand("p").spec) == [
        "write @/srv",
        "write @/srv/.git",
        "read @/srv/.git/config.worktree",
        "mask @/srv/a",
        "mask @/srv/b",
    ]
    assert absent(world) == "{}"


# --- in force ---

PROFILE = """
extends = "build"
[filesystem]
protect = ["./there", "./absent", "./a/b"]
"""
ATTACKS = """
exec 2>/dev/null
try() { "$@" && echo "done: $*"; }
for name in there absent a; do
    try touch $name/x; try rm -rf $name; try rmdir $name; try mv $name elsewhere; try mkdir $name/x
    try ln -sfn /etc $name; try cp -r /etc/default $name; try chmod 777 $name; try mv -T other $name
done
mkdir other; try mv -T other absent
try touch free
"""


def listing(project: Path) -> list[str]:
    return sorted(entry.name for entry in project.iterdir())


@pytest.fixture
def profile(home: Path, project: Path) -> str:
    (project / "there").mkdir()
    path = home / "p.toml"
    path.write_text(PROFILE)
    return str(path)


@needs("userns")
def test_what_is_protected_withstands_and_nothing_stays_behind(sandbox: Sandbox, project: Path, profile: str) -> None:
    result = sandbox("run", "-p", profile, "--", "sh", "-c", ATTACKS)

    assert result.stdout.splitlines() == ["done: touch free"]
    assert listing(project) == ["free", "other", "there"]
    assert not any(os.listdir(project / name) for name in ("there", "other"))


@needs("userns")
def test_a_symlink_planted_inside_does_not_give_it_free(sandbox: Sandbox, project: Path, profile: str) -> None:
    """What you then name in `--write` may be another thing than you think."""
    (project / "out").mkdir()
    (project / "there/hook").write_text("yours")
    planted = sandbox("run", "-p", profile, "--", "sh", "-c", "rmdir out && ln -s there out")
    assert planted.returncode == 0
    result = sandbox("run", "-p", profile, "--write", "./out", "--", "sh", "-c", "echo mine >there/hook")

    assert result.returncode == 125
    assert "/out is a symlink in a tree that is writable inside" in result.stderr
    assert (project / "there/hook").read_text() == "yours"


def git(directory: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=directory, check=True)


@needs("userns")
@pytest.mark.parametrize("kind", ["worktree", "submodule"])
def test_the_repository_of_a_worktree_is_protected(sandbox: Sandbox, home: Path, project: Path, kind: str) -> None:
    """Its .git is a file, and what git executes lies where that leads."""
    repository, other, here = home / "repository", home / "other", project / "here"
    for path in (repository, other):
        git(home, "init", "-q", str(path))
        git(path, "commit", "-q", "--allow-empty", "-m", "x")
    if kind == "worktree":
        git(repository, "worktree", "add", "-q", str(here))
        git(repository, "worktree", "add", "-q", str(home / "elsewhere"))
        shown = repository / ".git"
    else:
        git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "here")
        here, shown = repository / "here", repository / ".git/modules/here"
    attacks = f"""
        cd {shown}
        for name in hooks/pre-commit config config.worktree commondir modules \\
            worktrees/here/commondir worktrees/elsewhere/commondir worktrees/here/gitdir worktrees/elsewhere/config.worktree; do
            ! echo x >$name || echo "done: $name"
        done 2>/dev/null
        for name in modules/x worktrees/here/modules/x; do ! mkdir -p $name || echo "done: $name"; done 2>/dev/null
        ! mv hooks away 2>/dev/null || echo "done: mv"
        cd {here} && touch new && git add new && git -c user.name=a -c user.email=a@b commit -q -m new && git gc -q && git status -s
    """
    before = sorted(path for path in repository.rglob("*") if "objects" not in path.parts and path.is_dir())
    options = ("-p", "agent", "--write", str(shown))
    result = sandbox("run", *options, "--", "sh", "-c", attacks, cwd=here)

    assert (result.stdout, result.stderr) == ("", "")
    assert result.returncode == 0
    subjects = subprocess.run(["git", "log", "--format=%s"], cwd=here, stdout=subprocess.PIPE, text=True, check=True)
    assert subjects.stdout == "new\nx\n"
    assert [path for path in before if not path.is_dir()] == []
    assert not list(repository.rglob("config.worktree"))


@needs("userns")
def test_it_can_be_said_on_the_command_line(sandbox: Sandbox, project: Path) -> None:
    (project / "there").touch()
    script = "mkdir absent; echo x >there; ls"
    result = sandbox("run", "--protect", "absent", "--protect", "there", "--", "sh", "-c", script)

    assert result.stdout == "absent\nthere\n"
    assert "File exists" in result.stderr
    assert "Read-only file system" in result.stderr
    assert listing(project) == ["there"]


@needs("userns")
def test_a_kept_plan_protects_too(sandbox: Sandbox, project: Path, profile: str) -> None:
    for _ in range(3):
        result = sandbox("run", "-p", profile, "--", "sh", "-c", "mkdir absent; ls -d absent; mkdir a")
        assert result.stdout == "absent\n"
        assert result.stderr.count("File exists") == 2
        assert listing(project) == ["there"]


def held(project: Path) -> bool:
    return (project / "absent").is_dir()


def start(sandbox: Sandbox, profile: str, script: str) -> subprocess.Popen[str]:
    """Start `script`, and wait until it runs."""
    process = sandbox.popen("run", "-p", profile, "--", "sh", "-c", f"echo; {script}", stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process


@needs("userns")
def test_a_stub_goes_with_the_last_sandbox_that_needs_it(sandbox: Sandbox, project: Path, profile: str) -> None:
    first = start(sandbox, profile, "cat")
    second = start(sandbox, profile, "cat; mkdir absent/x || echo held")
    first.communicate("")

    assert held(project)
    assert second.communicate("")[0] == "held\n"
    assert listing(project) == ["there"]


@needs("userns")
@pytest.mark.leaves("processes")
def test_the_next_start_removes_what_a_killed_monitor_left(sandbox: Sandbox, project: Path, profile: str) -> None:
    process = start(sandbox, profile, "sleep 60")
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert held(project)

    sandbox("run", "--", "true", check=True)  # of whatever profile

    assert listing(project) == ["there"]


@needs("userns")
def test_a_sandbox_that_is_stopped_halfway_holds_up_those_alone_that_keep_something(
    sandbox: Sandbox, project: Path, profile: str, runtime_dir: Path
) -> None:
    assert sandbox("run", "-p", profile, "--", "true").returncode == 0
    lists = os.open(next(runtime_dir.glob("sandbox/**/stubs")), os.O_RDONLY)
    fcntl.flock(lists, fcntl.LOCK_EX)  # as who is about to start or to end
    try:
        other = sandbox("run", "--", "true")
        refused = sandbox("run", "-p", profile, "--", "true")
    finally:
        os.close(lists)

    assert (other.returncode, other.stderr) == (0, "")
    assert refused.returncode == EXIT_OWN_FAILURE
    assert "another sandbox, which is about to start or to end" in refused.stderr
    assert listing(project) == ["there"]
    assert sandbox("run", "-p", profile, "--", "true").returncode == 0


@needs("userns")
def test_what_somebody_puts_there_meanwhile_is_theirs(sandbox: Sandbox, project: Path, profile: str) -> None:
    process = start(sandbox, profile, "cat")
    (project / "absent/mine").write_text("kept")
    process.communicate("")

    assert (project / "absent/mine").read_text() == "kept"
    result = sandbox("run", "-p", profile, "--", "sh", "-c", "cat absent/mine; echo x >absent/mine")
    assert result.stdout == "kept"
    assert (project / "absent/mine").read_text() == "kept"


@needs("userns")
def test_an_interrupt_at_any_time_leaves_no_stub(sandbox: Sandbox, project: Path, profile: str) -> None:
    sandbox("run", "-p", profile, "--", "true", check=True)
    for delay in range(0, 20, 2):
        process = sandbox.popen("run", "-p", profile, "--", "sleep", "60")
        time.sleep(delay / 1000)
        process.send_signal(signal.SIGTERM)
        process.wait(10)

        assert listing(project) == ["there"]


@needs("userns")
def test_a_directory_in_which_nothing_can_be_made_is_a_refusal(sandbox: Sandbox, project: Path, profile: str) -> None:
    project.chmod(0o555)
    result = sandbox("run", "-p", profile, "--", "echo", "ran")
    project.chmod(0o755)

    assert result.returncode == 125
    assert result.stdout == ""
    assert "p.toml:4: filesystem.protect[1]: cannot keep" in result.stderr
    assert "Permission denied (mkdirat)" in result.stderr


@needs("userns")
@pytest.mark.leaves("processes")
def test_killed_at_any_moment_nothing_stays_after_the_next_start(
    sandbox: Sandbox, project: Path, profile: str, runtime_dir: Path
) -> None:
    sandbox("run", "-p", profile, "--", "true", check=True)
    for delay in range(0, 30, 2):
        process = sandbox.popen("run", "-p", profile, "--", "sleep", "60")
        time.sleep(delay / 1000)
        process.kill()
        process.wait(10)
    sandbox("run", "--", "true", check=True)

    assert listing(project) == ["there"]
    assert not list((runtime_dir / "sandbox/stubs").iterdir())
