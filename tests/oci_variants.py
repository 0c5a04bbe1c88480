"""The table of test_oci_equivalence: small changes to one config.json."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oci_world import (
    ID,
    PROBE,
    Config,
    Edit,
    Seen,
    create_and_start,
    create_at_console,
    execute,
    execute_at_console,
    run,
    run_at_terminal,
    run_from_shell,
    run_joining,
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    name: str
    edits: Sequence[Edit]
    files: Callable[[Path], object] | None = None
    options: Sequence[str] = ()
    way: Callable[..., Seen] = run
    needs: Sequence[str] = ()


VARIANTS: list[Variant] = []


def variant(name: str, *edits: Edit, **more: Any) -> None:
    VARIANTS.append(Variant(name=name, edits=edits, **more))


# --- edits ---


def put(path: str, value: object) -> Edit:
    """Set the member at a dotted path; None removes it."""

    def edit(config: Config) -> None:
        *parents, last = path.split(".")
        place: Any = config
        for name in parents:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value

    return edit


def look(*words: str) -> Edit:
    """Have the probe look at more."""
    return lambda config: config["process"]["args"].extend(words)


def mount(destination: str, kind: str = "tmpfs", source: str = "tmpfs", options: str = "", **more: object) -> Edit:
    given = {"options": options.split(",")} if options else {}
    return lambda config: config["mounts"].append(
        {"destination": destination, "type": kind, "source": source, **given, **more}
    )


def bind(source: str, destination: str, options: str = "bind") -> Edit:
    return mount(destination, "bind", source, options)


def remount(destination: str, **members: object) -> Edit:
    """Change a mount that is there."""

    def edit(config: Config) -> None:
        for entry in config["mounts"]:
            if entry["destination"] == destination:
                entry.update(members)

    return edit


def without_mounts(*prefixes: str) -> Edit:
    def edit(config: Config) -> None:
        config["mounts"] = [entry for entry in config["mounts"] if not entry["destination"].startswith(prefixes)]

    return edit


def namespace(name: str, path: str = "") -> Edit:
    entry = {"type": name, "path": path} if path else {"type": name}
    return lambda config: config["linux"]["namespaces"].append(entry)


def without_namespaces(*names: str) -> Edit:
    def edit(config: Config) -> None:
        config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] not in names]

    return edit


def subordinate_ids(config: Config) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    for kind in ("uid", "gid"):
        with open(f"/etc/sub{kind}") as file:
            first, size = next(line.split(":")[1:] for line in file if line.startswith(f"{user}:"))
        config["linux"][f"{kind}Mappings"].append({"containerID": 1, "hostID": int(first), "size": int(size)})


def capabilities(*names: str, sets: str = "bounding effective permitted") -> Edit:
    return put("process.capabilities", {name: list(names) for name in sets.split()})


def seccomp(
    action: str, *, names: Sequence[str] = ("getcpu",), more: Mapping[str, object] | None = None, **rule: object
) -> Edit:
    rules = [{"names": list(names), "action": f"SCMP_ACT_{action}", **rule}]
    return put("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, **(more or {})})


def argument(operator: str, value: int, second: int = 0, index: int = 0) -> dict[str, object]:
    return {"index": index, "value": value, "valueTwo": second, "op": f"SCMP_CMP_{operator}"}


WRITABLE = put("root.readonly", False)
USER = put("process.user", {"uid": 7, "gid": 8})
NO_PID_NAMESPACE = (
    without_namespaces("pid"),
    remount("/proc", type="bind", source="/proc", options=["rbind"]),
    put("linux.maskedPaths", []),
    put("linux.readonlyPaths", []),
)
GETCPU = "call:309:0:0:0"
UNKNOWN_CALL = "call:5000"


def tree(bundle: Path) -> None:
    """Something to bind, and a root with links in it: down, up, dangling, in a circle."""
    (bundle / "file").write_text("hello\n")
    (bundle / "dir").mkdir()
    (bundle / "dir/inner").write_text("inner\n")
    root = bundle / "rootfs"
    (root / "etc/sub").mkdir()
    for name, target in {
        "link": "/etc",
        "relative": "etc/sub",
        "to-file": "/etc/group",
        "escape": "../../../../../../tmp",
        "dangling": "/nowhere/deep",
        "loop": "loop",
    }.items():
        (root / name).symlink_to(target)


variant("the plain bundle")

# --- the root ---

variant("the root writable", WRITABLE, look("write:/new", "write:/tmp/x"))
variant("the root read-only", look("write:/new", "write:/tmp/x"))
variant("the root by a path with dots", put("root.path", "./rootfs/../rootfs"))
variant("the root by an absolute path", put("root.path", "$BUNDLE/rootfs"))
variant("the root by a link", put("root.path", "link"), files=lambda bundle: (bundle / "link").symlink_to("rootfs"))
for value in ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"):
    variant(f"rootfsPropagation {value}", put("linux.rootfsPropagation", value))

# --- mounts ---

variant(
    "options of a tmpfs",
    *(
        mount(f"/m/{number}", options=options)
        for number, options in enumerate(
            """nosuid,nodev,noexec ro noatime nodiratime strictatime relatime norelatime nostrictatime sync async dirsync
            lazytime mand mode=700,size=1m,nr_inodes=50 uid=0,gid=0 rw,suid,dev,exec noatime,strictatime""".split()
        )
    ),
)
variant(
    "options of a tmpfs that take back others",
    *(mount(f"/m/{options}", options=options) for options in ("nosuid,suid", "ro,rw", "noatime,atime")),
)
for options in ("nosymfollow", "silent", "iversion", "defaults", "acl", "noacl"):
    variant(f"option of a tmpfs: {options}", mount("/m/x", options=options))
variant("a tmpfs without a source", lambda config: config["mounts"].append({"destination": "/m/x", "type": "tmpfs"}))
variant("a tmpfs with a name", mount("/m/x", source="name"))
for options in ("rbind", "rbind,ro", "rbind,ro,nosuid,nodev,noexec", "rbind,nosymfollow"):
    variant(f"bind of a tree: {options}", bind("/dev", "/m/x", options))
for options in ("rro", "rnosuid,rnodev,rnoexec", "rrelatime", "rnosymfollow", "rro,rw", "ro,rrw", "rro,rrw"):
    variant(f"bind of a tree: rbind,{options}", bind("/dev", "/m/x", f"rbind,{options}"))
for options in ("rnoatime", "rnodiratime", "rstrictatime"):
    variant(f"bind of what the host locked: rbind,{options}", bind("/dev", "/m/x", f"rbind,{options}"))
variant("bind of a part of a locked tree", bind("/dev", "/m/x", "bind"))
variant("bind without rbind", bind("/usr/share", "/m/x", "bind,ro"))
variant("bind, type none", mount("/m/x", "none", "/usr/share", "bind,ro,noexec"))
variant(
    "bind, without a type",
    lambda config: config["mounts"].append({"destination": "/m/x", "source": "/usr/share", "options": ["bind"]}),
)
variant("bind, an unknown option", bind("/usr/share", "/m/x", "bind,nonsense"))
for value in ("private", "rslave", "shared", "rshared", "unbindable", "runbindable"):
    variant(f"propagation of a tree: {value}", mount("/m/x", options=value), bind("/dev", "/m/y", f"rbind,{value}"))
variant(
    "a file on a file", bind("file", "/etc/group", "bind,ro"), look("read:/etc/group", "entry:/etc/group"), files=tree
)
variant("a file where there is nothing", bind("file", "/a/b/new"), look("read:/a/b/new", "list:/a/b"), files=tree)
variant("a directory where there is nothing", bind("dir", "/a/b/new"), look("list:/a/b/new", "list:/a"), files=tree)
variant("a directory on a file", bind("dir", "/etc/group"), files=tree)
variant("a file on a directory", bind("file", "/etc"), files=tree)
variant("a target below a link", bind("dir", "/link/x"), look("list:/etc", "list:/etc/x"), files=tree)
variant("a target that is a link", bind("dir", "/relative"), look("list:/etc/sub"), files=tree)
variant("a target that is a link to a file", bind("file", "/to-file"), look("read:/etc/group"), files=tree)
variant("a target below a link that leads out", bind("dir", "/escape/x"), look("list:/tmp", "list:/tmp/x"), files=tree)
variant(
    "a target that is a dangling link",
    bind("dir", "/dangling"),
    look("list:/nowhere", "list:/nowhere/deep"),
    files=tree,
)
variant("a target below a dangling link", mount("/dangling/x"), look("list:/nowhere/deep"), files=tree)
variant("a target that is a link to itself", mount("/loop"), files=tree)
variant("a target with dots", mount("/tmp/../../tmp/../y"))
variant("a relative target", mount("m/x"))
variant("a relative source", bind("dir", "/m/x"), look("list:/m/x"), files=tree)
variant(
    "a source that is a link",
    bind("link", "/m/x"),
    look("list:/m/x"),
    files=lambda bundle: (tree(bundle), (bundle / "link").symlink_to("dir")),
)
variant("no source", bind("/nonsense", "/m/x"))
variant(
    "tmpcopyup",
    mount("/etc", options="tmpcopyup,mode=755"),
    look("list:/etc", "read:/etc/group", "write:/etc/new"),
    files=tree,
)
variant(
    "tmpcopyup, read-only",
    mount("/etc", options="tmpcopyup,mode=755,ro"),
    look("list:/etc", "read:/etc/group"),
    files=tree,
)
variant("one mount on another", mount("/m/x", source="one"), mount("/m/x", source="two"))
variant(
    "a mount that covers others",
    mount("/m/x", source="one"),
    mount("/m", source="two", options="mode=755"),
    look("list:/m"),
)
variant("an unknown type", mount("/m/x", "nonsense", "nonsense"))
variant("an unknown option", mount("/m/x", options="nonsense"))
variant("no mounts in /sys", without_mounts("/sys"))
variant("no mounts in /dev", without_mounts("/dev"))
variant("/dev read-only", remount("/dev", options=["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]))
variant("options of /proc", remount("/proc", options=["nosuid", "noexec", "nodev"]), put("linux.readonlyPaths", []))
variant("options of a new /proc", remount("/proc", options=["hidepid=2"]), put("linux.readonlyPaths", []))
variant(
    "a new sysfs",
    namespace("network"),
    remount("/sys", type="sysfs", source="sysfs", options=["nosuid", "ro"]),
    look("list:/sys/class/net"),
)
variant(
    "a cgroup mount, writable",
    remount("/sys/fs/cgroup", options=["nosuid", "noexec", "nodev", "relatime"]),
    look("write:/sys/fs/cgroup/cgroup.procs"),
)
variant("a cgroup mount, read-only", look("write:/sys/fs/cgroup/cgroup.procs", "view:/sys/fs/cgroup/cgroup.procs"))
variant("a cgroup mount without its namespace", without_namespaces("cgroup"))
variant(
    "ids of a mount",
    mount(
        "/m/x",
        "bind",
        "/usr/share",
        "bind,idmap",
        uidMappings=[{"containerID": 0, "hostID": os.getuid(), "size": 1}],
        gidMappings=[{"containerID": 0, "hostID": os.getgid(), "size": 1}],
    ),
)

# --- the process ---

variant("args found by PATH", put("process.args", [os.path.basename(PROBE), "a  b", ""]))
variant(
    "args found by the container's PATH",
    put("process.args", [os.path.basename(PROBE)]),
    put("process.env", ["PATH=/nonsense:/bin"]),
)
variant("args relative to cwd", put("process.args", ["./oci_probe"]), put("process.cwd", "/bin"))
variant(
    "args found by a relative PATH",
    put("process.args", ["oci_probe"]),
    put("process.cwd", "/bin"),
    put("process.env", ["PATH=."]),
)
variant("no such command", put("process.args", ["nonsense"]))
variant("no such file", put("process.args", ["/nonsense"]))
variant("a command that is a directory", put("process.args", ["/bin"]))
variant("a command that may not be executed", put("process.args", ["/etc/passwd"]))
variant(
    "a command that is no program",
    put("process.args", ["/etc/group"]),
    files=lambda bundle: (bundle / "rootfs/etc/group").chmod(0o755),
)
variant("env without PATH", put("process.env", ["A=b"]))
variant("env without PATH, args to be found", put("process.env", ["A=b"]), put("process.args", ["oci_probe"]))
variant("no env", put("process.env", None))
variant("env with one variable twice", put("process.env", ["A=1", "B=", "A=2", "C= d  =e"]))
variant("env with HOME", put("process.env", ["HOME=/x"]))
variant("env with HOME empty", put("process.env", ["HOME="]))
variant("env with a word", put("process.env", ["A"]))
variant("cwd that is there", put("process.cwd", "/bin"))
variant("cwd that is not there", WRITABLE, put("process.cwd", "/new/deep"), look("entry:/new/deep"))
variant("cwd that is not there, the root read-only", put("process.cwd", "/new/deep"), look("entry:/new/deep"))
variant("cwd in a mount", put("process.cwd", "/m/x/deep"), mount("/m/x"), look("entry:/m/x/deep"))
variant("cwd that is a file", put("process.cwd", "/etc/passwd"))
variant("cwd that is relative", put("process.cwd", "x"))
variant("a range of ids", subordinate_ids, needs=["newuidmap"])
variant("a user", subordinate_ids, USER, needs=["newuidmap"])
variant("a user without a name", subordinate_ids, put("process.user", {"uid": 70, "gid": 80}), needs=["newuidmap"])
variant("a user that is not mapped", put("process.user.uid", 5))
variant("a group that is not mapped", put("process.user.gid", 5))
variant(
    "additionalGids",
    subordinate_ids,
    put("process.user", {"uid": 7, "gid": 8, "additionalGids": [9, 10, 8]}),
    needs=["newuidmap"],
)
variant("additionalGids that are not mapped", put("process.user.additionalGids", [5]))
variant("umask", put("process.user.umask", 0o77), WRITABLE, look("write:/new", "entry:/new"))
variant("umask 0", put("process.user.umask", 0))
variant(
    "rlimits",
    put(
        "process.rlimits",
        [
            {"type": f"RLIMIT_{name}", "soft": soft, "hard": hard}
            for name, soft, hard in (
                ("NOFILE", 100, 200),
                ("CORE", 1, 2),
                ("NPROC", 300, 400),
                ("STACK", 1 << 20, 1 << 21),
                ("CPU", 50, 60),
                ("AS", 1 << 30, 1 << 31),
                ("MEMLOCK", 0, 0),
                ("FSIZE", 1 << 20, 1 << 20),
                ("DATA", 1 << 30, 1 << 30),
                ("RSS", 5, 6),
                ("LOCKS", 5, 6),
                ("SIGPENDING", 7, 8),
                ("MSGQUEUE", 9, 10),
                ("NICE", 0, 0),
                ("RTPRIO", 0, 0),
                ("RTTIME", 11, 12),
            )
        ],
    ),
)
variant("no rlimits", put("process.rlimits", None))
variant(
    "an rlimit without a limit", put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}])
)
variant("an rlimit twice", put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2))
variant(
    "an rlimit above the hard one", put("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 99999999}])
)
variant("an rlimit that is upside down", put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]))
variant("no capabilities", put("process.capabilities", None))
variant("empty capabilities", put("process.capabilities", {}))
SOME = ("CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_NET_BIND_SERVICE")
for name in ("bounding", "permitted", "effective", "inheritable", "ambient"):
    variant(f"capabilities, only {name}", capabilities(*SOME, sets=name))
FIVE = "bounding effective permitted inheritable ambient"
variant("capabilities, all five", capabilities(*SOME, sets=FIVE))
variant("capabilities, ambient but not effective", capabilities(*SOME, sets="bounding permitted inheritable ambient"))
variant("capabilities of a user, ambient", subordinate_ids, USER, capabilities(*SOME, sets=FIVE), needs=["newuidmap"])
variant("capabilities of a user, not ambient", subordinate_ids, USER, capabilities(*SOME), needs=["newuidmap"])
variant("an unknown capability", capabilities("CAP_NONSENSE", "CAP_KILL"))
variant("noNewPrivileges false", put("process.noNewPrivileges", False))
variant("oomScoreAdj", put("process.oomScoreAdj", 500))
variant("oomScoreAdj below ours", put("process.oomScoreAdj", -1000))
variant("oomScoreAdj out of range", put("process.oomScoreAdj", 5000))
variant("scheduler", put("process.scheduler", {"policy": "SCHED_BATCH", "nice": 5}))
variant("ioPriority", put("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 7}))
variant("personality LINUX32", put("linux.personality", {"domain": "LINUX32"}))
variant("personality LINUX", put("linux.personality", {"domain": "LINUX"}))
variant("an unknown personality", put("linux.personality", {"domain": "NONSENSE"}))
variant("an AppArmor profile", put("process.apparmorProfile", "nonsense"))
variant("an SELinux label", put("process.selinuxLabel", "nonsense"))
variant("exit status 7", look("exit:7"))
variant("exit status 255", look("exit:255"))
variant("process 1 sends itself a signal", look("signal:9"))
for number in (9, 11, 15):
    variant(f"killed by signal {number}", *NO_PID_NAMESPACE, look(f"signal:{number}"))

# --- the way to start ---

TERMINAL = put("process.terminal", True)
variant("terminal, by a console socket", TERMINAL, way=create_at_console)
variant(
    "terminal, consoleSize", TERMINAL, put("process.consoleSize", {"height": 33, "width": 44}), way=create_at_console
)
variant("terminal of a user", TERMINAL, subordinate_ids, USER, way=create_at_console, needs=["newuidmap"])
variant("terminal, in the foreground", TERMINAL, way=run_at_terminal)
variant(
    "terminal, consoleSize in the foreground",
    TERMINAL,
    put("process.consoleSize", {"height": 33, "width": 44}),
    way=run_at_terminal,
)
variant("no terminal, but run from one", way=run_at_terminal)
variant("created, then started", way=create_and_start)
variant("created, then started as a user", subordinate_ids, USER, way=create_and_start, needs=["newuidmap"])
variant("--no-pivot", options=["--no-pivot"])
variant("--no-new-keyring", options=["--no-new-keyring"])

# --- hooks ---

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hook(name: str, **more: object) -> dict[str, object]:
    """Return a hook that writes down what it finds; startContainer is executed inside, all others on the host."""
    path, file = (
        ("/bin/oci_probe", "/out/hooks") if name == "startContainer" else ("$BUNDLE/../oci_probe", "$BUNDLE/out/hooks")
    )
    return {"path": path, "args": ["oci_probe", "hook", name, file], "env": ["PATH=/bin", f"HOOK={name}"], **more}


def out(bundle: Path) -> None:
    (bundle / "out").mkdir()


WRITTEN = {"files": out, "options": ["--pid-file", "$BUNDLE/pid"]}
variant(
    "hooks",
    put("hooks", {name: [hook(name)] for name in HOOKS}),
    bind("out", "/out"),
    put("annotations", {"a": "b"}),
    **WRITTEN,
)
for name in HOOKS:
    failing = {
        "path": "/bin/oci_probe" if name == "startContainer" else "$BUNDLE/../oci_probe",
        "args": ["oci_probe", "fail"],
    }
    variant(
        f"a {name} hook that fails",
        # Whether it has said something when poststart fails is a matter of who is faster.
        *([put("process.args", [PROBE, "nap"])] if name == "poststart" else []),
        put("hooks", {name: [hook(name), failing]}),
        bind("out", "/out"),
        **WRITTEN,
    )
    variant(f"a {name} hook that is not there", put("hooks", {name: [hook(name, path="/nonsense")]}))
variant(
    "a hook that takes too long",
    put("hooks", {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "5"], "timeout": 1}]}),
)

# --- processes that join ---

NAP = look("wait:")
variant("exec", NAP, way=execute())
variant("exec with options", NAP, way=execute(), options=["--cwd", "/bin", "--env", "A=b"])
variant("exec as a user", subordinate_ids, NAP, way=execute(), options=["--user", "7:8"], needs=["newuidmap"])
variant(
    "exec as a user, by number alone", subordinate_ids, NAP, way=execute(), options=["--user", "7"], needs=["newuidmap"]
)
variant("exec into a container of a user", subordinate_ids, USER, NAP, way=execute(), needs=["newuidmap"])
variant(
    "exec as another than the container's",
    subordinate_ids,
    USER,
    NAP,
    way=execute(),
    options=["--user", "0:0"],
    needs=["newuidmap"],
)
variant("exec with capabilities", NAP, way=execute(), options=["--cap", "CAP_CHOWN", "--cap", "CAP_SYS_ADMIN"])
variant("exec without capabilities", put("process.capabilities", None), NAP, way=execute())
variant(
    "exec with noNewPrivileges", put("process.noNewPrivileges", False), NAP, way=execute(), options=["--no-new-privs"]
)
variant("exec where noNewPrivileges is false", put("process.noNewPrivileges", False), NAP, way=execute())
variant(
    "exec where the process has limits of its own",
    # Not that of files: Go raises it when it starts, in a race with runc, which sets it from outside.
    put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 100, "hard": 200}]),
    put("process.user.umask", 0o77),
    put("process.oomScoreAdj", 500),
    NAP,
    way=execute(),
)
variant("exec under a filter", seccomp("ERRNO", errnoRet=38), NAP, way=execute(GETCPU), needs=["seccomp"])
variant("exec where the container's cwd is", put("process.cwd", "/bin"), NAP, way=execute())
variant("exec at a terminal", NAP, way=execute_at_console)
variant(
    "exec at a terminal as a user",
    subordinate_ids,
    NAP,
    way=execute_at_console,
    options=["--user", "7:8"],
    needs=["newuidmap"],
)
variant("exec into a container with a network", namespace("network"), NAP, way=execute())
variant("exec without a process namespace", *NO_PID_NAMESPACE, NAP, way=execute())
variant(
    "exec without a cgroup namespace",
    without_namespaces("cgroup"),
    without_mounts("/sys"),
    NAP,
    way=execute(),
    needs=["cgroup2"],
)

# --- descriptors ---

OPEN = "exec 3</dev/zero 4</dev/zero 5</dev/zero; "
variant("descriptors that nobody asked for", way=run_from_shell(OPEN + 'exec "$@"'))
variant("--preserve-fds", options=["--preserve-fds", "2"], way=run_from_shell(OPEN + 'exec "$@"'))
variant("--preserve-fds, one that is closed", options=["--preserve-fds", "4"], way=run_from_shell(OPEN + 'exec "$@"'))
variant("LISTEN_FDS of another", way=run_from_shell(OPEN + 'LISTEN_FDS=2 LISTEN_PID=1 exec "$@"'))
variant("LISTEN_FDS", way=run_from_shell(OPEN + 'export LISTEN_FDS=2 LISTEN_PID=$$; exec "$@"'))
variant("closed standard streams", way=run_from_shell('exec "$@" <&-'))
variant("the caller's umask and limits", way=run_from_shell('umask 0027; ulimit -c 0; ulimit -n 512; exec "$@"'))
variant("the caller ignores signals", way=run_from_shell('trap "" INT QUIT PIPE TERM; exec "$@"'))

# --- names, annotations, namespaces ---

variant("no hostname", put("hostname", None))
variant("an empty hostname", put("hostname", ""))
variant("a long hostname", put("hostname", "a" * 64))
variant("a hostname that is too long", put("hostname", "a" * 65))
variant("domainname", put("domainname", "example"))
variant("annotations", put("annotations", {"a": "b", "org.example.x": ""}))
variant("an unknown member", put("nonsense", {"a": 1}))
variant("no pid namespace", *NO_PID_NAMESPACE)
variant("no ipc namespace", without_namespaces("ipc"), without_mounts("/dev/mqueue"))
variant("no uts namespace", without_namespaces("uts"), put("hostname", None))
variant("no uts namespace, but a hostname", without_namespaces("uts"))
variant("no cgroup namespace", without_namespaces("cgroup"), without_mounts("/sys"))
variant("no mount namespace", without_namespaces("mount"))
variant("a network namespace", namespace("network"))
variant("a time namespace", namespace("time"))
variant(
    "timeOffsets",
    namespace("time"),
    put("linux.timeOffsets", {"boottime": {"secs": 1000}, "monotonic": {"secs": 5, "nanosecs": 6}}),
)
variant("a namespace twice", namespace("pid"))
variant("an unknown namespace", namespace("nonsense"))
variant("a namespace that is not there", namespace("network", "/nonsense"))
JOINED = [{"type": name} for name in ("pid", "mount", "cgroup")]
JOIN = [
    {"type": name, "path": f"$OTHER/ns/{short}"} for name, short in (("network", "net"), ("uts", "uts"), ("ipc", "ipc"))
]
variant(
    "namespaces joined by path",
    put("linux.namespaces", [*JOINED, *JOIN, {"type": "user", "path": "$OTHER/ns/user"}]),
    put("hostname", None),
    put("linux.uidMappings", None),
    put("linux.gidMappings", None),
    way=run_joining,
)
variant(
    "namespaces joined by path, but not the user's",
    put("linux.namespaces", [*JOINED, *JOIN, {"type": "user"}]),
    put("hostname", None),
    way=run_joining,
)
variant("no id maps", put("linux.uidMappings", None))
variant("ids that are not ours", put("linux.uidMappings", [{"containerID": 0, "hostID": 0, "size": 10}]))

# --- devices, sysctl, masks ---

variant(
    "a device that the host has elsewhere",
    put("linux.devices", [{"path": "/dev/tun", "type": "c", "major": 10, "minor": 200}]),
)
variant(
    "a device that the host has",
    put(
        "linux.devices",
        [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}],
    ),
)
variant(
    "a device that is there anyway",
    put("linux.devices", [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}]),
)
variant(
    "a device that the host has not",
    put("linux.devices", [{"path": "/dev/nonsense", "type": "c", "major": 240, "minor": 77}]),
)
variant("a device of an unknown type", put("linux.devices", [{"path": "/dev/nonsense", "type": "z"}]))
NAMES = ("kernel/msgmax", "kernel/shmmni", "fs/mqueue/msg_max")
variant(
    "sysctl",
    put("linux.sysctl", {"kernel.msgmax": "4096", "kernel.shmmni": "77", "fs.mqueue.msg_max": "11"}),
    look(*(f"read:/proc/sys/{name}" for name in NAMES)),
)
variant(
    "sysctl of the network",
    namespace("network"),
    put("linux.sysctl", {"net.ipv4.ip_forward": "1"}),
    look("read:/proc/sys/net/ipv4/ip_forward"),
)
variant("sysctl of the host's network", put("linux.sysctl", {"net.ipv4.ip_forward": "1"}))
variant("sysctl of the host", put("linux.sysctl", {"vm.swappiness": "1"}))
variant("sysctl for the hostname", put("linux.sysctl", {"kernel.hostname": "x"}))
variant("sysctl with nonsense", put("linux.sysctl", {"kernel.msgmax": "nonsense"}))
PATHS = (
    "/proc/kcore",
    "/proc/keys",
    "/proc/acpi",
    "/sys/firmware",
    "/proc/sys",
    "/proc/bus",
    "/proc/sysrq-trigger",
    "/etc/group",
    "/etc/sub",
)
VIEWS = look(*(f"view:{path}" for path in PATHS))
variant("masked and read-only paths as they come", VIEWS, files=tree)
variant(
    "no masked paths, no read-only paths",
    put("linux.maskedPaths", []),
    put("linux.readonlyPaths", []),
    VIEWS,
    files=tree,
)
variant(
    "masked files and directories",
    put("linux.maskedPaths", ["/etc/group", "/etc/sub", "/nonsense", "/link/passwd"]),
    VIEWS,
    files=tree,
)
variant(
    "read-only files and directories",
    WRITABLE,
    put("linux.readonlyPaths", ["/etc/group", "/etc/sub", "/nonsense"]),
    VIEWS,
    look("write:/etc/group", "write:/etc/sub/x", "write:/etc/passwd"),
    files=tree,
)
variant(
    "masked within read-only",
    put("linux.maskedPaths", ["/etc/sub"]),
    put("linux.readonlyPaths", ["/etc"]),
    VIEWS,
    files=tree,
)
variant(
    "a masked mount, a read-only mount",
    mount("/m/x"),
    mount("/m/y"),
    put("linux.maskedPaths", ["/m/x"]),
    put("linux.readonlyPaths", ["/m/y"]),
    look("view:/m/x", "view:/m/y"),
)

# --- seccomp ---

for action in ("ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "LOG", "TRACE", "ALLOW"):
    variant(f"seccomp {action}", seccomp(action), look(GETCPU, "call:83:/proc/x"), needs=["seccomp"])
variant("seccomp errnoRet", seccomp("ERRNO", errnoRet=38), look(GETCPU), needs=["seccomp"])
variant("seccomp errnoRet 0", seccomp("ERRNO", errnoRet=0), look(GETCPU), needs=["seccomp"])
VALUES = look(*(f"call:309:{value}:0:0" for value in ("0", "7", "8", "9", "12", "0x100000008")))
for operator in ("EQ", "NE", "LT", "LE", "GT", "GE"):
    variant(f"seccomp {operator}", seccomp("ERRNO", args=[argument(operator, 8)]), VALUES, needs=["seccomp"])
variant("seccomp MASKED_EQ", seccomp("ERRNO", args=[argument("MASKED_EQ", 12, 8)]), VALUES, needs=["seccomp"])
PAIRS = look("call:309:8:9", "call:309:9:0", "call:309:8:0", "call:309:0:9")
variant(
    "seccomp, two arguments",
    seccomp("ERRNO", args=[argument("EQ", 8), argument("EQ", 9, index=1)]),
    PAIRS,
    needs=["seccomp"],
)
variant(
    "seccomp, one argument twice",
    seccomp("ERRNO", args=[argument("EQ", 8), argument("EQ", 9)]),
    PAIRS,
    needs=["seccomp"],
)
variant(
    "seccomp, architectures",
    seccomp("ERRNO", more={"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}),
    look(GETCPU),
    needs=["seccomp"],
)
variant(
    "seccomp, a foreign architecture",
    seccomp("ERRNO", more={"architectures": ["SCMP_ARCH_AARCH64"]}),
    look(GETCPU),
    needs=["seccomp"],
)
variant(
    "seccomp, an unknown architecture",
    seccomp("ERRNO", more={"architectures": ["SCMP_ARCH_NONSENSE"]}),
    needs=["seccomp"],
)
variant("seccomp, an unknown call", seccomp("ERRNO", names=("nonsense", "getcpu")), look(GETCPU), needs=["seccomp"])
variant("seccomp, an unknown action", seccomp("NONSENSE"), needs=["seccomp"])
variant("seccomp without rules", put("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}), needs=["seccomp"])
for flag in ("LOG", "TSYNC", "SPEC_ALLOW"):
    variant(
        f"seccomp flag {flag}",
        seccomp("ERRNO", more={"flags": [f"SECCOMP_FILTER_FLAG_{flag}"]}),
        look(GETCPU),
        needs=["seccomp"],
    )
variant("seccomp, an unknown flag", seccomp("ERRNO", more={"flags": ["NONSENSE"]}), needs=["seccomp"])
variant("seccomp NOTIFY without a listener", seccomp("NOTIFY"), look(GETCPU), needs=["seccomp"])
variant(
    "seccomp without noNewPrivileges",
    seccomp("ERRNO"),
    put("process.noNewPrivileges", False),
    look(GETCPU),
    needs=["seccomp"],
)
# What the probe and three runtimes need on their way to it.
ALLOWED = """access arch_prctl brk capget capset chdir clock_gettime clone clone3 close close_range connect dup dup2 dup3
    epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve execveat exit exit_group faccessat faccessat2 fchdir
    fchown fcntl fstat fstatfs futex get_mempolicy getcwd getdents64 getegid geteuid getgid getgroups getpgid getpgrp
    getpid getppid getpriority getrandom getrlimit getsid gettid gettimeofday getuid ioctl ioprio_get keyctl kill lseek
    lstat madvise membarrier mincore mkdir mmap mprotect mremap munmap nanosleep newfstatat open openat openat2
    personality pipe pipe2 poll ppoll prctl pread64 prlimit64 pselect6 pwrite64 read readlink readlinkat readv recvfrom
    recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sched_getaffinity
    sched_getparam sched_getscheduler sched_setaffinity sched_yield select sendmsg sendto set_robust_list
    set_tid_address setgid setgroups setpgid setresgid setresuid setrlimit setsid setuid sigaltstack socket stat statfs
    statx tgkill timer_create tkill umask uname unlinkat wait4 write writev""".split()


def allow_list(action: str, **more: object) -> Edit:
    rules = [{"names": ALLOWED, "action": "SCMP_ACT_ALLOW"}]
    return put("linux.seccomp", {"defaultAction": f"SCMP_ACT_{action}", "syscalls": rules, **more})


variant("seccomp, all but some: ERRNO", allow_list("ERRNO"), look(GETCPU, UNKNOWN_CALL), needs=["seccomp"])
variant(
    "seccomp defaultErrnoRet", allow_list("ERRNO", defaultErrnoRet=55), look(GETCPU, UNKNOWN_CALL), needs=["seccomp"]
)
variant("seccomp, all but some: KILL_PROCESS", allow_list("KILL_PROCESS"), look(GETCPU), needs=["seccomp"])

# --- cgroups and the rest ---

variant(
    "cgroupsPath, relative",
    put("linux.cgroupsPath", f"{ID}-relative/path"),
    without_namespaces("cgroup"),
    without_mounts("/sys"),
    needs=["cgroup2"],
)
variant(
    "hugepageLimits",
    put("linux.resources", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}),
    look("read:/sys/fs/cgroup/hugetlb.2MB.max"),
    needs=["cgroup2"],
)
variant(
    "unified",
    put("linux.resources", {"unified": {"cgroup.max.descendants": "5"}}),
    look("read:/sys/fs/cgroup/cgroup.max.descendants"),
    needs=["cgroup2"],
)
variant("unified with nonsense", put("linux.resources", {"unified": {"nonsense.max": "1"}}), needs=["cgroup2"])
variant("empty resources", put("linux.resources", {}))
variant("devices rules", put("linux.resources", {"devices": [{"allow": False, "access": "rwm"}]}))
variant("mountLabel", put("linux.mountLabel", "nonsense"))
variant("intelRdt", put("linux.intelRdt", {"closID": "x"}))
for version in ("1.0.0", "1.2.0", "9.0.0", "nonsense"):
    variant(f"ociVersion {version}", put("ociVersion", version))
variant("no ociVersion", put("ociVersion", None))
variant("no process", put("process", None))
variant("no args", put("process.args", []))
variant("no root", put("root", None))
variant("no linux", put("linux", None))
