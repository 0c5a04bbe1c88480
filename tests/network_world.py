"""A host with a network, and a network behind it, both in namespaces of an ordinary user: no test reaches further.

`host` has 192.0.2.1 and a route to all else by `beyond`, which has 192.0.2.254 and, as the rest of the world,
198.51.100.7; and the same with IPv6.  At `host`'s 127.0.0.53 a stub answers names, as systemd-resolved does.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conftest import BINARY

PROGRAMS = Path(__file__).parent / "programs"
HOST, BEYOND, WORLD = "192.0.2.1", "192.0.2.254", "198.51.100.7"
HOST6, BEYOND6, WORLD6 = "2001:db8:1::1", "2001:db8:1::fe", "2001:db8:2::7"

_SERVER = """
import http.server, socket, socketserver, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello {self.client_address[0]} from {sys.argv[1]}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = family
server = Server((sys.argv[1], int(sys.argv[2])), Answer)
print("ready", flush=True)
server.serve_forever()
"""


class Network:
    """The two namespaces; `host` and `beyond` are the prefixes of commands that run in them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[str]] = []
        holder = self._start(
            ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", "echo ready; exec sleep 1000"]
        )
        enter = ["nsenter", "--target", str(holder.pid), "--user", "--mount", "--preserve-credentials"]
        self.host = [*enter, "--net"]
        behind = self._start([*enter, "unshare", "--net", "sh", "-c", "echo ready; exec sleep 1000"])
        self.beyond = [*enter, f"--net=/proc/{behind.pid}/ns/net"]
        self._run(
            self.host,
            f"""
            ip link set lo up
            ip link add v0 type veth peer name v1 netns {behind.pid}
            ip address add {HOST}/24 dev v0
            ip address add {HOST6}/64 dev v0 nodad
            ip link set v0 up
            ip route add default via {BEYOND}
            ip -6 route add default via {BEYOND6}
            printf 'nameserver 127.0.0.53\\nsearch example.test\\n' >{directory}/resolv.conf
            mount --bind {directory}/resolv.conf "$(readlink -f /etc/resolv.conf)"
            """,
        )
        self._run(
            self.beyond,
            f"""
            ip link set lo up
            ip address add {BEYOND}/24 dev v1
            ip address add {BEYOND6}/64 dev v1 nodad
            ip address add {WORLD}/32 dev lo
            ip address add {WORLD6}/128 dev lo nodad
            ip link set v1 up
            """,
        )
        script = directory / "sandbox-in-host"
        script.write_text(
            f'#!/bin/sh\nexec {" ".join(self.host)} -- sh -c \'cd "$0" && exec {BINARY} "$@"\' "$PWD" "$@"\n'
        )
        script.chmod(0o755)
        self.program = script  # the program, on that host

    def _start(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        self._started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    @staticmethod
    def _run(prefix: list[str], script: str) -> None:
        subprocess.run([*prefix, "sh", "-ec", script], check=True)

    def serve(self, place: list[str], address: str, port: int) -> None:
        """Answer HTTP there."""
        self._start([*place, sys.executable, "-c", _SERVER, address, str(port)])

    def resolve(self, **names: str) -> None:
        """Answer names at the host's stub."""
        words = [f"{name.replace('_', '.')}={address}" for name, address in names.items()]
        self._start([*self.host, sys.executable, str(PROGRAMS / "name_server.py"), "127.0.0.53", *words])

    def fetch(self, place: list[str], url: str) -> str:
        """Return what a GET from there answers."""
        code = "import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
        done = subprocess.run(
            [*place, sys.executable, "-c", code, url], capture_output=True, text=True, check=False, timeout=20
        )
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    def close(self) -> None:
        """End all that was started here."""
        for process in reversed(self._started):
            process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def network(directory: Path) -> Iterator[Network]:
    """Make the two namespaces for the time of a `with`."""
    made = Network.__new__(Network)
    try:
        made.__init__(directory)  # type: ignore[misc]
        yield made
    finally:
        made.close()
