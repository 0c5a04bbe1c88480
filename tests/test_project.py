"""A project's `.sandbox.toml`: where it is found, and what it loosens."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from project_world import NAME, Project, world

from sandbox.errors import ProfileError
from sandbox.plan.inputs import Inputs
from sandbox.profile.project import Found, Untrusted, search

__all__ = ["world"]  # a fixture


# --- where it is found ---


def test_all_upwards_are_taken_the_outermost_first(world: Project) -> None:
    assert world.found() == []
    outer = world.write("", world.project)
    world.cwd = world.project / "src"
    assert world.found() == [Found(str(outer), b"")]
    inner = world.write("[network]", world.cwd)

    assert world.found() == [Found(str(outer), b""), Found(str(inner), b"[network]")]


def test_one_further_down_does_not_do_away_with_another(world: Project) -> None:
    """The program may write to where it was started, and plant one there."""
    world.cwd = world.project / "src"
    world.base('[filesystem]\nwrite = ["~/project"]')
    world.write('[filesystem]\nhide = ["./secret"]', world.project)
    world.write("", world.cwd)
    view = world.view(world.run().spec)
    assert "mask @/home/project/secret" in view
    assert f"read @/home/project/{NAME}" in view
    assert f"read @/home/project/src/{NAME}" in view

    world.write('[filesystem]\nread = ["./../secret/key"]', world.cwd)
    with pytest.raises(Untrusted):
        world.run()
    world.write('extends = "mine"', world.cwd)
    assert "mask @/home/project/secret" in world.view(world.run().spec)


def test_the_home_directory_is_no_project(world: Project) -> None:
    world.write("", world.home)

    assert world.found() == []
    world.cwd = world.home
    assert world.found() == []


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a symlink": (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "is a symlink"),
    "writable by all": (lambda path: path.chmod(0o646), "can be written by everybody"),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
    "a fifo": (lambda path: (path.unlink(), os.mkfifo(path)), "cannot be read: not a regular file"),
    "not readable": (lambda path: path.chmod(0), "cannot be read: Permission denied"),
    "large": (lambda path: os.truncate(path, 2 << 20), "larger than 1 MiB"),
}


@pytest.mark.parametrize("spoil, words", SPOILT.values(), ids=SPOILT)
def test_a_file_that_others_could_have_made_is_refused(
    world: Project, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(world.write(""))

    with pytest.raises(ProfileError, match=words) as caught:
        world.found()
    assert "--no-project" in caught.value.hint


@pytest.mark.parametrize("mode, words", [(0o777, "everybody"), (0o1777, "everybody")])
def test_a_directory_that_others_may_write_ends_the_search(world: Project, mode: int, words: str) -> None:
    shared = world.top / "shared"
    (shared / "mine").mkdir(parents=True, mode=0o755)
    shared.chmod(mode)
    world.write('[network]\nmode = "host"', shared)
    world.cwd = shared / "mine"
    found, note = search(world.eye().caller(), world.inputs)

    assert found == []
    assert note == f"{shared}/{NAME} is passed over: its directory can be written by {words}"


def test_another_file_system_ends_the_search(world: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("", world.project)
    world.cwd = world.project / "src"
    assert len(world.found()) == 1
    node = Inputs.node

    def elsewhere(self: Inputs, path: str) -> os.stat_result | None:
        status = node(self, path)
        if status is None or path != str(world.project):
            return status
        return os.stat_result((*status[:2], status.st_dev + 1, *status[3:10]))

    monkeypatch.setattr(Inputs, "node", elsewhere)
    assert world.found() == []


def test_a_file_of_another_user_is_passed_over(world: Project) -> None:
    world.write('[network]\nmode = "host"')
    caller = world.eye().caller()
    found, note = search(caller._replace(uid=caller.uid + 1), world.inputs)

    assert found == []
    assert note.endswith(f"its directory belongs to user {caller.uid}")


@pytest.mark.parametrize("members, taken", [("", True), ("ann", True), ("ann,bob", False)])
def test_the_own_group_may_write_it_and_no_larger_one(
    world: Project, members: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("").chmod(0o664)
    read = Inputs.read
    files = {"/etc/group": f"ann:x:{os.getgid()}:{members}\n", "/etc/passwd": f"ann:x:{os.getuid()}:1::/home:/bin/sh\n"}
    monkeypatch.setattr(Inputs, "read", lambda self, path: files[path].encode() if path in files else read(self, path))
    if taken:
        assert world.found()
    else:
        with pytest.raises(ProfileError, match="can be written by group"):
            world.found()


def test_what_was_looked_for_is_an_input_of_the_plan(world: Project) -> None:
    world.cwd = world.project / "src"
    world.run()

    names = {entry.name for entry in world.inputs.seen.values()}
    assert {f"{world.project}/src/{NAME}", f"{world.project}/{NAME}"} <= names


# --- what it loosens ---

TIGHT = {
    "hide": '[filesystem]\nhide = ["./secret", "./**/*.env", "?./absent"]',
    "read-only in a writable tree": '[filesystem]\nread = ["./src"]',
    "empty in a writable tree": '[filesystem]\ntmp = ["./src"]',
    "writable in a writable tree": '[filesystem]\nwrite = ["./src"]',
    "no network": '[network]\nmode = "none"',
    "strict": '[security]\nseccomp = "strict"\nnested = false\nno_new_privs = true',
    "limits": '[limits]\nmemory = "1G"\npids = 9\ncpus = 1\nrlimits = { nofile = 9, core = 0 }',
    "nothing kept": '[environment]\nunset = ["LANG", "X_*", "HOME"]',
    "words": 'description = "d"\n[process]\nhostname = "h"\ntty = false\numask = "077"\nnice = 5\ninit = true',
    "the same again": '[filesystem]\nwrite = ["."]',
    "nothing": "",
}

LOOSE = {
    '[filesystem]\nread = ["@/srv"]': ["filesystem"],
    '[filesystem]\nwrite = ["@/srv/data/x"]': ["filesystem"],
    '[filesystem]\nread = ["./../other"]': ["filesystem"],
    '[filesystem]\nread = ["~/*"]': ["filesystem"],
    '[filesystem]\nread = ["/dev/zero"]': ["filesystem"],
    '[network]\nmode = "host"': ["network.mode"],
    '[root]\nfrom = "dir:/"': ["root.from"],
    '[environment]\nkeep = ["SSH_*"]': ["environment.keep"],
    '[environment]\nset = { A = "$HOME" }': ["environment.set"],
    '[environment]\nset = { PATH = "/x" }': ["environment.set"],
    '[limits]\nrlimits = { nofile = "unlimited" }': ["limits.rlimits.nofile"],
    '[user]\nmap = "range"': ["user.map"],
    "[user]\nuid = 0\ngid = 0": ["user.uid", "user.gid"],
    '[security]\nseccomp = "off"': ["security.seccomp"],
    '[security]\ncapabilities = ["NET_RAW"]': ["security.capabilities"],
    "[security]\nno_new_privs = false\nnested = true": ["security.no_new_privs", "security.nested"],
    '[process]\nshow_command = true\ncwd = "/"': ["process.cwd", "process.show_command"],
    '[process]\nname = "n"\ninit = false': ["process.init", "process.name"],
    '[process]\numask = "0"': ["process.umask"],
    '[process]\numask = "x"': ["process.umask"],
    "[process]\nnice = -5": ["process.nice"],
    '[report]\nfile = "./report.json"': ["report.file"],
    '[oci]\nhostname = "x"': ["oci"],
    '[[oci.hooks.poststop]]\npath = "/bin/true"': ["oci"],
}


@pytest.mark.parametrize("text", TIGHT.values(), ids=TIGHT)
def test_what_only_tightens_needs_no_approval(world: Project, text: str) -> None:
    assert world.looser(text) == []


@pytest.mark.parametrize("text", LOOSE)
def test_what_loosens_is_named_with_its_line(world: Project, text: str) -> None:
    judged = world.judge(text)

    assert sorted({entry.key for entry in judged}) == sorted(LOOSE[text])
    for entry in judged:
        assert entry.where.startswith(f"~/project/{NAME}:"), entry
    with pytest.raises(Untrusted) as caught:
        world.run()
    assert len(caught.value.details) == len(judged)
    assert "sandbox profile trust" in caught.value.hint


AGAINST = [
    ('[limits]\nmemory = "1G"', '[limits]\nmemory = "2G"', ["limits.memory"]),
    ('[limits]\nmemory = "2G"', '[limits]\nmemory = "1500M"', []),
    ('[limits]\nmemory = "2G"', '[limits]\nmemory = "?1G"', ["limits.memory"]),
    ('[limits]\nmemory = "?2G"', '[limits]\nmemory = "1G"', []),
    ("[limits]\nswap = 0", "[limits]\nswap = 1", ["limits.swap"]),
    ('[limits]\nmemory_high = "2G"', '[limits]\nmemory_high = "3G"', ["limits.memory_high"]),
    ("", '[limits]\nmemory_low = "1M"\nmemory_min = 1', ["limits.memory_low", "limits.memory_min"]),
    ('[limits]\nmemory_low = "1M"', "[limits]\nmemory_low = 4", []),
    ("", "[limits]\noom_group = false", ["limits.oom_group"]),
    ("", "[limits]\ncpu_weight = 101\nio_weight = 100", ["limits.cpu_weight"]),
    ("[limits]\nio_weight = 20", "[limits]\nio_weight = 21", ["limits.io_weight"]),
    ('[limits]\ncpuset = "0-2"', '[limits]\ncpuset = "0,2"\ncpuset_mems = "0"', []),
    ('[limits]\ncpuset = "0-2"', '[limits]\ncpuset = "3"', ["limits.cpuset"]),
    ("", '[limits]\nhugepages = { "2MB" = 0 }\n[limits.io."/"]\nread = 5', []),
    ('[limits]\nhugepages = { "2MB" = 0 }', '[limits]\nhugepages = { "2MB" = "2M" }', ["limits.hugepages"]),
    ('[limits.io."/"]\nread = 5', '[limits.io."/"]\nread = 4\nwrite_ops = 3', []),
    ('[limits.io."/"]\nread = 5', '[limits.io."/"]\nread = 6', ["limits.io"]),
    ("", '[limits]\nunified = { "cpu.idle" = "1" }', ["limits.unified"]),
    ('[limits]\ntimeout = "1m"', '[limits]\ntimeout = "2m"', ["limits.timeout"]),
    ('[limits]\ntimeout = "2m"', "[limits]\ntimeout = 90", []),
    ("", '[limits]\ntimeout_grace = "11s"', ["limits.timeout_grace"]),
    ("", "[limits]\ntimeout_grace = 0\nstrict = true", []),
    ("[limits]\nstrict = true", "[limits]\nstrict = false", ["limits.strict"]),
    ("[environment]\nkeep_all = true", "[environment]\nkeep_all = false", []),
    ("", "[environment]\nkeep_all = true", ["environment.keep", "environment.keep_all"]),
    ("[limits]\npids = 5\ncpus = 1", "[limits]\npids = 6\ncpus = 1.5", ["limits.cpus", "limits.pids"]),
    ("[limits]\nrlimits = { core = 5 }", "[limits]\nrlimits = { core = 6 }", ["limits.rlimits.core"]),
    ("[limits]\nrlimits = { core = 5 }", "[limits]\nrlimits.core = { soft = 5, hard = 5 }", []),
    ("[limits]\nrlimits = { core = 5 }", "[limits]\nrlimits.core = { soft = 1, hard = 9 }", ["limits.rlimits.core"]),
    ('[network]\nmode = "host"', '[network]\nmode = "none"', []),
    ('[security]\nseccomp = "off"', '[security]\nseccomp = "default"', []),
    ('[security]\nseccomp = "strict"', '[security]\nseccomp = "default"', ["security.seccomp"]),
    ('[security]\nseccomp = "/f.json"', '[security]\nseccomp = "strict"', ["security.seccomp"]),
    ('[security]\ncapabilities = ["CHOWN"]', '[security]\ncapabilities = ["CHOWN"]', []),
    ("[security]\nnested = true", "[security]\nnested = false", []),
    ('[user]\nmap = "range"', '[user]\nmap = "single"', []),
    ('[process]\numask = "077"', '[process]\numask = "027"', ["process.umask"]),
    ('[process]\numask = "027"', '[process]\numask = "067"', []),
    ("[process]\nnice = 5", "[process]\nnice = 4", ["process.nice"]),
    ('[environment]\nkeep = ["A*"]', '[environment]\nkeep = ["AB"]', ["environment.keep"]),
    ('[environment]\nkeep = ["A*"]', '[environment]\nunset = ["AB"]', []),
    ('[environment]\nunset = ["AB"]\nkeep = ["A*"]', '[environment]\nkeep = ["A*"]', ["environment.keep"]),
    ('[environment]\nset = { A = "1" }', '[environment]\nset = { A = "1" }', []),
    ('[environment]\nset = { A = "1" }', '[environment]\nset = { A = "2" }', ["environment.set"]),
    ('[environment]\nset = { A = "1" }\nkeep = ["*"]', '[environment]\nunset = ["A"]', []),
    ('[environment]\nset = { A = "1" }', '[environment]\nkeep = ["A"]', ["environment.keep"]),
    ('[filesystem]\nread = ["@/srv"]', '[filesystem]\nwrite = ["@/srv"]', ["filesystem"]),
    ('[filesystem]\nread = ["@/srv"]', '[filesystem]\nhide = ["@/srv/data"]', []),
    ('[filesystem]\nread = ["@/srv"]\nhide = ["@/srv/data"]', '[filesystem]\nread = ["@/srv/data"]', []),
    ('[filesystem]\nread = ["@/srv"]\nhide = ["@/srv/data"]', '[filesystem]\nread = ["@/srv/data/x"]', ["filesystem"]),
    ('[filesystem]\nwrite = ["@/srv"]\nread = ["@/srv/data"]', '[filesystem]\nwrite = ["@/srv/data"]', ["filesystem"]),
    ('[filesystem]\nwrite = ["."]', '[filesystem]\nprotect = ["./src", "./absent"]', []),
    ('[filesystem]\nwrite = ["."]\nprotect = ["./src"]', '[filesystem]\nwrite = ["./src"]', ["filesystem"]),
    ('[filesystem]\nwrite = ["."]\nprotect = ["./src"]', '[filesystem]\nwrite = ["./src/a"]', ["filesystem"]),
    ('[filesystem]\nwrite = ["."]\nprotect = ["./src"]', '[filesystem]\ntmp = ["./src"]', []),
    ('[filesystem]\nwrite = ["."]', '[filesystem]\ncache = ["~/.cache/x"]', []),
    ('[filesystem]\ncache = ["~/.cache/x"]', '[filesystem]\ncache = ["~/.cache/x"]', []),
    ('[filesystem]\nread = ["."]', '[filesystem]\ncache = ["~/.cache/x"]', ["filesystem"]),
    ('[filesystem]\ntmp = ["@/srv"]', '[filesystem]\nread = ["@/srv/data"]', ["filesystem"]),
]


@pytest.mark.parametrize("base, text, keys", AGAINST)
def test_it_is_the_users_profile_that_it_is_held_against(world: Project, base: str, text: str, keys: list[str]) -> None:
    world.base(base)

    assert sorted(world.looser(text)) == keys


def test_a_key_that_no_table_knows_loosens(world: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox.profile import tighten

    monkeypatch.delitem(tighten.JUDGES, "process.hostname")

    assert world.looser('[process]\nhostname = "h"') == ["process.hostname"]


def test_a_point_is_the_projects_directory(world: Project) -> None:
    world.base('[filesystem]\nwrite = ["~/project"]')
    world.write('[filesystem]\nread = ["."]\nhide = ["./secret"]')
    world.cwd = world.project / "src"

    assert world.view(world.run().spec) == ["read @/home/project", "mask @/home/project/secret"]
