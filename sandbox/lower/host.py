"""What lowering may know of the host, and of the call."""

from __future__ import annotations

from sandbox.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sandbox.kernel.paths import Node
    from sandbox.lower.cgroup import Verdict
    from sandbox.spec.runtime import Process, Spec


class Host:
    """Facts of the host.  They arrive as values: equal inputs give equal plans.

    Of a bundle's container only: `bundle`, `capabilities`, the id maps, and all that follows `no_bus`.  Those of cgroups
    are looked at where one is wanted, those of names (`nameservers` …) where a network is.
    """

    __slots__ = (
        "absent",
        "apparmor",
        "bfq",
        "build",
        "bundle",
        "bus",
        "capabilities",
        "cgroup",
        "cgroup_root",
        "cgroup_top",
        "controllers",
        "devices",
        "enabled",
        "files",
        "gid",
        "gid_map",
        "nameservers",
        "network_program",
        "newgidmap",
        "newuidmap",
        "no_bus",
        "nodes",
        "nsswitch",
        "obstacle",
        "offered",
        "own_namespaces",
        "search",
        "selinux",
        "setgroups",
        "sources",
        "state_dir",
        "uid",
        "uid_map",
        "unmanaged",
    )

    def __init__(
        self,
        *,
        uid: int,
        gid: int,
        state_dir: str,
        newuidmap: str = "",
        newgidmap: str = "",
        network_program: str = "",
        nameservers: tuple[str, ...] = (),
        search: tuple[str, ...] = (),
        nsswitch: str = "",
        build: str = "",
        bundle: str = "",
        capabilities: int = 0,
        uid_map: tuple[tuple[int, int, int], ...] = (),
        gid_map: tuple[tuple[int, int, int], ...] = (),
        cgroup: str = "",
        cgroup_root: str = "",
        cgroup_top: str = "",
        controllers: tuple[str, ...] = (),
        offered: tuple[str, ...] = (),
        obstacle: str = "",
        unmanaged: bool = False,
        enabled: tuple[str, ...] = (),
        files: frozenset[str] = frozenset(),
        bfq: bool = False,
        bus: str = "",
        no_bus: tuple[str, str] = ("", ""),
        setgroups: bool = True,
        own_namespaces: frozenset[str] = frozenset(),
        apparmor: bool = False,
        selinux: bool = False,
        sources: Mapping[str, str] | None = None,
        absent: Mapping[str, str] | None = None,
        devices: Mapping[tuple[str, int, int], str] | None = None,
        nodes: Mapping[str, Node] | None = None,
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.state_dir = state_dir  # the state tree, an absolute path; also where the new root is staged
        self.newuidmap = newuidmap  # absolute path, empty where it is not installed
        self.newgidmap = newgidmap
        self.network_program = network_program  # pasta or slirp4netns, where one is asked for and installed
        self.nameservers = nameservers  # of the host's resolv.conf(5)
        self.search = search
        self.nsswitch = nsswitch  # the content of nsswitch.conf(5)
        self.build = build  # this program's build id: with it, compiled filters are kept; or empty
        self.bundle = bundle  # absolute, without symlinks
        self.capabilities = capabilities  # in force in our user namespace: 1 << CAP_*
        self.uid_map = uid_map  # of our user namespace: (inside, outside, count)
        self.gid_map = gid_map
        self.cgroup = cgroup  # our own in the cgroup2 hierarchy, "/a/b"; empty where there is none
        self.cgroup_root = cgroup_root  # where that is mounted; empty where it is not
        # The directory nearest to the hierarchy's root that is ours to make cgroups in, on the way to where the
        # container's is to be (`cgroup.place`); empty where there is none.
        self.cgroup_top = cgroup_top
        self.controllers = controllers  # that can be had in a cgroup at that place
        self.offered = offered  # that `cgroup_top` has
        self.obstacle = obstacle  # the directory in which the others of them cannot be enabled; or empty
        # Of a sandbox: are cgroups at that place nobody's business but ours?  Those of systemd's are to be asked for.
        self.unmanaged = unmanaged
        self.enabled = enabled  # the controllers of our own cgroup; one beside it has the same
        self.files = files  # in our own cgroup's directory
        self.bfq = bfq  # is a block device's weight its scheduler's, io.bfq.weight?
        # The socket at which the user's systemd is asked for a scope; then `cgroup_top` is its manager's, and the facts above
        # are of that.  Empty where it is not to be asked, or cannot be: why, and what to do.
        self.bus = bus
        self.no_bus = no_bus
        self.setgroups = setgroups  # may setgroups(2) be called in our user namespace?
        self.own_namespaces = own_namespaces  # those of linux.namespaces[].path that we are members of ourselves
        self.apparmor = apparmor  # is it enabled?
        self.selinux = selinux
        self.sources = sources or {}  # root.path and source of a bind mount as it is written: the same without symlinks
        self.absent = absent or {}  # … that could not be followed: why
        self.devices = devices or {}  # (type, major, minor) of a device that is asked for: the host's node
        self.nodes = nodes or {}  # what there is at each of these paths, where it is a device

    def replace(self, **changes: Any) -> Host:
        """Return the same facts but for `changes`."""
        return Host(**{name: getattr(self, name) for name in self.__slots__} | changes)


class Call:
    """What the command line and the environment of the runtime ask for beyond the spec."""

    __slots__ = ("id", "keyring", "notify_directory", "notify_host", "systemd")

    def __init__(
        self,
        *,
        keyring: bool = True,
        notify_directory: str = "",
        notify_host: str = "",
        systemd: bool = False,
        id: str = "",  # noqa: A002 (its name in the specification)
    ) -> None:
        self.keyring = keyring  # a session keyring of the container's own
        self.notify_directory = notify_directory  # of the container's, on the host, for its readiness; or empty
        self.notify_host = notify_host  # the socket that NOTIFY_SOCKET names
        self.systemd = systemd  # is the cgroup a scope of systemd's?
        self.id = id  # the container's


class Origins:
    """From a place in the spec ("mounts[3]") to the user's words for it ("build.toml:12: filesystem.write[0]")."""

    def __init__(self, origins: Mapping[str, str] | None = None) -> None:
        self._origins = origins or {}

    def __getitem__(self, place: str) -> str:
        return self._origins.get(place) or f"config.json: {place}"


class Case:
    """What is to be lowered, and all that is known: the passes read from here.

    There are two customers.  A profile's sandbox is strict: it isolates or does not start.  A bundle's
    container (`is_container`) is what its spec says, beneath an engine that answers for it.
    """

    __slots__ = ("call", "host", "is_container", "linux", "namespaces", "origins", "process", "spec", "verdicts")

    def __init__(
        self, spec: Spec, host: Host, origins: Origins, call: Call | None = None, process: Process | None = None
    ) -> None:
        if spec.root is None or spec.process is None or spec.linux is None:
            raise SpecError("root, process and linux are required", where=origins["$"])
        self.spec = spec
        self.linux = spec.linux
        self.process = process or spec.process
        self.host = host
        self.origins = origins
        self.is_container = call is not None
        self.call = call or Call()
        self.verdicts: list[Verdict] | None = None  # `cgroup.verdicts`, once they are known
        self.namespaces = {entry.type: entry.path for entry in spec.linux.namespaces}  # path "": a new one

    def has(self, kind: str) -> bool:
        """Is there a namespace of this kind that is not the caller's?"""
        path = self.namespaces.get(kind)
        return path is not None and path not in self.host.own_namespaces

    def makes(self, kind: str) -> bool:
        """Is a new namespace of this kind made?"""
        return self.namespaces.get(kind) == ""

    def setting(self, name: str) -> Any:
        """Return a member of the process; of one that is exec'd, where it says nothing, the container's."""
        value = getattr(self.process, name)
        if value is None or value is False or value == "" or value == []:
            value = getattr(self.spec.process, name)
        return value
