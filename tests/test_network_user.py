"""A network without root: what is reached by it, what is not, and that nothing of it outlives the sandbox."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sandbox, descendants
from needs import needs
from network_world import BEYOND, HOST, HOST6, WORLD, WORLD6, Network, network

pytestmark = needs("userns", "pasta", "slirp4netns")

EITHER = pytest.mark.parametrize("helper", ["pasta", "slirp4netns"])
FETCH = "import sys,urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


@pytest.fixture
def there(world: Network, sandbox: Sandbox) -> Sandbox:
    """Return the program on that host."""
    return dataclasses.replace(sandbox, binary=world.program)


def fetch(there: Sandbox, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return there("run", *options, "--", "/usr/bin/python3", "-c", FETCH, url)


@pytest.mark.parametrize("helper, address", [("pasta", WORLD), ("pasta", f"[{WORLD6}]"), ("slirp4netns", WORLD)])
def test_the_world_is_reached_from_the_first_moment(world: Network, there: Sandbox, helper: str, address: str) -> None:
    world.serve(world.beyond, address.strip("[]"), 8000)
    done = fetch(there, f"http://{address}:8000/", "--network", helper)
    assert done.stdout.startswith("hello "), done.stderr


@EITHER
def test_names_are_resolved_by_the_hosts_stub(world: Network, there: Sandbox, helper: str) -> None:
    world.serve(world.beyond, WORLD, 8000)
    world.resolve(www_example_test=WORLD)
    for name in ("www.example.test", "www"):  # by the host's search list
        done = fetch(there, f"http://{name}:8000/", "--network", helper)
        assert done.stdout.startswith("hello "), done.stderr


@EITHER
def test_the_hosts_loopback_is_out_of_reach(world: Network, there: Sandbox, helper: str) -> None:
    world.serve(world.host, "127.0.0.1", 8000)
    assert world.fetch(world.host, "http://127.0.0.1:8000/").startswith("hello")
    # The gateway is what user-mode networks use to take for the host.
    for address in ("127.0.0.1", BEYOND, "10.0.2.2"):
        done = fetch(there, f"http://{address}:8000/", "--network", helper)
        assert "hello" not in done.stdout, (address, done.stdout)
        assert done.returncode != 0


def test_a_port_of_the_hosts_loopback_that_is_asked_for(world: Network, there: Sandbox, project: Path) -> None:
    world.serve(world.host, "127.0.0.1", 8000)
    world.serve(world.host, "127.0.0.1", 8001)
    (project.parent / "p.toml").write_text('extends = "build"\n[network]\nmode = "user"\nloopback = [8000]\n')
    assert fetch(there, "http://127.0.0.1:8000/", "-p", "../p.toml").stdout.startswith("hello ")
    assert "hello" not in fetch(there, "http://127.0.0.1:8001/", "-p", "../p.toml").stdout


def test_published_ports(world: Network, there: Sandbox, project: Path) -> None:
    (project / "index.html").write_text("from inside")
    server = there.popen(
        "run", "--network", "user", "--publish", "8080:80", "--publish", "127.0.0.1:8081:80",
        "--", "/usr/bin/python3", "-m", "http.server", "80",
    )  # fmt: skip
    end = time.monotonic() + 20
    while "from inside" not in world.fetch(world.host, "http://127.0.0.1:8081/index.html"):
        assert time.monotonic() < end, server.poll()
        time.sleep(0.1)
    assert world.fetch(world.beyond, f"http://{HOST}:8080/index.html") == "from inside"
    assert "refused" in world.fetch(world.beyond, f"http://{HOST}:8081/index.html")
    # Another one that wants the port is told, and who has it is left in peace.
    second = there("run", "--network", "user", "--publish", "8080:80", "--", "true")
    assert second.returncode == 125
    assert "--publish 8080:80" in second.stderr or "--network user" in second.stderr
    assert "port 8080: Address already in use" in second.stderr
    assert world.fetch(world.beyond, f"http://{HOST}:8080/index.html") == "from inside"
    server.terminate()
    server.wait(10)


@pytest.mark.parametrize("address", [HOST, "127.0.0.1", HOST6])
@pytest.mark.parametrize("published", ["8080:80", "8078-8081:78-81"])
def test_a_port_that_somebody_has_by_one_protocol_alone(
    world: Network, there: Sandbox, address: str, published: str
) -> None:
    """Pasta alone would be content with the other one, and whoever comes by this one would take somebody else for us."""
    world.serve(world.host, address, 8080)
    for _ in range(2):  # the second time by the kept plan
        done = there("run", "--network", "user", "--publish", published, "--", "true")
        assert done.returncode == 125
        assert "cause: any address, port 8080: Address already in use\n" in done.stderr
        assert "hint: who has it: " in done.stderr
    there("run", "--network", "user", "--publish", "8080:80/udp", "--", "true", check=True)


@EITHER
def test_nothing_outlives_a_killed_monitor(there: Sandbox, project: Path, helper: str) -> None:
    running = there.popen("run", "--network", helper, "--", "sh", "-c", "echo >up; exec sleep 1000")
    end = time.monotonic() + 20
    while not (project / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    below = descendants(running.pid)
    assert any(_name(pid) in ("pasta", "pasta.avx2", "passt", "passt.avx2", "slirp4netns") for pid in below)
    running.kill()
    running.wait(10)
    end = time.monotonic() + 5
    while left := [pid for pid in below if os.path.exists(f"/proc/{pid}") and _state(pid) != "Z"]:
        assert time.monotonic() < end, [(pid, _name(pid)) for pid in left]
        time.sleep(0.01)
    there("run", "--", "true", check=True)  # which removes the directory


def _helpers(runtime_dir: Path) -> list[int]:
    """Return the processes that serve a sandbox of this test: the place of its state is in their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{runtime_dir}/sandbox/net".encode() in words:
            found.append(int(entry.name))
    return found


@EITHER
def test_killed_at_any_moment_nothing_is_left(there: Sandbox, runtime_dir: Path, helper: str) -> None:
    there("run", "--network", helper, "--", "true", check=True)
    order, seen = random.Random(7), 0
    for _ in range(20):
        running = there.popen("run", "--network", helper, "--", "sleep", "30", stdout=subprocess.DEVNULL)
        time.sleep(order.uniform(0, 0.25))
        seen += bool(_helpers(runtime_dir))
        running.kill()
        running.wait(10)
    assert seen  # else the moments were all too early
    end = time.monotonic() + 5
    while left := _helpers(runtime_dir):
        assert time.monotonic() < end, left
        time.sleep(0.01)
    for _ in range(20):  # each looks at some
        there("run", "--", "true", check=True)


@EITHER
def test_who_kills_the_helper_is_told_of(there: Sandbox, project: Path, helper: str) -> None:
    running = there.popen("run", "--network", helper, "--", "sh", "-c", "echo >up; while [ -e up ]; do sleep .1; done")
    end = time.monotonic() + 20
    while not (project / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    (victim,) = [pid for pid in descendants(running.pid) if _name(pid).startswith(("pas", "slirp"))]
    os.kill(victim, 9)
    end = time.monotonic() + 5
    while os.path.exists(f"/proc/{victim}") and _state(victim) != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.3)
    (project / "up").unlink()
    _, said = running.communicate(timeout=10)
    assert running.returncode == 0
    assert f"warning: {helper} had ended before the command: from then on there was no network" in said


def test_of_a_detached_sandbox_the_result_tells_of_it(there: Sandbox, project: Path) -> None:
    """Its keeper has nobody to tell."""
    for name, killed in (("one", False), ("two", True)):
        words = (
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "pasta",
            "--",
            "sh",
            "-c",
            "while [ ! -e end ]; do sleep .1; done",
        )
        there(*words, check=True)
        keeper = json.loads(there("inspect", name, check=True).stdout)["monitor"]
        (helper,) = [pid for pid in descendants(keeper) if _name(pid).startswith("pas")]
        if killed:
            os.kill(helper, 9)
            while _state(helper) != "Z":
                time.sleep(0.01)
            time.sleep(0.3)
        (project / "end").touch()
        there("wait", name, check=True)
        (project / "end").unlink()
        assert json.loads(there("inspect", name, check=True).stdout)["result"]["network"] == {"lost": killed}
        there("rm", name, check=True)


@EITHER
def test_what_gives_the_network_is_out_of_reach(there: Sandbox, runtime_dir: Path, project: Path, helper: str) -> None:
    """It is in the sandbox's user namespace, where the command of this profile may kill."""
    (project.parent / "p.toml").write_text(
        f'extends = "build"\n[network]\nmode = "{helper}"\n[security]\nseccomp = "off"\ncapabilities = ["CAP_KILL"]\n'
    )
    script = "echo >up; kill -9 -1; for p in /proc/[0-9]*; do cat $p/comm; done; ls /proc/[0-9]*/ns >/dev/null; sleep 1; echo alive"
    running = there.popen("run", "-p", "../p.toml", "--", "sh", "-c", f"trap '' TERM; {script}")
    end = time.monotonic() + 20
    while not (project / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    (serving,) = _helpers(runtime_dir)
    seen, said = running.communicate(timeout=20)
    assert "alive" in seen, said
    assert helper not in seen
    assert "had ended" not in said
    # The host's files are not its, nor is what else the user has open.
    assert not os.path.exists(f"/proc/{serving}")


@EITHER
def test_what_gives_the_network_sees_nothing_of_yours(
    there: Sandbox, runtime_dir: Path, home: Path, helper: str
) -> None:
    running = there.popen("run", "--network", helper, "--", "sleep", "10")
    end = time.monotonic() + 20
    while not (serving := _helpers(runtime_dir)) or not Path(f"/proc/{serving[0]}/root").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(1)  # pasta confines itself behind that
    looked = subprocess.run(
        [
            "nsenter",
            "--target",
            str(serving[0]),
            "--user",
            "--mount",
            "--root",
            "--preserve-credentials",
            "/bin/ls",
            str(home),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert looked.returncode != 0
    running.terminate()
    running.wait(10)


def test_files_that_tell_of_names(there: Sandbox, project: Path) -> None:
    (project.parent / "p.toml").write_text(
        'extends = "build"\n[network]\nmode = "user"\ndns = ["192.0.2.9"]\nsearch = ["a.test", "b.test"]\n'
        'hosts = { db = "192.0.2.8" }\n'
    )
    done = there(
        "run", "-p", "../p.toml", "--", "sh", "-c", "cat /etc/resolv.conf /etc/hosts; getent hosts db", check=True
    )
    assert "search a.test b.test\nnameserver 192.0.2.9\n" in done.stdout
    assert "192.0.2.8 db\n" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["192.0.2.8", "db"]
    written = there("run", "-p", "../p.toml", "--", "sh", "-c", "echo nameserver 6.6.6.6 >>/etc/resolv.conf")
    assert "Read-only file system" in written.stderr


def test_a_kept_plan_and_its_report(there: Sandbox, project: Path) -> None:
    for _ in range(2):
        there("run", "--network", "user", "--report", "../report.json", "--", "ip", "-br", "address", check=True)
    settings = json.loads((project.parent / "report.json").read_text())["settings"]
    assert [entry["asked"] for entry in settings if entry["name"] == "network.mode"] == ["user"]


def test_a_kept_plan_knows_which_ports_are_roots(world: Network, there: Sandbox) -> None:
    words = ("run", "--network", "user", "--publish", "8080:80", "--", "true")
    there(*words, check=True)
    started = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    subprocess.run([*world.host, "sh", "-c", f"echo 9000 > {started}"], check=True)
    done = there(*words)

    assert done.returncode == 125
    assert '"8080:80": ports below 9000 are root\'s alone on this host' in done.stderr


@pytest.mark.parametrize("place", [".git/hooks/post-checkout", "hidden/rc"])
def test_an_image_leads_no_file_to_what_is_covered(sandbox: Sandbox, project: Path, tmp_path: Path, place: str) -> None:
    """Its /etc/resolv.conf is a symlink, and what is to be there would be made where that leads."""
    image = tmp_path / "image"
    for name in ("etc", "usr", "proc", "dev", "tmp", "sys"):
        (image / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (image / name).symlink_to(f"usr/{name}")
    (image / "etc/resolv.conf").symlink_to(project / place)
    for name in (".git/hooks", "hidden"):
        (project / name).mkdir(parents=True)
    (project / "image.toml").write_text(
        f'root.from = "dir:{image}"\nnetwork.mode = "user"\nprocess.cwd = "/"\n'
        '[filesystem]\nread = ["/usr"]\nwrite = ["."]\nprotect = ["./.git"]\nhide = ["./hidden"]\n'
    )
    done = sandbox("run", "--no-project", "-p", "./image.toml", "true", cwd=project)

    assert done.returncode == 0 or "cannot write /etc/resolv.conf for the inside" in done.stderr, done.stderr
    assert not (project / place).exists()


@pytest.mark.parametrize(
    "options, said",
    [
        (
            ("--publish", "8080:80"),
            '--publish 8080:80: no port is published with the network "none"\n  hint: say --network user\n',
        ),
        (("--network", "host", "--publish", "8080:80"), 'no port is published with the network "host"\n'),
        (
            ("--dns", "192.0.2.53"),
            'no resolver is asked of our choice with the network "none"\n  hint: say --network user',
        ),
        (("--network", "host", "--dns", "192.0.2.53"), 'no resolver is asked of our choice with the network "host"\n'),
        (("--network", "user", "--dns", "127.0.0.53"), "127.0.0.53 is the sandbox's own loopback"),
        (("--network", "user", "--dns", "::1"), "::1 is the sandbox's own loopback"),
        (("--network", "user", "--publish", "8080:80:90"), '"8080" is no address'),
        (("--network", "user", "--publish", "8080"), '"8080" does not publish a port'),
        (("--network", "user", "--publish", "80:80"), '"80:80": ports below 1024 are root\'s alone on this host'),
        (("--network", "user", "--publish", "9000-9001:80"), "has 2 ports outside and 1 inside"),
        (("--network", "user", "--publish", "8080:0"), "0 are no ports"),
        (("--network", "user", "--publish", "999.0.0.1:8080:80"), '"999.0.0.1" is no address'),
        (("--network", "user", "--dns", "resolver"), '"resolver" is no address'),
        (("--network", "user", "--dns", "fe80::1%a b"), '"fe80::1%a b" is no address'),
        (("--network", "user", "--dns", "::1%\nnameserver ::2"), '"::1%\\nnameserver ::2" is no address'),
        (("--network", "slirp4netns", "--publish", "8080:80"), "ports are published by pasta alone"),
    ],
)
def test_what_cannot_be_is_said(sandbox: Sandbox, options: tuple[str, ...], said: str) -> None:
    done = sandbox("run", *options, "--", "true")
    assert done.returncode == 125
    assert said in done.stderr
    assert "hint: " in done.stderr or "ports outside" in said


@pytest.mark.parametrize("mode", ["none", "host"])
def test_who_takes_the_network_from_a_profile(sandbox: Sandbox, project: Path, mode: str) -> None:
    text = 'extends = "build"\n[network]\nmode = "user"\npublish = ["8080:80"]\ndns = ["192.0.2.53"]\n'
    (project.parent / "p.toml").write_text(text)
    done = sandbox("run", "-p", "../p.toml", "--network", mode, "--", "true")
    if mode == "none":
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 125
        assert "p.toml:4: network.publish[0]: no port is published" in done.stderr
    (project.parent / "p.toml").write_text(text.replace('"user"', '"none"'))
    done = sandbox("run", "-p", "../p.toml", "--", "true")
    assert 'p.toml:4: network.publish[0]: no port is published with the network "none"' in done.stderr
    assert 'hint: write mode = "user"' in done.stderr


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
