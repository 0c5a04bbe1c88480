"""A network without root: a program beside the sandbox that speaks for it with the sockets of an ordinary user.

What a profile asks for travels as annotations: network (the mode), publish, loopback, dns, search, hosts, mtu.
Options: pasta(1), slirp4netns(1).
"""

from __future__ import annotations

from struct import pack

from sandbox.errors import SpecError
from sandbox.plan.ops import AwaitCompanion, Companion, PlaceFile, StartCompanion, Step, Sysctl
from sandbox.spec.annotations import annotation, table, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case

PASTA_DNS = "169.254.1.1"
"""Where pasta answers for the host's resolver, which may well be at 127.0.0.53; the address is podman's choice, too."""
SLIRP_DNS = "10.0.2.3"
MTU = "65520"  # the largest: what leaves the host is cut there
_READY = 3  # the descriptor
# Of the host, what slirp4netns does not need; pasta leaves all of it by itself.
_COVERED = ("/home", "/root", "/srv", "/mnt", "/media", "/opt", "/var", "/tmp", "/run", "/boot")


def mode(case: Case) -> str:
    """Return what gives the sandbox a network: "user", "pasta", "slirp4netns", or "" where nothing does."""
    return annotation(case.spec, "network") if case.makes("network") else ""


def companion(case: Case) -> list[Step]:
    """Name the program that is to run beside the sandbox."""
    wanted = mode(case)
    if not wanted:
        return []
    where, path = case.origins["annotations.network"], case.host.network_program
    if not path:
        from sandbox.kernel.probe.distribution import install  # late: for a refusal alone

        missing = "neither pasta nor slirp4netns is" if wanted == "user" else f"{wanted} is not"
        raise SpecError(f"{missing} installed", where=where, hint=install("pasta" if wanted == "user" else wanted))
    name = path.rpartition("/")[2]
    arguments = _pasta(case) if name == "pasta" else _slirp(case)
    operation = Companion(
        path=path,
        arguments=tuple(arguments),
        staging=case.host.state_dir,
        covered=() if name == "pasta" else _COVERED,
        ready_fd=0 if name == "pasta" else _READY,
        claimed=_claimed(case) if name == "pasta" else b"",
        lost=f"warning: {name} had ended before the command: from then on there was no network",
    )
    return [Step(operation, where)]


def start(case: Case) -> list[Step]:
    """Let it start, which takes longer than all else that is done meanwhile."""
    where = case.origins["annotations.network"]
    return [Step(StartCompanion(), where)] if mode(case) else []


def ports(case: Case) -> list[Step]:
    """Let the command listen on any port: all of them are the sandbox's own, and a service of the web's has number 80."""
    where = case.origins["annotations.network"]
    return [Step(Sysctl(path="net/ipv4/ip_unprivileged_port_start", value="0"), where)] if mode(case) else []


def wait(case: Case) -> list[Step]:
    """Have a network before the command is started."""
    return [Step(AwaitCompanion(), case.origins["annotations.network"])] if mode(case) else []


def _name(case: Case) -> str:
    return f"{case.host.state_dir}/net"  # of the network namespace, beside the sandbox


def _mtu(case: Case) -> str:
    return annotation(case.spec, "mtu", MTU)


def _pasta(case: Case) -> list[str]:
    words = ["--quiet", "--config-net", "--netns-only", "--netns", _name(case), "--no-map-gw"]
    words += ["--dns-forward", PASTA_DNS, "--mtu", _mtu(case)]
    published, loopback = texts(case.spec, "publish"), texts(case.spec, "loopback")
    for option, protocol, asked in (
        ("--tcp-ports", "tcp", published),
        ("--udp-ports", "udp", published),
        ("--tcp-ns", "tcp", loopback),
        ("--udp-ns", "udp", loopback),
    ):
        # "ADDRESS/8080:80 tcp", the address may be missing
        ports = [entry.partition(" ")[0] for entry in asked if entry.endswith(protocol)]
        for port in ports or ["none"]:
            words += [option, port]
    return words


def _claimed(case: Case) -> bytes:
    """Return the ports that are published at all addresses, which have to be free at all of them."""
    found = b""
    for entry in texts(case.spec, "publish"):
        ports, _, protocol = entry.partition(" ")
        if "/" not in ports:
            first, _, last = ports.partition(":")[0].partition("-")
            found += pack("<HHI", int(first), int(last or first), protocol == "udp")
    return found


def _slirp(case: Case) -> list[str]:
    for name, what in (("publish", "ports are published"), ("loopback", "ports of the host's loopback are shown")):
        if texts(case.spec, name):
            from sandbox.kernel.probe.distribution import install

            raise SpecError(
                f"{what} by pasta alone, and this is slirp4netns",
                where=case.origins[f"annotations.{name}"],
                hint=install("pasta"),
            )
    # Its own sandbox, --enable-sandbox, needs id 0, which our user namespace has not.
    words = ["--configure", "--mtu", _mtu(case), "--disable-host-loopback", "--enable-seccomp"]
    # Without its IPv6, which is an experiment, and is there only some time after it says that it is ready.
    return [*words, "--ready-fd", str(_READY), "--netns-type", "path", _name(case), "tap0"]


# --- how names are resolved inside -----------------------------------------------------------------


def files(case: Case) -> list[Step]:
    """Tell programs of the resolvers, and of the names that the profile gives."""
    if not mode(case):
        return []
    steps = [
        _file(case, "/etc/resolv.conf", _resolv_conf(case), "network"),
        _file(case, "/etc/hosts", _hosts(case), "hosts"),
    ]
    if case.host.nsswitch:
        steps.append(_file(case, "/etc/nsswitch.conf", _nsswitch(case.host.nsswitch), "network"))
    return steps


def _file(case: Case, target: str, content: str, cause: str) -> Step:
    where = case.origins[f"annotations.{cause if annotation(case.spec, cause) else 'network'}"]
    return Step(PlaceFile(target=target, content=content, staging=case.host.state_dir), where)


def _resolv_conf(case: Case) -> str:
    servers = texts(case.spec, "dns")
    if not servers:
        # A loopback address would be the sandbox's own; what answers there is asked by the helper, in the host's network.
        # It asks the first one: the others stand behind for when that is silent.
        others = [server for server in case.host.nameservers[1:] if not _is_loopback(server)]
        pasta = case.host.network_program.endswith("/pasta")
        has_first = any("." in server for server in case.host.nameservers[:1])
        servers = [*([PASTA_DNS if pasta else SLIRP_DNS] if has_first or not pasta else []), *others]
        servers = servers or [server for server in case.host.nameservers if not _is_loopback(server)]
    search = texts(case.spec, "search") or list(case.host.search)
    lines = [f"search {' '.join(search)}"] if search else []
    # resolv.conf(5): three are asked, and no more.
    return "".join(f"{line}\n" for line in [*lines, *(f"nameserver {server}" for server in servers[:3])])


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"


def _hosts(case: Case) -> str:
    own = [f"127.0.1.1 {case.spec.hostname}"] if case.spec.hostname else []
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", *own]
    return "".join(
        f"{line}\n" for line in [*lines, *(f"{to} {name}" for name, to in table(case.spec, "hosts").items())]
    )


def _nsswitch(content: str) -> str:
    """Leave out the host's own services, such as resolve and mdns4: they are not there inside."""
    lines = content.splitlines()
    kept = ["hosts: files dns" if line.split("#")[0].strip().startswith("hosts:") else line for line in lines]
    return "".join(f"{line}\n" for line in kept)
