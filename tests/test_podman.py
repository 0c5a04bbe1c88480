"""podman, rootless, drives a runtime: what it asks for is seen from inside, and what it reads back is true.

Everything is run under crun, which tells what this machine can do, and under sandbox-oci.  What crun cannot do here is
in REFUSED and in the tests that name a runtime: there its failure is asserted next to what ours does.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import _remove_tree
from needs import needs, why_not
from podman_world import ATTACHED, IMAGE, Podman, cgroup_parent, engine, wait_until
from test_terminal import Terminal, terminal

__all__ = ["terminal"]

pytestmark = needs("podman", "newuidmap", "userns", "netns", "new_proc")

FOREVER = "while :; do usleep 50000; done"


@pytest.fixture(scope="module")
def storage() -> Iterator[Podman]:
    with engine() as podman:
        yield podman


@pytest.fixture(params=["crun", pytest.param("sandbox-oci", marks=needs("sandbox_oci"))])
def podman(request: pytest.FixtureRequest, storage: Podman) -> Iterator[Podman]:
    """Return podman with one of the runtimes; its containers are removed afterwards."""
    storage.runtime = request.param
    yield storage
    storage.close()


@pytest.fixture
def host(storage: Podman) -> Iterator[Path]:
    """Return a directory to share with a container."""
    path = Path(tempfile.mkdtemp(prefix="host-", dir=storage.place))
    (path / "note").write_text("hello\n")
    (path / "program").write_text("#!/bin/sh\necho ran\n")
    (path / "program").chmod(0o755)
    (path / "sub").mkdir()
    yield path
    _remove_tree(path)


# --- what an option does, seen from inside ---


@dataclass(frozen=True)
class Effect:
    name: str
    options: str
    script: str
    seen: str
    """A regular expression for the whole output, stdout and stderr, without blanks around it."""


EFFECTS = [
    Effect("user", "--user=5:6", "id", r"uid=5\(plain\) gid=6\(plain\) groups=6\(plain\)"),
    Effect("user by name", "--user=plain", "id", r"uid=5\(plain\) gid=6\(plain\) groups=6\(plain\),7\(other\)"),
    Effect("user of no name", "--user=4000", "id", r"uid=4000\S* gid=0\(root\)( groups=0\(root\))?"),
    Effect("group-add", "--user=5:6 --group-add=7", "id -G", "6 7"),
    Effect(
        "read-only",
        "--read-only",
        "touch /x; touch /tmp/x /run/x && echo scratch",
        "touch: /x: Read-only file system\nscratch",
    ),
    Effect("cap-add", "--cap-add=net_admin", "ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu", "1400"),
    Effect("no capability", "", "ip link set lo mtu 1400", "ip: SIOCSIFMTU: Operation not permitted"),
    Effect("cap-drop", "--cap-drop=chown", "chown 5 /data/file", "chown: /data/file: Operation not permitted"),
    Effect(
        "cap-drop all",
        "--cap-drop=all",
        "sed -n 's/^Cap.*:.//p' /proc/self/status",
        r"(0{16}\n){4}0{16}",
    ),
    Effect(
        "capabilities of a user",
        "--user=5 --cap-add=net_admin",
        "sed -n 's/^Cap\\(Inh\\|Eff\\|Amb\\):.//p' /proc/self/status",
        r"0{12}1000\n0{12}1000\n0{12}1000",
    ),
    Effect(
        "tmpfs",
        "--tmpfs=/x:size=1m,mode=700,noexec",
        "stat -c %a /x; head -c 2000000 /dev/zero 2>/dev/null >/x/full; stat -c %s /x/full; touch /x/p; chmod +x /x/p; /x/p",
        "700\n1048576\nsh: /x/p: Permission denied",
    ),
    Effect(
        "tmpcopyup",
        "--mount=type=tmpfs,destination=/data,tmpcopyup",
        "cat /data/file; stat -f -c %T /data; echo mine >/data/file && cat /data/file",
        "from the image\ntmpfs\nmine",
    ),
    Effect("notmpcopyup", "--mount=type=tmpfs,destination=/data,notmpcopyup", "ls -A /data", ""),
    Effect(
        "volume, read-only",
        "--volume={host}:/v:ro",
        "cat /v/note; touch /v/new",
        "hello\ntouch: /v/new: Read-only file system",
    ),
    Effect("volume of a file", "--volume={host}/note:/etc/deep/er/note", "cat /etc/deep/er/note", "hello"),
    Effect("volume, noexec", "--volume={host}:/v:noexec", "/v/program", "sh: /v/program: Permission denied"),
    Effect(
        "volume, nosuid and nodev",
        "--volume={host}:/v:nosuid,nodev",
        "sed -n 's:.* /v \\([^ ]*\\) .*:\\1:p' /proc/self/mountinfo; /v/program",
        r"rw,nosuid,nodev\S*\nran",
    ),
    Effect("named volume", "--volume=named:/data", "cat /data/file; echo x >/data/new && cat /data/new", "from the image\nx"),
    Effect("ulimit", "--ulimit=nofile=100:200 --ulimit=core=0", "ulimit -n; ulimit -Hn; ulimit -Hc", "100\n200\n0"),
    Effect(
        "seccomp of podman's",
        "",
        "grep Seccomp: /proc/self/status; unshare -m true",
        "Seccomp:\t2\nunshare: unshare.*: Operation not permitted",
    ),
    Effect("seccomp, unconfined", "--security-opt=seccomp=unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0"),
    Effect(
        "seccomp of a file",
        "--security-opt=seccomp={host}/seccomp.json",
        "mkdir /tmp/x; rmdir /tmp/x",
        "mkdir: can't create directory '/tmp/x': Inappropriate ioctl for device\nrmdir: '/tmp/x': No such file or directory",
    ),
    Effect("no-new-privileges", "--security-opt=no-new-privileges", "grep NoNew /proc/self/status", "NoNewPrivs:\t1"),
    Effect(
        "masks",
        "",
        "cat /proc/keys /proc/timer_list; ls -A /sys/firmware; echo 1 >/proc/sys/vm/panic_on_oom",
        "sh: can't create /proc/sys/vm/panic_on_oom: Read-only file system",
    ),
    Effect("unmask", "--security-opt=unmask=ALL", "grep -c ' /proc/' /proc/mounts", "0"),
    Effect("network none", "--network=none", "tail -n +3 /proc/net/dev | cut -d: -f1", "lo"),
    Effect("network host", "--network=host", "readlink /proc/self/ns/net", "{self_net}"),
    Effect("pid host", "--pid=host", "readlink /proc/self/ns/pid; cat /proc/{self}/comm", "{self_pid}\n{self_comm}"),
    Effect("uts host", "--uts=host", "readlink /proc/self/ns/uts; hostname", "{self_uts}\n{hostname}"),
    Effect(
        "hostname",
        "--hostname=wally",
        "hostname; cat /etc/hostname; echo; grep -c wally /etc/hosts; echo $HOSTNAME",
        "wally\nwally\n+1\nwally",
    ),
    Effect("env", "--env=A=b --env=EMPTY=", 'echo $A; env | grep -c "^EMPTY=$"; echo $container', "b\n1\npodman"),
    Effect("workdir", "--workdir=/etc", "pwd", "/etc"),
    Effect("init", "--init", "readlink /proc/1/exe | grep -c init; cat /proc/1/comm", r"1\npodman-init"),
    Effect("device", "--device=/dev/null:/dev/mine", "echo x >/dev/mine; stat -c '%F %t:%T' /dev/mine", r"character special file 1:3"),
    Effect("device fuse", "--device=/dev/fuse", "stat -c '%F %t:%T' /dev/fuse", r"character special file a:e5"),
    Effect(
        "devices of every container",
        "",
        "for i in null zero full random urandom tty; do stat -c %F:%t:%T /dev/$i; done | uniq -c | wc -l;"
        " test -L /dev/ptmx && test -L /dev/fd && head -c 4 /dev/zero | wc -c; echo x >/dev/full",
        "6\n4\nsh: write error: No space left on device",
    ),
    Effect(
        "sysctl",
        "--sysctl=net.ipv4.ip_forward=1 --sysctl=kernel.msgmax=9999",
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
        "1\n9999",
    ),
    Effect("cgroup namespace", "--cgroupns=private", "grep 0:: /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs", "0::/\n.*procs"),
    Effect("cgroup namespace host", "--cgroupns=host", "grep -c 0::/. /proc/self/cgroup", "1"),
    Effect("cgroup, read-only", "", "mkdir /sys/fs/cgroup/x", "mkdir: .*Read-only file system"),
    Effect(
        "umask and oom score",
        "--umask=027 --oom-score-adj=500",
        "umask; cat /proc/self/oom_score_adj",
        "0027\n500",
    ),
    Effect("personality", "--personality=LINUX32", "uname -m", "i686"),
    Effect("shm-size", "--shm-size=1m", "df -k /dev/shm | tail -1", r"shm +1024 .*/dev/shm"),
    Effect(
        "privileged",
        "--privileged",
        "grep CapEff /proc/self/status; mount -t tmpfs none /tmp && echo mounted",
        "CapEff:\t0+1f+\nmounted",
    ),
    Effect(
        "uidmap",
        "--uidmap=0:10:100 --gidmap=0:20:100",
        "cat /proc/self/uid_map /proc/self/gid_map; touch /tmp/x && chown 99:99 /tmp/x && stat -c %u:%g /tmp/x",
        r" *0 +10 +100\n +0 +20 +100\n99:99",
    ),
    Effect("userns auto", "--userns=auto", "id -u; cat /proc/self/uid_map", r"0\n +0 +1 +1024"),
    Effect("userns nomap", "--userns=nomap", "id -u; cat /proc/self/uid_map", r"0\n +0 +1 +\d+"),
    Effect("userns keep-id", "--userns=keep-id", "id -u; touch /tmp/x && stat -c %u /tmp/x", "{uid}\n{uid}"),
]  # fmt: skip


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.name.replace(" ", "-").replace(",", ""))
def test_an_option_has_its_effect(podman: Podman, host: Path, effect: Effect) -> None:
    if "seccomp.json" in effect.options:
        refusal = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 25}
        (host / "seccomp.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refusal]}))
    places = {
        "host": str(host),
        "self": str(os.getpid()),
        "self_comm": re.escape(Path("/proc/self/comm").read_text().strip()),
        "hostname": re.escape(socket.gethostname()),
        "uid": str(os.getuid()),
        **{f"self_{kind}": re.escape(os.readlink(f"/proc/self/ns/{kind}")) for kind in ("net", "pid", "uts")},
    }
    options = effect.options.format_map(places).split()
    script = effect.script.replace("{self}", places["self"])
    seen = re.sub(r"\{(self\w*|hostname|uid)\}", lambda name: places[name[1]], effect.seen)

    result = podman.run(*options, script=f"({script}) 2>&1", check=False)

    assert re.fullmatch(seen, result.stdout.strip()), f"{result.stdout}{result.stderr}"


def test_a_volume_with_an_overlay_keeps_the_writes(podman: Podman, host: Path) -> None:
    result = podman.run(f"--volume={host}:/v:O", script="echo mine >/v/note; touch /v/new; cat /v/note; ls /v")

    assert result.stdout.split() == ["mine", "new", "note", "program", "sub"]
    assert (host / "note").read_text() == "hello\n"
    assert not (host / "new").exists()


def test_a_volume_with_u_belongs_to_the_user_inside(podman: Podman, host: Path) -> None:
    result = podman.run("--user=5:6", f"--volume={host}:/v:U", script="touch /v/new; stat -c %u:%g /v /v/note /v/new")

    assert result.stdout.split() == ["5:6"] * 3
    assert host.stat().st_uid not in (0, 5, os.getuid())


def test_keep_id_makes_files_the_users_own(podman: Podman, host: Path) -> None:
    podman.run("--userns=keep-id", f"--volume={host}:/v", script="echo mine >/v/new")

    assert (host / "new").stat().st_uid == os.getuid()
    assert (host / "new").read_text() == "mine\n"


@pytest.mark.parametrize("network", ["none", "slirp4netns"])
def test_what_a_container_mounts_does_not_show_outside(podman: Podman, network: str) -> None:
    """Neither where it makes all its namespaces, nor where it joins one: podman's own mount namespace sees no more."""
    podman.start(f"--network={network}", "--tmpfs=/canary", script=FOREVER)
    points = [line.split()[4] for line in podman("unshare", "cat", "/proc/self/mountinfo").stdout.splitlines()]

    assert not [point for point in points if "/merged/" in point or "canary" in point]
    assert len([point for point in points if point.endswith("/merged")]) == 1


@pytest.mark.parametrize(
    "propagation, inwards, outwards", [("rshared", True, True), ("rslave", True, False), ("rprivate", False, False)]
)
def test_mounts_propagate_as_asked(podman: Podman, host: Path, propagation: str, inwards: bool, outwards: bool) -> None:
    (host / "other").mkdir()
    podman("unshare", "sh", "-c", f"mount --bind {host} {host} && mount --make-shared {host}")
    try:
        podman.start(f"--volume={host}:/v:{propagation}", "--cap-add=sys_admin", script=FOREVER)
        podman("unshare", "sh", "-c", f"mount -t tmpfs none {host}/sub && touch {host}/sub/outside")
        inside = podman("exec", "c", "sh", "-c", "ls /v/sub; mount -t tmpfs none /v/other && touch /v/other/inside")
        outside = podman("unshare", "ls", host / "other")
    finally:
        podman("unshare", "umount", "-R", host)

    assert inside.stdout.split() == ["outside"] * inwards
    assert outside.stdout.split() == ["inside"] * outwards


def test_a_directory_is_the_root_without_an_image(podman: Podman, host: Path) -> None:
    subprocess.run(["tar", "-C", host, "-xf", podman.place / "image.tar"], check=True)

    result = podman("run", "--rm", "--rootfs", host, "sh", "-c", f"{ATTACHED}; id -u; cat /note; echo mine >/made")

    assert result.stdout == "0\nhello\n"
    assert (host / "made").read_text() == "mine\n"


def test_the_namespaces_of_another_container_are_joined(podman: Podman) -> None:
    podman.start("--hostname=first", script=FOREVER)
    kinds = ("net", "ipc", "pid", "uts")
    options = [f"--{'network' if kind == 'net' else kind}=container:c" for kind in kinds]

    result = podman.run(*options, script=f"for i in {' '.join(kinds)}; do readlink /proc/self/ns/$i; done; hostname")

    first = podman.inspect()["State"]["Pid"]
    assert result.stdout.split() == [*(os.readlink(f"/proc/{first}/ns/{kind}") for kind in kinds), "first"]


def test_the_user_namespace_of_another_container_is_joined(podman: Podman) -> None:
    podman.start("--userns=auto:size=300", script=FOREVER)
    podman.start("--userns=container:c", name="d", script=FOREVER)

    script = "id -u; readlink /proc/self/ns/user; cat /proc/self/uid_map; touch /made && stat -c %u /made"
    result = podman("exec", "d", "sh", "-c", script)
    podman("rm", "--force", "--time=0", "d")

    first = podman.inspect()["State"]["Pid"]
    assert result.stdout.split() == ["0", os.readlink(f"/proc/{first}/ns/user"), "0", "1", "300", "0"]


# --- networks ---


@pytest.fixture
def greeter() -> Iterator[int]:
    """Return the port of a server on the host's loopback that greets each caller."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"hello from the host\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@needs("slirp4netns", "tun")
def test_slirp4netns_reaches_the_host_only_where_allowed(podman: Podman, greeter: int) -> None:
    script = f"ip -4 -o addr show tap0; nc -w 2 10.0.2.2 {greeter} </dev/null"

    allowed = podman.run("--network=slirp4netns:allow_host_loopback=true", script=script)
    refused = podman.run("--network=slirp4netns", script=script, check=False)

    assert "10.0.2.100/24" in allowed.stdout
    assert "hello from the host" in allowed.stdout
    assert "10.0.2.100/24" in refused.stdout
    assert "hello from the host" not in refused.stdout


@needs("slirp4netns", "tun")
def test_a_published_port_answers(podman: Podman) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    podman.start(
        "--network=slirp4netns",
        f"--publish=127.0.0.1:{port}:8000",
        script="while :; do echo from inside | nc -l -p 8000; done",
    )

    def answer() -> str:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                return connection.recv(100).decode()
        except OSError:
            return ""

    wait_until(lambda: answer() == "from inside\n", "an answer")


@needs("pasta", "tun")
def test_a_network_of_pastas_is_joined_by_its_path(podman: Podman, greeter: int) -> None:
    """As podman does it itself from 4.4 on; 4.3 takes the word for a network's name, see REFUSED."""
    place = podman.place / "netns"
    place.touch()
    pid_file = podman.place / "pasta.pid"
    podman("unshare", "unshare", f"--net={place}", "true")
    podman("unshare", "pasta", "--config-net", "--quiet", "--pid", pid_file, "--netns", place)
    try:
        # Its gateway is the host's loopback.  pasta may keep the end of a connection to itself: not waited for.
        gateway = "ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'"
        listen = f"nc $({gateway}) {greeter} </dev/null >/tmp/heard & "
        wait = "for i in $(seq 500); do grep -m 1 hello /tmp/heard && exit; usleep 20000; done; exit 1"
        result = podman.run(f"--network=ns:{place}", script=listen + wait)
    finally:
        os.kill(int(pid_file.read_text()), 9)
        podman("unshare", "umount", "--lazy", place)
        place.unlink()

    assert result.stdout == "hello from the host\n"


# --- a container's life ---


def test_the_exit_status_and_the_output_come_back(podman: Podman) -> None:
    result = podman.run("--interactive", script="cat; echo out; echo err >&2; exit 7", input="in\n", check=False)

    assert (result.returncode, result.stdout, result.stderr) == (7, "in\nout\n", "err\n")
    assert podman.run("--init", script="kill -9 $$", check=False).returncode == 137


@pytest.mark.parametrize(
    "command, status, words",
    [
        (["/nonesuch"], 127, "OCI runtime attempted to invoke a command that was not found"),
        (["nonesuch"], 127, r"executable file .*not found in \$PATH"),
        (["/etc/passwd"], 126, "OCI permission denied"),
        (["/etc"], 126, "OCI permission denied"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_that_cannot_be_run(podman: Podman, command: list[str], status: int, words: str) -> None:
    podman.start(script=FOREVER)

    for verb in (["run", "--rm", IMAGE], ["exec", "c"]):
        result = podman(*verb, *command, check=False)
        assert result.returncode == status, result.stderr
        assert re.search(words, result.stderr), result.stderr


def test_a_detached_container_is_seen_and_stopped(podman: Podman) -> None:
    podman.start(script=f"trap 'echo got TERM; exit 3' TERM; echo up; {FOREVER}")
    podman.wait_for_log("up")

    state = podman.inspect()["State"]
    assert state["Status"] == "running"
    assert Path(f"/proc/{state['Pid']}/comm").read_text() == "sh\n"
    assert Path(f"/proc/{state['ConmonPid']}/comm").read_text() == "conmon\n"
    # No process of the runtime's stands between the two.
    assert f"\nPPid:\t{state['ConmonPid']}\n" in Path(f"/proc/{state['Pid']}/status").read_text()
    assert podman("top", "c", "pid", "comm").stdout.split()[2:4] == ["1", "sh"]
    assert "Up" in podman("ps", "--format={{.Status}}").stdout

    podman("stop", "c")

    assert podman.inspect()["State"]["Status"] == "exited"
    assert podman.inspect()["State"]["ExitCode"] == 3
    assert podman.logs() == "up\ngot TERM\n"
    assert podman.kept_by_runtime() == []


def test_what_ignores_the_stop_signal_is_killed(podman: Podman) -> None:
    podman.start("--stop-signal=HUP", script=f"trap 'echo got HUP' HUP; echo up; {FOREVER}")
    podman.wait_for_log("up")

    podman("stop", "--time=1", "c")

    assert podman.inspect()["State"]["ExitCode"] == 137
    assert podman.logs() == "up\ngot HUP\n"


def test_kill_sends_any_signal(podman: Podman) -> None:
    podman.start(script=f"trap 'echo got USR1' USR1; trap 'echo got 37' 37; echo up; {FOREVER}")
    podman.wait_for_log("up")

    podman("kill", "--signal=USR1", "c")
    podman.wait_for_log("got USR1")
    podman("kill", "--signal=37", "c")
    podman.wait_for_log("got 37")
    podman("kill", "c")

    assert podman("wait", "c").stdout == "137\n"
    refusal = podman("kill", "c", check=False)
    assert refusal.returncode == 125
    assert "container state improper" in refusal.stderr


def test_created_initialised_started_restarted(podman: Podman) -> None:
    podman("create", "--name=c", "--tmpfs=/data", IMAGE, "sh", "-c", f"date +%s.%N; touch /data/mine; {FOREVER}")
    podman("init", "c")
    time.sleep(0.1)
    assert podman.status() == "initialized"
    assert podman.logs() == ""

    podman("start", "c")
    wait_until(lambda: len(podman.logs().split()) == 1, "its first line")
    podman("restart", "--time=0", "c")
    wait_until(lambda: len(podman.logs().split()) == 2, "its second line")

    assert podman.status() == "running"


def test_an_initialised_container_is_removed(podman: Podman) -> None:
    podman("create", "--name=c", IMAGE, "true")
    podman("init", "c")
    first = podman.inspect()["State"]["Pid"]

    podman("rm", "--force", "--time=0", "c")

    wait_until(lambda: not Path(f"/proc/{first}").exists(), "the end of its process")
    assert podman.kept_by_runtime() == []


def test_rm_force_ends_all_that_runs(podman: Podman) -> None:
    podman.start(script=f"sleep 1000 & echo up; {FOREVER}")
    podman.wait_for_log("up")
    podman("exec", "--detach", "c", "sleep", "1000")
    inside = os.readlink(f"/proc/{podman.inspect()['State']['Pid']}/ns/pid")

    def in_it() -> list[str]:
        return [pid for pid in os.listdir("/proc") if pid.isdigit() and _namespace(pid) == inside]

    assert len(in_it()) >= 3

    podman("rm", "--force", "--time=0", "c")

    wait_until(lambda: not in_it(), "the end of all that was in it")
    assert podman("ps", "--all", "--quiet").stdout == ""


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def test_a_process_killed_from_outside_is_noticed(podman: Podman) -> None:
    podman.start(script=FOREVER)

    pid = podman.inspect()["State"]["Pid"]
    assert pid > 1
    os.kill(pid, 9)

    assert podman("wait", "c").stdout == "137\n"
    assert podman.status() == "exited"
    assert podman.kept_by_runtime() == []


@needs("cgroup2")
def test_pause_stops_the_clock_and_unpause_starts_it(podman: Podman) -> None:
    podman.start(f"--cgroup-parent={cgroup_parent()}", script="while :; do echo tick; usleep 20000; done")
    podman.wait_for_log("tick")

    podman("pause", "c")
    assert podman.status() == "paused"
    before = podman.logs()
    time.sleep(0.2)
    assert podman.logs() == before
    refusal = podman("exec", "c", "true", check=False)
    assert "container state improper" in refusal.stderr

    podman("unpause", "c")
    assert podman.status() == "running"
    wait_until(lambda: podman.logs() != before, "another tick")


@needs("cgroup2")
def test_a_paused_container_is_removed_and_its_cgroup_too(podman: Podman) -> None:
    podman.start(f"--cgroup-parent={cgroup_parent()}", script=FOREVER)
    place = Path("/sys/fs/cgroup", cgroup_parent()[1:], f"libpod-{podman.inspect()['Id']}")
    assert (place / "cgroup.procs").read_text()

    podman("pause", "c")
    podman("rm", "--force", "--time=0", "c")

    assert not place.exists()


@needs("cgroup2")
def test_stats_come_from_the_containers_cgroup(podman: Podman) -> None:
    podman.start(
        f"--cgroup-parent={cgroup_parent()}",
        script="i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo up; sleep 1000",
    )
    podman.wait_for_log("up")

    (stats,) = json.loads(podman("stats", "--no-stream", "--format=json", "c").stdout)

    assert re.fullmatch(r"[1-9][\d.]*m?s", stats["cpu_time"]), stats


@needs("cgroup2")
def test_a_container_in_the_hosts_pid_namespace_is_stopped_by_its_cgroup(podman: Podman) -> None:
    podman.start("--pid=host", f"--cgroup-parent={cgroup_parent()}", script=f"sleep 1000 & echo up; {FOREVER}")
    podman.wait_for_log("up")
    place = Path("/sys/fs/cgroup", cgroup_parent()[1:], f"libpod-{podman.inspect()['Id']}")
    inside = (place / "cgroup.procs").read_text().split()
    assert len(inside) >= 2

    podman("stop", "--time=1", "c")

    assert [pid for pid in inside if Path(f"/proc/{pid}").exists()] == []


# --- exec ---


def test_exec_runs_beside_and_says_how_it_ended(podman: Podman) -> None:
    podman.start("--env=A=of-run", "--hostname=wally", script=FOREVER)

    result = podman(
        "exec",
        "--interactive",
        "c",
        "sh",
        "-c",
        "cat; hostname; echo $A; echo err >&2; exit 7",
        input="in\n",
        check=False,
    )

    assert (result.returncode, result.stdout, result.stderr) == (7, "in\nwally\nof-run\n", "err\n")
    assert podman("exec", "c", "sh", "-c", "kill -9 $$", check=False).returncode == 137


def test_a_command_that_ends_at_once_has_run(podman: Podman) -> None:
    podman.start(script=FOREVER)

    seen = [podman("exec", "c", "echo", str(number)).stdout for number in range(10)]

    assert seen == [f"{number}\n" for number in range(10)]


def test_exec_with_another_user_place_and_environment(podman: Podman) -> None:
    podman.start("--env=A=of-run", script=FOREVER)

    result = podman("exec", "--user=plain", "--env=A=of-exec", "--workdir=/etc", "c", "sh", "-c", "id; pwd; echo $A")

    assert result.stdout.splitlines() == ["uid=5(plain) gid=6(plain) groups=7(other)", "/etc", "of-exec"]


def test_exec_is_held_as_the_first_process_is(podman: Podman) -> None:
    podman.start("--cap-drop=chown", "--ulimit=nofile=100:200", "--security-opt=no-new-privileges", script=FOREVER)
    wanted = ("Cap", "NoNewPrivs", "Seccomp:", "Uid", "Gid", "Groups", "Umask")

    result = podman("exec", "c", "sh", "-c", "ulimit -n; ulimit -Hn; cat /proc/1/status; echo; cat /proc/self/status")

    limits, _, status = result.stdout.partition("Name:")
    first, _, other = status.partition("\n\n")
    assert limits.split() == ["100", "200"]
    assert [line for line in other.splitlines() if line.startswith(wanted)] == [
        line for line in first.splitlines() if line.startswith(wanted)
    ]


def test_exec_privileged_has_all_capabilities(podman: Podman) -> None:
    podman.start("--cap-drop=all", script=FOREVER)

    result = podman("exec", "--privileged", "c", "grep", "CapEff", "/proc/self/status")

    assert re.fullmatch("CapEff:\t0+1f+\n", result.stdout)


def test_exec_detached_leaves_a_process_of_conmons(podman: Podman) -> None:
    podman.start(script=FOREVER)

    podman("exec", "--detach", "c", "sh", "-c", "echo $$ >/tmp/pid; sleep 1000")

    wait_until(lambda: podman("exec", "c", "cat", "/tmp/pid", check=False).stdout, "its first line")
    assert "sleep" in podman("top", "c", "comm").stdout


def test_exec_on_a_terminal(podman: Podman, terminal: Terminal) -> None:
    podman.start(script=FOREVER)
    terminal.resize(31, 97)

    process = terminal.start(podman, "exec", "--interactive", "--tty", "c", "sh")  # type: ignore[arg-type]
    terminal.type("tty; test -t 0 && test -t 1 && test -t 2 && echo a-''terminal\n")
    assert "/dev/pts/0" in terminal.expect("a-terminal")
    # podman tells the size once the process is there.
    terminal.type('until [ "$(stty size)" = "31 97" ]; do usleep 20000; done; echo si""zed\n')
    terminal.expect("sized")
    terminal.type("sleep 1000\n")
    wait_until(lambda: "sleep" in podman("top", "c", "comm").stdout, "sleep")
    terminal.type("\x03")
    terminal.type("echo inter''rupted; exit 5\n")
    terminal.expect("interrupted")

    assert process.wait(20) == 5


def test_run_on_a_terminal(podman: Podman, terminal: Terminal) -> None:
    terminal.resize(31, 97)

    process = terminal.start(podman, "run", "--rm", "--interactive", "--tty", IMAGE, "sh")  # type: ignore[arg-type]
    terminal.type("ls -l /dev/console; tty; echo ter''minal >/dev/tty\n")
    seen = terminal.expect("terminal\r\n")
    assert "/dev/console" in seen
    assert "No such file" not in seen
    terminal.type('until [ "$(stty size)" = "31 97" ]; do usleep 20000; done; echo si""zed\n')
    terminal.expect("sized")
    terminal.resize(20, 50)
    os.kill(process.pid, 28)  # SIGWINCH
    terminal.type('until [ "$(stty size)" = "20 50" ]; do usleep 20000; done; echo re""sized\n')
    terminal.expect("resized")
    terminal.type("exit 6\n")

    assert process.wait(20) == 6


def test_a_terminal_without_one_outside(podman: Podman) -> None:
    podman.start("--tty", script=f"test -t 0 && test -t 1 && tty; {FOREVER}")

    podman.wait_for_log("/dev/pts/0")


# --- what goes along with a container ---


def test_health_checks(podman: Podman) -> None:
    podman.start("--health-cmd=test -e /tmp/well", "--health-interval=disable", "--health-retries=1", script=FOREVER)

    assert podman("healthcheck", "run", "c", check=False).returncode == 1
    podman("exec", "c", "touch", "/tmp/well")
    assert podman("healthcheck", "run", "c").returncode == 0

    assert podman.inspect()["State"]["Health"]["Status"] == "healthy"


def test_init_reaps_orphans(podman: Podman) -> None:
    script = "(sh -c 'sleep 0.1 &' &); sleep 0.4; ps -o pid,stat,comm"

    result = podman.run("--init", script=script)

    assert "podman-init" in result.stdout
    assert " Z" not in result.stdout


def test_systemd_gets_what_it_wants(podman: Podman) -> None:
    options = ["--systemd=always"]
    if not why_not("cgroup2"):
        options.append(f"--cgroup-parent={cgroup_parent()}")
    script = f"trap 'echo got RTMIN+3; exit 0' 37; test ${{#container_uuid}} = 32 && echo up; {FOREVER}"
    podman.start(*options, script=script)
    podman.wait_for_log("up")

    result = podman(
        "exec", "c", "sh", "-c",
        "for i in /run /tmp /run/lock /var/log/journal; do stat -f -c %T $i; done;"
        " mkdir /sys/fs/cgroup/mine && echo made; grep 0:: /proc/self/cgroup",
    )  # fmt: skip
    podman("stop", "c")

    assert result.stdout.split() == ["tmpfs"] * 4 + ["made", "0::/"]
    assert podman.logs() == "up\ngot RTMIN+3\n"


def test_the_container_itself_says_that_it_is_ready(podman: Podman) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = podman.place / "manager.sock"
        manager.bind(str(address))
        manager.settimeout(10)
        # busybox's logger speaks to a datagram socket at /dev/log.
        say = "ln -s $NOTIFY_SOCKET /dev/log; logger \"$(printf 'x\\nREADY=1')\""
        podman.start("--sdnotify=container", script=f"{say}; {FOREVER}", env={"NOTIFY_SOCKET": str(address)})

        heard = []
        while "READY=1" not in heard or not any(line.startswith("MAINPID=") for line in heard):
            heard += manager.recv(1000).decode().splitlines()
    address.unlink()

    assert f"MAINPID={podman.inspect()['State']['ConmonPid']}" in heard


def passing(podman: Podman, before: str, *args: str, descriptor: int) -> subprocess.CompletedProcess[str]:
    """Call podman from a shell that has prepared descriptors; bash's names have more than one digit."""
    command = ["bash", "-c", f'{before}; exec "$@"', "bash", *podman.command(*args)]
    return subprocess.run(
        command,
        env=podman.environment, cwd=podman.place, pass_fds=[descriptor],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_descriptors_are_passed_on_and_no_others(podman: Podman, host: Path) -> None:
    script = f"{ATTACHED}; cat <&3; ls /proc/$$/fd; exit 0"
    podman.start(script=FOREVER)
    with open(host / "note") as file:
        before = f"exec 3<&{file.fileno()}"
        run = passing(
            podman, before, "run", "--rm", "--preserve-fds=1", IMAGE, "sh", "-c", script, descriptor=file.fileno()
        )
        file.seek(0)
        exec_ = passing(podman, before, "exec", "--preserve-fds=1", "c", "sh", "-c", script, descriptor=file.fileno())

    assert run.stdout.split() == ["hello", "0", "1", "2", "3"], run
    assert exec_.stdout.split() == ["hello", "0", "1", "2", "3"], exec_


def test_a_listening_socket_is_passed_on(podman: Podman) -> None:
    script = f"{ATTACHED}; echo $LISTEN_FDS $LISTEN_PID $$; readlink /proc/self/fd/3; ls /proc/$$/fd; exit 0"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = f"exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$"
        result = passing(podman, before, "run", "--rm", IMAGE, "sh", "-c", script, descriptor=listener.fileno())
        inode = os.readlink(f"/proc/self/fd/{listener.fileno()}")

    assert result.stdout.splitlines() == ["1 1 1", inode, "0", "1", "2", "3"], result


STAGES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def write_hook(directory: Path, stage: str, script: str) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    (directory / f"{stage}.json").write_text(
        json.dumps({"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": [stage]})
    )


def test_hooks_run_with_the_state(podman: Podman, host: Path) -> None:
    for stage in STAGES:
        # In the container's mount namespace, and after the change of root, the last but one writes inside.
        write_hook(host, stage, f"cat >{'/tmp/hook' if stage == 'startContainer' else host / f'{stage}.out'}")

    result = podman(f"--hooks-dir={host}", "run", "--name=c", IMAGE, "sh", "-c", f"{ATTACHED}; cat /tmp/hook")

    container = podman.inspect()["Id"]
    wait_until((host / "poststop.out").exists, "the last hook")
    podman("wait", "c")
    seen = {stage: json.loads((host / f"{stage}.out").read_text()) for stage in STAGES if stage != "startContainer"}
    seen["startContainer"] = json.loads(result.stdout)
    assert {stage: state["id"] for stage, state in seen.items()} == dict.fromkeys(STAGES, container)
    assert seen["poststart"]["status"] == "running"
    assert seen["poststart"]["pid"] == seen["createRuntime"]["pid"]


def test_a_hook_that_fails_fails_the_start(podman: Podman, host: Path) -> None:
    write_hook(host, "createRuntime", "echo no >&2; exit 3")

    result = podman(f"--hooks-dir={host}", "run", "--rm", IMAGE, "echo", "started", check=False)

    assert result.returncode == 126
    assert result.stdout == ""
    assert "hook" in result.stderr
    assert podman("ps", "--all", "--quiet").stdout == ""


# --- what cannot be had here ---


@dataclass(frozen=True)
class Refusal:
    """An option that fails: `said` in podman's stderr, by runtime; None where it runs and has no effect."""

    name: str
    options: str
    why: str
    said: dict[str, str | None]
    unless: str = "nothing"
    """A fact with which it works."""


REFUSED: list[Refusal] = [
    Refusal(
        "network pasta",
        "--network=pasta",
        "podman 4.3 does not know it (4.4 does)",
        {"crun": "network not found", "sandbox-oci": "network not found"},
    ),
    Refusal(
        "ipc host",
        "--ipc=host",
        "podman binds the host's /dev/mqueue, which is not mounted",
        {"crun": "statfs /dev/mqueue", "sandbox-oci": "statfs /dev/mqueue"},
        unless="host_mqueue",
    ),
    Refusal(
        "pids-limit",
        "--pids-limit=10",
        "no cgroup and no controller; crun starts without the limit and does not say so",
        {"crun": None, "sandbox-oci": "linux.resources.pids.limit"},
        unless="cgroup_pids",
    ),
    Refusal(
        "memory",
        "--memory=10m",
        "no cgroup and no controller; crun starts without the limit and does not say so",
        {"crun": None, "sandbox-oci": r"linux.resources.memory.(?:limit|swap)"},
        unless="cgroup_memory",
    ),
    Refusal(
        "pids-limit in a cgroup",
        "--pids-limit=10 --cgroup-parent={parent}",
        "no such controller is delegated",
        {"crun": "cgroup controller `pids` is not available", "sandbox-oci": "linux.resources.pids.limit"},
        unless="cgroup_pids",
    ),
    Refusal(
        "foreign cgroup",
        "--cgroup-parent=/outside",
        "it is not ours",
        {"crun": "/sys/fs/cgroup/outside`: Permission denied", "sandbox-oci": "linux.cgroupsPath"},
    ),
    Refusal(
        "raised limit",
        "--ulimit=nofile=9999999",
        "above our own hard limit",
        {"crun": "RLIMIT_NOFILE", "sandbox-oci": "RLIMIT_NOFILE|process.rlimits"},
    ),
    Refusal(
        "lowered oom score",
        "--oom-score-adj=-500",
        "that takes CAP_SYS_RESOURCE in the first user namespace",
        {"crun": "oom_score_adj", "sandbox-oci": "oomScoreAdj|oom_score_adj"},
    ),
    Refusal(
        "unmapped user",
        "--user=99999999",
        "no such id in the user namespace",
        {"crun": "99999999", "sandbox-oci": "process.user"},
    ),
]


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda refusal: refusal.name.replace(" ", "-"))
def test_what_cannot_be_had_here(podman: Podman, refusal: Refusal) -> None:
    if "{parent}" in refusal.options and (reason := why_not("cgroup2")):
        pytest.skip(f"needs cgroup2: {reason}")
    parent = cgroup_parent() if "{parent}" in refusal.options else ""
    said = refusal.said[podman.runtime]
    if refusal.unless != "nothing" and not why_not(refusal.unless):
        said = None

    result = podman.run(*refusal.options.format(parent=parent).split(), script="echo started", check=False)

    if said is None:
        assert (result.returncode, result.stdout, result.stderr) == (0, "started\n", ""), result
    else:
        assert result.returncode in (125, 126, 127)
        assert result.stdout == ""
        assert re.search(said, result.stderr), result.stderr
        assert podman("ps", "--all", "--quiet").stdout == ""


@needs("cgroup2")
def test_where_podman_names_no_cgroup(podman: Podman) -> None:
    """Rootless and without systemd it does not: an older crun then makes none and cannot pause; ours makes one, as runc does."""
    podman.start(script=FOREVER)

    result = podman("pause", "c", check=False)

    if podman.runtime == "crun" and result.returncode:
        assert result.returncode == 125
        assert "cannot pause the container without a cgroup" in result.stderr
    else:
        assert result.returncode == 0
        assert podman.status() == "paused"


@pytest.mark.parametrize("space", ["auto", "nomap", "container:c", "--uidmap=0:10:100 --gidmap=0:20:100"])
def test_a_volume_in_a_directory_that_is_closed_to_who_is_root_inside(podman: Podman, host: Path, space: str) -> None:
    host.chmod(0o700)
    if space == "container:c":
        podman.start("--userns=auto:size=300", script=FOREVER)

    options = space.split() if space.startswith("--") else [f"--userns={space}"]
    result = podman.run(*options, f"--volume={host}/sub:/v", script="ls -d /v; id -u")

    assert result.stdout.split() == ["/v", "0"]


def test_checkpoint_is_refused(podman: Podman) -> None:
    podman.start(script=FOREVER)

    result = podman("container", "checkpoint", "c", check=False)

    assert result.returncode == 125
    assert "checkpointing a container requires root" in result.stderr
