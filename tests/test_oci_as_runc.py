"""What engines and scripts see of the command line: scenes are played with runc and with ours, and every line is compared.

A scene is a list of command lines; what each prints and its exit status are lines of the scene.  Times, process ids and
the program's name are folded, and so are a few habits (FOLDED).  Any other difference has to be explained.
"""

from __future__ import annotations

import json
import os
import pty
import pwd
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from needs import needs, own_cgroup
from oci_variants import mount, put, without_namespaces
from oci_world import (
    ID,
    Edit,
    Explained,
    Runtime,
    World,
    base_config,
    read_all,
    reap,
    unexplained,
    world,
)

__all__ = ["world"]

pytestmark = needs("userns", "gcc", "busybox", "runc", "sandbox_oci")

MEASURE, OURS = "runc", "sandbox-oci"
APPLETS = "sh cat echo env false grep id kill ls pwd sleep stty touch true tty".split()
SLEEP = put("process.args", ["sleep", "1000"])

FOLDED = (
    (r'^time="[^"]*" ', "", "times"),
    (r'"time":"[^"]*"', '"time":"TIME"', "times"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", "TIME", "times"),
    (r'"pid": ?[1-9]\d*', '"pid":PID', "process ids"),
    (r"^\[\d+(,\d+)*\]$", lambda match: f"{match[0].count(',') + 1} process ids", "process ids"),
    (r'"ociVersion": ?"[^"]*"', '"ociVersion":"VERSION"', "the version"),
    (r"/usr/s?bin/runc|/[\w./-]+/sandbox-oci|sandbox-oci|\brunc\b", "PROGRAM", "the program's name"),
    (r' hint="[^"]*"', "", "ours gives a hint, in a field of its own"),
    (r'"hint":"[^"]*",', "", "as above"),
    (r"is a directory(?=\W*$)", "permission denied", "runc 1.1.15 looks before it calls"),
)
# Rootless runc says so before it does it.
NOISE = r'level=warning msg="PROGRAM (ps|pause|resume) may fail if you don\'t have the full access to cgroups"'


@dataclass(frozen=True)
class Scene:
    """Command lines without the program and --root; $ID, $BUNDLE and $STATE stand for what they say.

    `! COMMAND` is one of the shell, `wait` waits until the container has stopped.
    """

    name: str
    steps: Sequence[str]
    edits: Sequence[Edit] = (SLEEP,)
    explained: Explained = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def applets(bundle: Path) -> None:
    directory = bundle / "rootfs/bin"
    shutil.copy(shutil.which("busybox") or "", directory / "busybox")
    for name in APPLETS:
        (directory / name).symlink_to("busybox")
    (bundle / "rootfs/etc/no-program").write_text("hello\n")
    (bundle / "rootfs/etc/no-program").chmod(0o755)


def folded(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        for pattern, replacement, _ in FOLDED:
            line = re.sub(pattern, replacement, line)
        if not re.fullmatch(NOISE, line):
            lines.append(line.rstrip())
    if "USAGE:" in lines:  # of a help, the first line and the options: the words are everyone's own
        return [lines[0], *(word[1] for line in lines if (word := re.match(r" +(--?[^ ]+( value)?)", line)))]
    return lines


def play(world: World, name: str, scene: Scene) -> list[str]:
    """Return a line per exit status and per line of output."""
    runtime = world.runtime(name)
    bundle = world.fill(base_config(*scene.edits), applets)
    seen = []
    try:
        for number, step in enumerate(scene.steps):
            text = step
            for word, value in (("$ID", ID), ("$BUNDLE", bundle), ("$STATE", runtime.root)):
                text = text.replace(word, str(value))
            if step == "wait":
                runtime.wait_stopped()
                continue
            if step.startswith("! "):
                result = subprocess.run(
                    ["sh", "-c", text[2:]], capture_output=True, text=True, check=False, cwd=bundle, timeout=20
                )
            else:
                result = runtime(*shlex.split(text), cwd=bundle, env={**os.environ, **scene.environment})
            reap()
            seen.append(f"{number} {step}: exit {result.returncode}")
            seen += [f"{number} {step}: {line}" for line in folded(result.stdout)]
            seen += [f"{number} {step}: 2> {line}" for line in folded(result.stderr)]
        return seen
    finally:
        runtime.clean()


def compare(one: list[str], two: list[str]) -> list[str]:
    first, second = Counter(one), Counter(two)
    return [f"runc: {line}" for line in one if (first - second)[line]] + [
        f"ours: {line}" for line in two if (second - first)[line]
    ]


# --- differences ---


def words(*steps: str) -> Sequence[str]:
    """Return patterns for what each says on standard error in the case of these steps."""
    return [rf"{who}: \d+ {re.escape(step)}: 2> level=.*" for step in steps for who in ("runc", "ours")]


def more_options(*steps: str, options: str) -> Sequence[str]:
    return [rf"ours: \d+ {re.escape(step)}: (?:{options}) value" for step in steps]


PIDFD = "a newer runc has the option too"
OWN = "where it is, and what is wrong with it, in our own words"
NO_PROGRAM = "the failure is ours to log, and start waits for it: runc has gone by then"

# --- scenes ---

VERBS = ("start", "state", "kill", "delete", "ps", "pause", "resume", "update", "events --stats")
SCENES = [
    Scene("no such container", [*(f"{verb} absent" for verb in VERBS), "exec absent sh", "delete --force absent"]),
    Scene(
        "names of containers",
        [
            f"{verb} {shlex.quote(name)}"
            for verb in ("create", "state")
            for name in ("", "a/b", ".", "..", "a b", "ä", "a@b", "a:b", "a\nb")
        ],
    ),
    Scene(
        "odd names of containers",
        [
            f"{verb} {ID}{name}"
            for name in ("_", "a+b", "a.b", "-")
            for verb in ("create", "state", "delete --force", "state")
        ],
    ),
    Scene(
        "a name that is taken",
        ["create $ID", "create $ID", "run $ID", "run -d $ID", "delete $ID", "create $ID", "delete --force $ID"],
    ),
    Scene(
        "from create to delete",
        [
            "create $ID",
            "state $ID",
            "list -q",
            "ps --format json $ID",
            "exec $ID echo hello",
            "start $ID",
            "state $ID",
            "start $ID",
            "resume $ID",
            "delete $ID",
            "kill $ID",
            "kill $ID KILL",
            "wait",
            "state $ID",
            "delete $ID",
            "state $ID",
            "delete $ID",
            "list -q",
        ],
    ),
    Scene(
        "annotations in the state",
        ["create $ID", "state $ID", "list --format json"],
        [SLEEP, put("annotations", {"a": "b", "org.x": ""})],
    ),
    Scene("deleted when only created", ["create $ID", "delete $ID", "list -q"]),
    Scene("ended when only created", ["create $ID", "kill $ID TERM", "wait", "state $ID", "start $ID", "delete $ID"]),
    Scene(
        "deleted by force",
        ["run -d $ID", "delete --force $ID", "state $ID", "create $ID", "delete -f $ID", "state $ID"],
    ),
    Scene(
        "paused",
        [
            "run -d $ID",
            "pause $ID",
            "state $ID",
            "pause $ID",
            "exec $ID true",
            "start $ID",
            "delete $ID",
            "kill $ID 0",
            "ps --format json $ID",
            "resume $ID",
            "resume $ID",
            "state $ID",
        ],
    ),
    Scene("paused when only created", ["create $ID", "pause $ID", "state $ID", "resume $ID", "state $ID"]),
    Scene(
        "stopped",
        [
            "run -d $ID",
            "kill $ID KILL",
            "wait",
            *(f"{verb} $ID" for verb in VERBS if verb != "delete"),
            "kill --all $ID KILL",
            "exec $ID true",
            "ps --format json $ID",
            "list --format json",
            "delete $ID",
        ],
    ),
    Scene(
        "signals",
        [
            "run -d $ID",
            *(
                f"kill $ID {name}"
                for name in (
                    "0",
                    "SIGWINCH",
                    "WINCH",
                    "winch",
                    "sigwinch",
                    "28",
                    "SIGNOSUCH",
                    "999",
                    "-1",
                    "65",
                    "64",
                    "RTMIN",
                    "1x",
                )
            ),
            "kill --all $ID WINCH",
            "kill -a $ID 0",
            "kill $ID",
        ],
    ),
    Scene(
        "no containers", ["list", "list -q", "list --format json", "list -f table", "list --format yaml", "list extra"]
    ),
    Scene(
        "ways to end",
        [
            "run $ID",
            "state $ID",
            "run --keep $ID",
            "state $ID",
            "delete $ID",
            "run --detach $ID",
            "wait",
            "state $ID",
            "delete $ID",
        ],
        [put("process.args", ["sh", "-c", "exit 3"])],
    ),
    Scene(
        "pid files",
        [
            "create --pid-file pid $ID",
            "! test $(cat pid) -gt 1 && tail -c 1 pid | grep -q '[0-9]' && stat -c '%a %F' pid && ls",
            "delete -f $ID",
            "! mkdir x; cd x && rm ../pid",
            "run -d --pid-file $BUNDLE/x/pid $ID",
            "! ls x",
            "exec -d --pid-file pid $ID sleep 0",
            "! test $(cat pid) -gt 1 && stat -c '%a %F' pid",
            "exec --pid-file /nonsense/pid $ID true",
            "delete -f $ID",
            "run --pid-file /nonsense/pid $ID",
        ],
    ),
    Scene(
        "exec",
        [
            "run -d $ID",
            "exec $ID sh -c 'exit 7'",
            "exec $ID sh -c 'kill -9 $$'",
            "exec $ID cat /proc/self/cgroup",
            "exec $ID env",
            "exec -e A=1 -e B=2 $ID env",
            "exec --cwd /bin $ID pwd",
            "exec --user 0:0 $ID id",
            "exec --cap CAP_SYS_ADMIN $ID grep Cap /proc/self/status",
            "exec $ID grep Cap /proc/self/status",
            "exec --no-new-privs $ID grep NoNewPrivs /proc/self/status",
            "exec $ID sh -c 'echo out; echo error >&2'",
            "exec $ID sh -c 'echo /proc/self/fd/*'",
            "exec --detach $ID true",
            "exec --ignore-paused $ID true",
            "exec $ID -- echo dashes",
            "exec $ID echo -d --x",
        ],
    ),
    Scene(
        "exec that fails",
        [
            "run -d $ID",
            "exec $ID nonsense",
            "exec $ID /nonsense",
            "exec $ID ./nonsense",
            "exec $ID /bin",
            "exec $ID /etc/passwd",
            "exec $ID /etc/no-program",
            "exec --cwd relative $ID true",
            "exec --user 5 $ID true",
            "exec --user name $ID true",
            "exec --user 0:name $ID true",
            "exec --user 0:0:0 $ID true",
            "exec --user -1 $ID true",
            "exec --additional-gids 5 $ID true",
            "exec --env A $ID true",
            "exec --cap CAP_NONSENSE $ID true",
            "exec --apparmor nonsense $ID true",
            "exec --process-label nonsense $ID true",
            "exec -t -d $ID true",
            "exec --console-socket /nonsense $ID true",
            "exec -t --console-socket /nonsense $ID true",
            "exec -d -t --console-socket /nonsense $ID true",
            "exec $ID",
            "exec --nonsense $ID true",
            "exec --additional-gids name $ID true",
            "exec --preserve-fds name $ID true",
        ],
        explained={
            OWN: words(
                *(
                    f"exec {options} $ID true"
                    for options in (
                        "--cwd relative",
                        "--user 5",
                        "--user name",
                        "--user 0:name",
                        "--user 0:0:0",
                        "--user -1",
                        "--additional-gids 5",
                        "--env A",
                        "--cap CAP_NONSENSE",
                        "--apparmor nonsense",
                        "--process-label nonsense",
                        "-d -t --console-socket /nonsense",
                    )
                ),
                "exec $ID",
            ),
            NO_PROGRAM: (
                r"runc: \d+ exec \$ID /etc/no-program: exit 1",
                r"runc: \d+ exec \$ID /etc/no-program: 2> exec /etc/no-program: exec format error",
                r"ours: \d+ exec \$ID /etc/no-program: exit 255",
                r"ours: \d+ exec \$ID /etc/no-program: 2> .*exec failed: exec /etc/no-program: exec format error.*",
            ),
            PIDFD: more_options(
                "exec --nonsense $ID true",
                "exec --additional-gids name $ID true",
                "exec --preserve-fds name $ID true",
                options="--pidfd-socket",
            ),
        },
    ),
    Scene(
        "exec by a file",
        [
            "run -d $ID",
            """! echo '{"args":["sh","-c","id; pwd; env"],"cwd":"/bin","env":["PATH=/bin","X=y"],"user":{"uid":0,"gid":0}}' >one""",
            "exec --process one $ID",
            """! echo '{"args":["/bin/true"],"cwd":"/"}' >quiet""",
            "exec -p quiet --detach $ID",
            "exec --process nonsense $ID",
            "! echo '{' >two",
            "exec --process two $ID",
            """! echo '{"cwd":"/"}' >three""",
            "exec --process three $ID",
            """! echo '{"args":["true"]}' >four""",
            "exec --process four $ID",
            """! echo '{"args":["true"],"cwd":"x"}' >five""",
            "exec --process five $ID",
        ],
        explained={OWN: words(*(f"exec --process {name} $ID" for name in ("two", "three", "four", "five")))},
    ),
    Scene(
        "terminals that cannot be",
        [
            "create $ID",
            "run -d $ID",
            "create --console-socket /nonsense $ID",
            "run --console-socket /nonsense $ID",
            "state $ID",
        ],
        [SLEEP, put("process.terminal", True)],
        explained={OWN: words("create --console-socket /nonsense $ID")},
    ),
    Scene(
        "a console socket for nothing",
        ["create --console-socket /nonsense $ID", "run -d --console-socket /nonsense $ID", "state $ID"],
    ),
    Scene(
        "commands that cannot be",
        [
            step
            for args in (["nonsense"], ["/nonsense"], ["./nonsense"], ["/bin"], ["bin"], ["/etc/passwd"], [""])
            for step in (
                f'! sed -i \'s|"args": \\[[^]]*\\]|"args": {json.dumps(args)}|\' config.json',
                "run $ID",
                "create $ID",
                "state $ID",
            )
        ],
    ),
    Scene(
        "a command that is no program",
        ["run $ID", "create $ID", "start $ID", "wait", "state $ID"],
        [put("process.args", ["/etc/no-program"])],
        explained={
            NO_PROGRAM: (
                r"runc: \d+ run \$ID: 2> exec /etc/no-program: exec format error",
                r"ours: \d+ run \$ID: 2> .*exec /etc/no-program: exec format error.*",
                r"runc: \d+ start \$ID: exit 0",
                r"ours: \d+ start \$ID: exit 1",
                r"ours: \d+ start \$ID: 2> .*exec /etc/no-program: exec format error.*",
            )
        },
    ),
    Scene(
        "bundles that cannot be",
        [
            "run --bundle /nonsense $ID",
            "create --bundle /nonsense $ID",
            "! mkdir empty",
            "run --bundle empty $ID",
            "! rm config.json",
            "run $ID",
            "create -b $BUNDLE $ID",
            "state $ID",
        ],
    ),
    Scene(
        "a log file",
        [
            "--log log state absent",
            "! cat log",
            "--log log create a/b",
            "! cat log; stat -c %a log",
            "--log log list -q",
            "--log /nonsense/log list",
        ],
    ),
    Scene(
        "a log file of lines of JSON",
        [
            "--log log --log-format json state absent",
            "! cat log",
            "--log-format json state absent",
            "--log log --log-format yaml state absent",
            "--log log --log-format json create $ID",
            "! wc -l <log",
        ],
    ),
    Scene(
        "options of all verbs",
        [
            "--rootless true list -q",
            "--rootless auto list -q",
            "--criu /x list -q",
            "--root /proc/nonsense list",
            "--root /proc/nonsense state x",
            "--debug list -q",
        ],
        explained={
            OWN: words("--root /proc/nonsense list", "--root /proc/nonsense state x"),
            "nothing is passed over without a word": (r"ours: \d+ --criu /x list -q: 2> level=warning .*",),
            "it says which verb": (r"ours: \d+ --debug list -q: 2> level=debug msg=list",),
        },
    ),
    Scene(
        "wrong numbers of arguments",
        [
            *(verb.split()[0] for verb in (*VERBS, "create", "run", "exec")),
            *(
                f"{verb} a b c"
                for verb in ("create", "run", "start", "state", "kill", "delete", "pause", "resume", "update")
            ),
            "exec a",
            "spec a",
        ],
        explained={
            PIDFD: more_options("create", "run", "exec", "create a b c", "run a b c", options="--pidfd-socket"),
            "newer runcs have the options too": more_options(
                "update", "update a b c", options="--cpu-burst|--cpu-idle"
            ),
        },
    ),
    Scene(
        "unknown words",
        [
            "nonsense",
            "--nonsense list",
            "state --nonsense x",
            "kill --nonsense x",
            "update --memory nonsense $ID",
            "events --interval nonsense $ID",
        ],
        explained={"a line without an empty one behind it": words("nonsense")},
    ),
    Scene(
        "help",
        [
            "",
            "--help",
            "help",
            *(
                f"{verb.split()[0]} --help"
                for verb in (*VERBS, "create", "run", "exec", "spec", "list", "features", "checkpoint", "restore")
            ),
        ],
        explained={
            PIDFD: more_options("create --help", "run --help", "exec --help", options="--pidfd-socket"),
            "newer runcs have the options too": more_options("update --help", options="--cpu-burst|--cpu-idle"),
        },
    ),
    Scene(
        "a config.json to begin with",
        [
            "spec --rootless",
            "! rm config.json",
            "spec --rootless",
            "! grep -v ociVersion config.json; stat -c %a config.json",
            "spec",
            "! rm config.json",
            "spec",
            "! grep -v ociVersion config.json",
            "spec --bundle /nonsense",
            "! mkdir x",
            "spec --rootless -b x",
            "! ls x",
        ],
    ),
    Scene(
        "limits that cannot be changed",
        [
            "run -d $ID",
            "update $ID",
            "update --memory nonsense $ID",
            "update --resources nonsense $ID",
            "! echo '{' >file",
            "update --resources file $ID",
            "events --stats --interval 0s $ID",
            "events --interval nonsense $ID",
            "ps --format yaml $ID",
            "ps $ID -o comm",
        ],
        explained={OWN: words("update --resources file $ID")},
    ),
    Scene(
        "processes of the host's namespace",
        [
            "run -d $ID",
            "! sleep 0.2",
            "ps --format json $ID",
            "kill $ID KILL",
            "wait",
            "state $ID",
            "kill --all $ID KILL",
            "! sleep 0.1",
            "ps $ID",
            "delete $ID",
        ],
        [
            put("process.args", ["sh", "-c", "sleep 1000 & sleep 1000 & wait"]),
            without_namespaces("pid"),
            lambda config: config.update(
                mounts=[entry for entry in config["mounts"] if entry["destination"] != "/proc"]
            ),
            mount("/proc", "bind", "/proc", "rbind"),
            put("linux.maskedPaths", []),
            put("linux.readonlyPaths", []),
        ],
    ),
    Scene(
        "what a failing hook says",
        ["run $ID", "create $ID", "state $ID"],
        [
            SLEEP,
            put(
                "hooks",
                {
                    "createRuntime": [
                        {"path": "/bin/true"},
                        {"path": "/bin/sh", "args": ["sh", "-c", "echo out; echo error >&2; exit 3"]},
                    ]
                },
            ),
        ],
        explained={"the words of newer runcs, which name the hook": words("run $ID", "create $ID")},
    ),
    Scene(
        "a hook at the end that fails",
        [
            "run -d $ID",
            "delete --force $ID",
            "state $ID",
            "! cat after",
            "! rm after",
            "run --pid-file /nonsense/pid $ID",
            "! cat after",
        ],
        [
            SLEEP,
            put(
                "hooks",
                {
                    "poststop": [
                        {"path": "/bin/false"},
                        {"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; pwd >after"]},
                    ]
                },
            ),
        ],
        explained={
            "the specification has it a warning; the words are those of newer runcs": words(
                "delete --force $ID", "run --pid-file /nonsense/pid $ID"
            ),
            "the specification has the other hooks go on": (
                r"(?:runc|ours): \d+ ! cat after: .*",
                r"(?:runc|ours): \d+ ! rm after: .*",
            ),
        },
    ),
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_scene_goes_the_same_way(world: World, scene: Scene) -> None:
    problems = unexplained(compare(play(world, MEASURE, scene), play(world, OURS, scene)), scene.explained)

    assert not problems, problems


# --- what is no scene ---


@pytest.fixture
def both(world: World) -> Iterator[tuple[Runtime, Runtime]]:
    """Return runc and ours, and a bundle that sleeps."""
    runtimes = world.runtime(MEASURE), world.runtime(OURS)
    world.fill(base_config(SLEEP), applets)
    yield runtimes
    for runtime in runtimes:
        runtime.clean()


def in_turn(both: tuple[Runtime, Runtime], world: World, *args: str) -> list[subprocess.CompletedProcess[str]]:
    """Call each with a container that runs; they share a cgroup's name, so it is one after the other."""
    results = []
    for runtime in both:
        assert runtime("run", "--detach", "--bundle", world.bundle, ID).returncode == 0
        results.append(runtime(*args))
        runtime.clean()
    return results


def test_the_table_of_containers_has_its_columns(world: World, both: tuple[Runtime, Runtime]) -> None:
    for result in in_turn(both, world, "list"):
        head, line = result.stdout.splitlines()
        starts = [match.start() for match in re.finditer(r"\S+", head)]
        assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
        assert [match.start() for match in re.finditer(r"\S+", line)] == starts
        assert line.split()[0] == ID
        assert line.split()[2:4] == ["running", str(world.bundle)]
        assert line.split()[5] == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize("options", [[], ["-o", "pid,comm"], ["aux"]], ids=" ".join)
def test_the_table_of_processes(world: World, both: tuple[Runtime, Runtime], options: list[str]) -> None:
    theirs, ours = (result.stdout.splitlines() for result in in_turn(both, world, "ps", ID, *options))

    assert ours[0].split() == theirs[0].split()
    assert len(ours) == len(theirs) == 2
    assert ours[1].split()[-1] == theirs[1].split()[-1]


def test_the_members_of_the_statistics(world: World, both: tuple[Runtime, Runtime]) -> None:
    theirs, ours = (json.loads(result.stdout) for result in in_turn(both, world, "events", "--stats", ID))

    assert (ours["type"], ours["id"]) == ("stats", ID)
    assert ours["data"].keys() >= {"cpu", "memory", "pids", "blkio"}
    assert ours["data"]["cpu"]["usage"].keys() == theirs["data"]["cpu"]["usage"].keys()
    assert ours["data"]["cpu"]["usage"]["total"] > 0
    assert ours["data"]["pids"] == theirs["data"]["pids"] == {"current": 1}


@pytest.mark.parametrize("args", [["state", "absent"], ["exec", "absent", "true"]], ids=" ".join)
def test_a_complaint_at_a_terminal(both: tuple[Runtime, Runtime], args: list[str]) -> None:
    said = []
    for runtime in both:
        master, slave = pty.openpty()
        runtime(*args, stderr=slave)
        os.close(slave)
        said.append(read_all(master).replace(runtime.name, "PROGRAM"))
    theirs, ours = said

    assert ours.splitlines()[0] == theirs.splitlines()[0]
    assert theirs.startswith("\x1b[31mERRO\x1b[0m[0000] ")


def test_exec_with_a_terminal_needs_none(world: World, both: tuple[Runtime, Runtime]) -> None:
    """runc 1.1 does, and later ones do not."""
    runtime = both[1]
    assert runtime("run", "-d", "--bundle", world.bundle, ID).returncode == 0
    result = runtime("exec", "--tty", ID, "sh", "-c", "tty; stty -a; exit 5")

    assert result.returncode == 5
    assert result.stdout.startswith("/dev/pts/0")
    assert "-onlcr" in result.stdout.split()


@needs("cgroup2")
@pytest.mark.parametrize("how", ["not empty", "frozen"])
def test_a_cgroup_in_use_is_refused(world: World, how: str) -> None:
    """runc 1.1 only warns of one that is not empty; later ones refuse it."""
    own = own_cgroup()
    assert own
    cgroup = own.parent / f"{ID}-used"
    cgroup.mkdir()
    relative = str(cgroup).removeprefix("/sys/fs/cgroup")
    runtime = world.runtime(OURS)
    try:
        with subprocess.Popen(["sleep", "60"]) as other:
            if how == "frozen":
                (cgroup / "cgroup.freeze").write_text("1")
            else:
                (cgroup / "cgroup.procs").write_text(str(other.pid))
            bundle = world.fill(base_config(put("linux.cgroupsPath", relative)))
            result = runtime("run", "--bundle", bundle, ID)
            other.kill()
        assert result.returncode == 1
        assert ("frozen" if how == "frozen" else "not empty") in result.stderr
        assert not runtime("list", "-q").stdout
    finally:
        cgroup.rmdir()
        runtime.clean()


def test_features_are_those_of_runc_and_more(both: tuple[Runtime, Runtime]) -> None:
    theirs, ours = (json.loads(runtime("features").stdout) for runtime in both)

    assert ours.keys() >= theirs.keys()
    assert ours["hooks"] == theirs["hooks"]
    # A flag of mount(2) that no file system of one user's looks at.
    assert set(theirs["mountOptions"]) - set(ours["mountOptions"]) <= {"acl", "noacl"}
    for name in ("namespaces", "capabilities"):
        assert not set(theirs["linux"][name]) - set(ours["linux"][name]), name
    for name in ("actions", "operators", "archs"):
        assert not set(theirs["linux"]["seccomp"][name]) - set(ours["linux"]["seccomp"][name]), name
