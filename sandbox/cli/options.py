"""The options of `run`, `spec` and `explain`, and of the verbs for what runs, declared once.

From this table come the launcher's (where does the command begin? `sandbox/plan/header.py`), the
parser of the start path (`verb_line.py`) and the help of the verbs (`app.py`).
"""

from __future__ import annotations

from typing import NamedTuple

ALL = ("run", "spec", "explain")
LIMITS = (*ALL, "update")


class Option(NamedTuple):
    """An option; one with a `metavar` takes a value."""

    name: str  # as in the profile's words: --read; a flag may be turned off by --no-…
    help: str
    key: str = ""  # the profile key of the same meaning, empty where there is none
    short: str = ""
    metavar: str = ""
    repeat: bool = False
    negatable: bool = False
    keeps_plan: bool = True  # False: more is asked for than a run, and Python has to look
    verbs: tuple[str, ...] = ALL

    @property
    def names(self) -> tuple[str, ...]:
        """All long spellings."""
        return (self.name, "--no-" + self.name[2:]) if self.negatable else (self.name,)

    @property
    def field(self) -> str:
        """The name under which a parser keeps the value."""
        return self.name[2:].replace("-", "_")


OPTIONS = (
    Option(
        "--profile",
        "A profile's name or file; several are laid one over the other.",
        short="-p",
        metavar="NAME|PATH",
        repeat=True,
    ),
    Option(
        "--project",
        "Lay the project's .sandbox.toml over the profile; otherwise do not look for one.",
        negatable=True,
    ),
    Option("--read", "Let PATH be read inside.", "filesystem.read", metavar="PATH", repeat=True),
    Option("--write", "Let PATH be read and written inside.", "filesystem.write", metavar="PATH", repeat=True),
    Option("--hide", "Hide PATH, whatever else shows it.", "filesystem.hide", metavar="PATH", repeat=True),
    Option(
        "--protect",
        "Let PATH be neither changed nor, where it is absent, made inside.",
        "filesystem.protect",
        metavar="PATH",
        repeat=True,
    ),
    Option("--tmp", "Put an empty directory, gone afterwards, at PATH.", "filesystem.tmp", metavar="PATH", repeat=True),
    Option(
        "--env",
        "Set a variable, or keep the caller's.",
        "environment",
        metavar="NAME[=VALUE]",
        repeat=True,
        verbs=(*ALL, "exec"),
    ),
    Option(
        "--network",
        "none: loopback only; user: one of its own; host: the host's.",
        "network.mode",
        metavar="none|user|host",
    ),
    Option(
        "--publish",
        "Let a port of the host lead inside.",
        "network.publish",
        metavar="[ADDRESS:]OUT:IN[/udp]",
        repeat=True,
    ),
    Option("--dns", "Ask this resolver, not the host's.", "network.dns", metavar="ADDRESS", repeat=True),
    Option("--cwd", "Start in DIRECTORY.", "process.cwd", metavar="DIRECTORY", verbs=(*ALL, "exec")),
    Option("--hostname", "The host name inside.", "process.hostname", metavar="NAME"),
    Option(
        "--user",
        "Be UID and GID inside; outside it is you.",
        "user",
        metavar="UID[:GID]",
        verbs=(*ALL, "exec"),
    ),
    Option(
        "--keep-env",
        "Keep all of the caller's variables but those that the profile unsets.",
        "environment.keep_all",
    ),
    Option(
        "--init",
        "A small process 1 reaps orphans and passes signals on, or the command is process 1 itself.",
        "process.init",
        negatable=True,
    ),
    Option(
        "--timeout",
        "End it after DURATION, with exit status 124.",
        "limits.timeout",
        metavar="DURATION",
    ),
    Option(
        "--timeout-grace",
        "Kill what is left DURATION later; 10s by default.",
        "limits.timeout_grace",
        metavar="DURATION",
    ),
    Option(
        "--memory", "Memory of all processes; then the sandbox ends.", "limits.memory", metavar="SIZE", verbs=LIMITS
    ),
    Option(
        "--memory-high", "Memory above which it is slowed down.", "limits.memory_high", metavar="SIZE", verbs=LIMITS
    ),
    Option(
        "--memory-low", "Memory that is taken from others first.", "limits.memory_low", metavar="SIZE", verbs=LIMITS
    ),
    Option("--memory-min", "Memory that is never taken away.", "limits.memory_min", metavar="SIZE", verbs=LIMITS),
    Option("--swap", "Swap beside the memory; 0: none.", "limits.swap", metavar="SIZE", verbs=LIMITS),
    Option(
        "--oom-group",
        "Out of memory, all of it ends, or one process that the kernel chooses.",
        "limits.oom_group",
        negatable=True,
        verbs=LIMITS,
    ),
    Option("--cpus", "Processors' worth of time, as 1.5.", "limits.cpus", metavar="NUMBER", verbs=LIMITS),
    Option(
        "--cpu-weight",
        "Its share where others want it too; 100 is usual.",
        "limits.cpu_weight",
        metavar="1-10000",
        verbs=LIMITS,
    ),
    Option("--cpuset", "The processors that may be used, as 0-3,6.", "limits.cpuset", metavar="LIST", verbs=LIMITS),
    Option("--cpuset-mems", "The memory nodes that may be used.", "limits.cpuset_mems", metavar="LIST", verbs=LIMITS),
    Option("--pids", "Processes and threads together.", "limits.pids", metavar="NUMBER", verbs=LIMITS),
    Option("--io-weight", "Its share of the disks; 100 is usual.", "limits.io_weight", metavar="1-10000", verbs=LIMITS),
    Option(
        "--io",
        "What may be done per second with the disk of PATH: read, write (bytes), read_ops, write_ops.",
        "limits.io",
        metavar="PATH:KEY=RATE[,...]",
        repeat=True,
        verbs=LIMITS,
    ),
    Option(
        "--hugepages",
        "Memory in huge pages of a size, as 2MB:64M.",
        "limits.hugepages",
        metavar="PAGE:SIZE",
        repeat=True,
        verbs=LIMITS,
    ),
    Option(
        "--report",
        "Write a report of the run to FILE, as JSON, or as a page if it ends with .html.",
        "report.file",
        metavar="FILE",
        repeat=True,
    ),
    Option("--strict", "Fail where a limit cannot be had, rather than warn.", "limits.strict"),
    Option(
        "--tty",
        "A terminal of the sandbox's own, or none; otherwise as found.",
        "process.tty",
        negatable=True,
        verbs=(*ALL, "exec"),
    ),
    Option(
        "--notify",
        "Who tells the service manager that it is ready: none, start (we), command.",
        "process.notify",
        metavar="none|start|command",
    ),
    Option("--name", "The sandbox's name.", "process.name", metavar="ID", verbs=("run",)),
    Option(
        "--detach",
        "Print the sandbox's name when the command runs, and do not wait for it.",
        short="-d",
        verbs=("run", "exec"),
    ),
    Option(
        "--interactive",
        "With --detach: what those who attach themselves type goes to the command.",
        short="-i",
        verbs=("run",),
    ),
    Option("--rm", "With --detach: keep neither its log nor its result when it has ended.", verbs=("run",)),
    Option("--replace", "Take the name from a sandbox that has ended.", verbs=("run",)),
    Option(
        "--log-size",
        "With --detach: keep so much of what it says, the newest; 1M by default.",
        "process.log_size",
        metavar="SIZE",
        verbs=("run",),
    ),
    Option(
        "--dry-run",
        "Make the plan, say what would be done, and do nothing.",
        keeps_plan=False,
        verbs=("run",),
    ),
    Option("--verbose", "Say what was read, and how long it took.", keeps_plan=False, verbs=("run",)),
    Option("--all", "Those too that have ended and are kept.", short="-a", verbs=("ps",)),
    Option("--all", "All that were started with --detach and have ended.", short="-a", verbs=("rm",)),
    Option("--force", "End it first, if it runs.", short="-f", verbs=("rm",)),
    Option("--follow", "Go on until the sandbox ends.", short="-f", verbs=("logs",)),
    Option("--since", "Nothing before TIME, or before so long ago: 10m.", metavar="TIME|DURATION", verbs=("logs",)),
    Option("--until", "Nothing after it.", metavar="TIME|DURATION", verbs=("logs",)),
    Option("--tail", "The last N lines.", short="-n", metavar="N", verbs=("logs",)),
    Option("--timestamps", "Begin each line with its time.", short="-t", verbs=("logs",)),
    Option("--stdout", "What was written to standard output alone.", verbs=("logs",)),
    Option("--stderr", "What was written to standard error alone.", verbs=("logs",)),
    Option("--json", "Each record as a JSON object on a line.", verbs=("logs",)),
    Option("--stdin", "Pass your input on, or leave the command's alone.", negatable=True, verbs=("attach",)),
    Option(
        "--detach-keys",
        "The keys that leave it; ctrl-p,ctrl-q by default.",
        metavar="KEYS",
        verbs=("attach",),
    ),
    Option("--all", "Every process in it, not the command alone.", short="-a", verbs=("kill",)),
    Option("--signal", "The signal, instead of behind the ids.", short="-s", metavar="SIGNAL", verbs=("kill",)),
    Option("--quiet", "The ids alone.", short="-q", verbs=("ps",)),
    Option("--json", "As JSON.", verbs=("ps", "stats", "top")),
    Option("--stream", "Look again and again, or once.", negatable=True, verbs=("stats",)),
    Option("--stats", "Say once what it uses, and no more.", verbs=("events",)),
    Option("--interval", "How long between two looks.", metavar="DURATION", verbs=("stats", "top", "events")),
)
