"""The command line of `sandbox-oci`, which is runc's, declared once.

From these tables come the parser (`command_line.py`), the help (`help.py`) and the table by which
nsinit takes the plain spellings of the verbs in `HOT` itself (`sandbox/plan/header.py`).  On the
start path: nothing is imported.
"""

from __future__ import annotations

HOT = ("create", "run", "start", "state", "kill", "delete", "exec")
"""What engines call again and again; nsinit does these without Python where nothing has to be decided."""

FLAG = "flag"
TEXT = "text"
TEXTS = "texts"  # may be given again and again
NUMBER = "number"  # a signed number of 64 bits, as Go reads it: 10, 0x10, 0o10
NUMBERS = "numbers"
DURATION = "duration"  # as Go reads it: 5s, 1m30s


class Option:
    """An option of a verb, or of all: `--long`, and perhaps `-short`."""

    __slots__ = ("default", "help", "hidden", "keeps_plan", "kind", "long", "short")

    def __init__(
        self,
        long: str,
        short: str,
        kind: str,
        help: str,  # noqa: A002 (what argparse and typer call it)
        *,
        default: str = "",
        keeps_plan: bool = True,
        hidden: bool = False,
    ) -> None:
        self.long = long
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default  # as the help has it
        self.keeps_plan = keeps_plan  # False: no kept plan serves, nor, for `exec`, the container's own
        self.hidden = hidden  # taken, and in no help

    @property
    def field(self) -> str:
        """The name under which the parser keeps the value: `pid_file`."""
        return self.long.replace("-", "_")

    @property
    def takes_value(self) -> bool:
        return self.kind != FLAG

    @property
    def repeatable(self) -> bool:
        """Is the value a list, of all that were given?  Of others the last one counts."""
        return self.kind in (TEXTS, NUMBERS)


class Verb:
    """A verb: its options, and how many arguments it takes."""

    __slots__ = ("interspersed", "least", "most", "name", "options", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        options: tuple[Option, ...] = (),
        *,
        least: int = 1,
        most: int | None = 1,
        interspersed: bool = True,
    ) -> None:
        self.name = name
        self.summary = summary
        self.options = options
        self.least = least
        self.most = most  # None: as many as there are
        self.interspersed = interspersed  # may options follow the first argument?


GLOBAL = (
    Option("debug", "", FLAG, "enable debug logging", keeps_plan=False),
    Option("log", "", TEXT, "set the log file to write logs to (default is '/dev/stderr')"),
    Option("log-format", "", TEXT, "set the log format ('text' (default), or 'json')", default='"text"'),
    Option("log-alone", "", FLAG, "with --log, say nothing on stderr", hidden=True),
    Option("root", "", TEXT, "root directory for storage of container state (this should be located in tmpfs)"),
    Option("criu", "", TEXT, "ignored", keeps_plan=False),
    Option(
        "systemd-cgroup",
        "",
        FLAG,
        "enable systemd cgroup support, expects cgroupsPath to be of form "
        '"slice:prefix:name" for e.g. "user.slice:sandbox:434234"',
    ),
    Option("rootless", "", TEXT, "ignore cgroup permission errors ('true', 'false', or 'auto')", default='"auto"'),
)

_BUNDLE = Option("bundle", "b", TEXT, "path to the root of the bundle directory, defaults to the current directory")
_CONSOLE_SOCKET = Option(
    "console-socket",
    "",
    TEXT,
    "path to an AF_UNIX socket which will receive a file descriptor referencing the master end "
    "of the console's pseudoterminal",
)
_PIDFD_SOCKET = Option(
    "pidfd-socket",
    "",
    TEXT,
    "path to an AF_UNIX socket which will receive a file descriptor referencing the container's process",
)
_PID_FILE = Option("pid-file", "", TEXT, "specify the file to write the process id to")
_DETACH = Option("detach", "d", FLAG, "detach from the container's process")
_KEEP = Option("keep", "", FLAG, "do not delete the container after it exits")
_NO_SUBREAPER = Option("no-subreaper", "", FLAG, "disable the use of the subreaper used to reap reparented processes")
_NO_PIVOT = Option(
    "no-pivot",
    "",
    FLAG,
    "do not use pivot root to jail process inside rootfs.  This should be used whenever the rootfs is on top of a ramdisk",
    keeps_plan=False,
)
_NO_NEW_KEYRING = Option(
    "no-new-keyring",
    "",
    FLAG,
    "do not create a new session keyring for the container.  This will cause the container to inherit the calling "
    "processes session key",
    keeps_plan=False,
)
_PRESERVE_FDS = Option(
    "preserve-fds",
    "",
    NUMBER,
    "Pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)",
    default="0",
)
_FORMAT = Option("format", "f", TEXT, "select one of: table or json", default='"table"')
_CHECKPOINT = (
    Option("image-path", "", TEXT, "path for saving criu image files"),
    Option("work-path", "", TEXT, "path for saving work files and logs"),
)
_CRIU = (
    Option("tcp-established", "", FLAG, "allow open tcp connections"),
    Option("ext-unix-sk", "", FLAG, "allow external unix sockets"),
    Option("shell-job", "", FLAG, "allow shell jobs"),
)
_CGROUPS_MODE = Option("manage-cgroups-mode", "", TEXT, "cgroups mode: 'soft' (default), 'full' and 'strict'")
_EMPTY_NS = Option("empty-ns", "", TEXTS, "create a namespace, but don't restore its properties")
_AUTO_DEDUP = Option("auto-dedup", "", FLAG, "enable auto deduplication of memory images")
_LAZY_PAGES = Option("lazy-pages", "", FLAG, "use userfaultfd to lazily restore memory pages")
_FILE_LOCKS = Option("file-locks", "", FLAG, "handle file locks, for safety")

_CREATE = (_CONSOLE_SOCKET, _PIDFD_SOCKET, _PID_FILE, _NO_PIVOT, _NO_NEW_KEYRING, _PRESERVE_FDS)

VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "checkpoint",
            "checkpoint a running container",
            (
                *_CHECKPOINT,
                Option("parent-path", "", TEXT, "path for previous criu image files in pre-dump"),
                Option("leave-running", "", FLAG, "leave the process running after checkpointing"),
                *_CRIU,
                _LAZY_PAGES,
                Option("status-fd", "", NUMBER, "criu writes \\0 to this FD once lazy-pages is ready", default="-1"),
                Option("page-server", "", TEXT, "ADDRESS:PORT of the page server"),
                _FILE_LOCKS,
                Option(
                    "pre-dump",
                    "",
                    FLAG,
                    "dump container's memory information only, leave the container running after this",
                ),
                _CGROUPS_MODE,
                _EMPTY_NS,
                _AUTO_DEDUP,
            ),
        ),
        Verb("create", "create a container", (_BUNDLE, *_CREATE)),
        Verb(
            "delete",
            "delete any resources held by the container often used with detached container",
            (Option("force", "f", FLAG, "Forcibly deletes the container if it is still running (uses SIGKILL)"),),
        ),
        Verb(
            "events",
            "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
            (
                Option("interval", "", DURATION, "set the stats collection interval", default="5s"),
                Option("stats", "", FLAG, "display the container's stats then exit"),
            ),
        ),
        Verb(
            "exec",
            "execute new process inside the container",
            (
                _CONSOLE_SOCKET,
                _PIDFD_SOCKET,
                Option("cwd", "", TEXT, "current working directory in the container", keeps_plan=False),
                Option("env", "e", TEXTS, "set environment variables", keeps_plan=False),
                Option("tty", "t", FLAG, "allocate a pseudo-TTY"),
                Option("user", "u", TEXT, "UID (format: <uid>[:<gid>])", keeps_plan=False),
                Option("additional-gids", "g", NUMBERS, "additional gids", keeps_plan=False),
                Option("process", "p", TEXT, "path to the process.json", keeps_plan=False),
                _DETACH,
                _PID_FILE,
                Option(
                    "process-label",
                    "",
                    TEXT,
                    "set the asm process label for the process commonly used with selinux",
                    keeps_plan=False,
                ),
                Option("apparmor", "", TEXT, "set the apparmor profile for the process", keeps_plan=False),
                Option("no-new-privs", "", FLAG, "set the no new privileges value for the process", keeps_plan=False),
                Option("cap", "c", TEXTS, "add a capability to the bounding set for the process", keeps_plan=False),
                _PRESERVE_FDS,
                Option(
                    "cgroup",
                    "",
                    TEXTS,
                    "run the process in an (existing) sub-cgroup(s). Format is [<controller>:]<cgroup>.",
                    keeps_plan=False,
                ),
                Option("ignore-paused", "", FLAG, "allow exec in a paused container"),
            ),
            most=None,
            interspersed=False,
        ),
        Verb(
            "kill",
            "kill sends the specified signal (default: SIGTERM) to the container's init process",
            (Option("all", "a", FLAG, "send the specified signal to all processes inside the container"),),
            most=2,
        ),
        Verb(
            "list",
            "lists containers started by sandbox-oci with the given root",
            (_FORMAT, Option("quiet", "q", FLAG, "display only container IDs")),
            least=0,
            most=0,
        ),
        Verb("pause", "pause suspends all processes inside the container"),
        Verb(
            "ps",
            "ps displays the processes running inside a container",
            (_FORMAT,),
            most=None,
            interspersed=False,
        ),
        Verb(
            "restore",
            "restore a container from a previous checkpoint",
            (
                _CONSOLE_SOCKET,
                Option("image-path", "", TEXT, "path to criu image files for restoring"),
                _CHECKPOINT[1],
                *_CRIU,
                _FILE_LOCKS,
                _CGROUPS_MODE,
                Option("bundle", "b", TEXT, "path to the root of the bundle directory"),
                _DETACH,
                _PID_FILE,
                _NO_SUBREAPER,
                _NO_PIVOT,
                _EMPTY_NS,
                _AUTO_DEDUP,
                _LAZY_PAGES,
                Option(
                    "lsm-profile",
                    "",
                    TEXT,
                    "Specify an LSM profile to be used during restore in the form of TYPE:NAME.",
                ),
                Option("lsm-mount-context", "", TEXT, "Specify an LSM mount context to be used during restore."),
            ),
        ),
        Verb("resume", "resumes all processes that have been previously paused"),
        Verb("run", "create and run a container", (_BUNDLE, _DETACH, _KEEP, _NO_SUBREAPER, *_CREATE)),
        Verb(
            "spec",
            "create a new specification file",
            (
                Option("bundle", "b", TEXT, "path to the root of the bundle directory"),
                Option("rootless", "", FLAG, "generate a configuration for a rootless container"),
            ),
            least=0,
            most=0,
        ),
        Verb("start", "executes the user defined process in a created container"),
        Verb("state", "output the state of a container"),
        Verb(
            "update",
            "update container resource constraints",
            (
                Option(
                    "resources",
                    "r",
                    TEXT,
                    "path to the file containing the resources to update or '-' to read from the standard input",
                ),
                Option(
                    "blkio-weight", "", NUMBER, "Specifies per cgroup weight, range is from 10 to 1000", default="0"
                ),
                Option(
                    "cpu-period",
                    "",
                    TEXT,
                    "CPU CFS period to be used for hardcapping (in usecs). 0 to use system default",
                ),
                Option("cpu-quota", "", TEXT, "CPU CFS hardcap limit (in usecs). Allowed cpu time in a given period"),
                Option(
                    "cpu-burst",
                    "",
                    TEXT,
                    "CPU CFS hardcap burst limit (in usecs). Allowed accumulated cpu time "
                    "additionally for burst a given period",
                ),
                Option("cpu-share", "", TEXT, "CPU shares (relative weight vs. other containers)"),
                Option(
                    "cpu-rt-period",
                    "",
                    TEXT,
                    "CPU realtime period to be used for hardcapping (in usecs). 0 to use system default",
                ),
                Option(
                    "cpu-rt-runtime",
                    "",
                    TEXT,
                    "CPU realtime hardcap limit (in usecs). Allowed cpu time in a given period",
                ),
                Option("cpuset-cpus", "", TEXT, "CPU(s) to use"),
                Option("cpuset-mems", "", TEXT, "Memory node(s) to use"),
                Option("kernel-memory", "", TEXT, "(obsoleted; do not use)", hidden=True),
                Option("kernel-memory-tcp", "", TEXT, "(obsoleted; do not use)", hidden=True),
                Option("memory", "", TEXT, "Memory limit (in bytes)"),
                Option("memory-reservation", "", TEXT, "Memory reservation or soft_limit (in bytes)"),
                Option(
                    "memory-swap",
                    "",
                    TEXT,
                    "Total memory usage (memory + swap); set '-1' to enable unlimited swap",
                ),
                Option("pids-limit", "", NUMBER, "Maximum number of pids allowed in the container", default="0"),
                Option("l3-cache-schema", "", TEXT, "The string of Intel RDT/CAT L3 cache schema"),
                Option("mem-bw-schema", "", TEXT, "The string of Intel RDT/MBA memory bandwidth schema"),
                Option("cpu-idle", "", TEXT, "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE"),
            ),
        ),
        Verb("features", "show the enabled features", least=0, most=0),
    )
}
"""The verbs in the order of runc's help."""
