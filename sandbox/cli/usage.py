"""What to say of a command line that is not understood."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

from sandbox.errors import UsageError

if TYPE_CHECKING:
    from typer.exceptions import TyperException


def not_understood(word: str, known: Iterable[str], where: str) -> UsageError:
    """Return the error for a verb or an option that there is not, with what was probably meant."""
    from difflib import get_close_matches  # late: only where something is wrong

    there = _there(word, where)
    close = [] if there else get_close_matches(word, list(known), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}?\n" if close else there
    return UsageError(f"{word} is not understood", where=_verb(where), hint=f"{hint}see {where} --help")


def _there(word: str, where: str) -> str:
    """Return the hint for what other programs have, and is called otherwise here."""
    if where == "sandbox":
        from shutil import which  # late, as above

        if word in _VERBS:
            return f"{_VERBS[word]}\n"
        return f"to run it inside: sandbox run -- {word}\n" if not word.startswith("-") and which(word) else ""
    if where == "sandbox kill":
        return "the signal stands behind the name: sandbox kill ID KILL\n" if word[1:2].isalnum() else ""
    if where not in ("sandbox run", "sandbox exec", "sandbox spec", "sandbox explain"):
        return ""
    return next((f"{hint}\n" for names, hint in _OPTIONS if word in names.split()), "")


_VERBS = {
    "help": "say sandbox --help, or sandbox VERB --help",
    "-V": "say sandbox --version",
    "version": "say sandbox --version",
    "list": "what runs is listed by sandbox ps, profiles by sandbox profile list",
    "stop": "say sandbox kill ID",
    "enter": "say sandbox exec ID COMMAND",
    "join": "say sandbox exec ID COMMAND",
    "shell": "say sandbox run -p shell -- bash",
}

# Options of bubblewrap, firejail and podman, as they are spelled there.
_OPTIONS = (
    (
        "--bind --dev-bind --volume -v --mount --whitelist",
        "a path is shown at its own place: --write PATH, --read PATH",
    ),
    ("--ro-bind --read-only", "a path is shown at its own place: --read PATH"),
    ("--tmpfs --private-tmp", "an empty directory is put there by --tmp PATH; /tmp is one already"),
    ("--private --private-home", "your home is not there, unless a profile shows it: sandbox profile list"),
    ("--blacklist", "say --hide PATH"),
    ("--unshare-net --net", "there is no network, unless --network user or --network host gives one"),
    ("--share-net", "say --network host"),
    ("--unshare-all --unshare-pid --unshare-user --unshare-ipc --unshare-uts", "every namespace is new already"),
    ("--proc --dev", "/proc and /dev are there already"),
    ("--die-with-parent --new-session", "it is so already: leave it out"),
    (
        "-i -t -it --interactive --tty=true",
        "there is a terminal inside where you have one: leave it out; with --detach say --tty",
    ),
    ("-e --setenv", "say --env NAME=VALUE"),
    ("--clearenv", "no variable is passed in, unless a profile keeps it"),
    ("-w --chdir --workdir", "say --cwd DIRECTORY"),
    ("-u --uid", "say --user UID[:GID]"),
    ("--publish-all -P", "say --publish OUTSIDE:INSIDE, once for each port"),
    ("--add-host --dns-search", "a profile says so: sandbox profile keys network"),
    ("--restart", "systemd starts it again: sandbox generate systemd"),
    ("--entrypoint", "the command is what stands behind the options: sandbox run -- COMMAND"),
    ("--label -l", "say --name ID"),
    ("--pid --userns --ipc --uts --cgroupns", "every namespace is new already"),
    ("--privileged --security-opt", "a profile says so: sandbox profile keys security"),
    ("--stop-timeout", "say --timeout-grace DURATION, of --timeout"),
    ("--stop-signal", "a signal is sent by sandbox kill ID SIGNAL"),
    ("--oom-kill-disable", "say --no-oom-group: then one process is killed, and the command may go on"),
    ("--shm-size", "say nothing: /dev/shm has room for 1 GiB, and --memory counts it"),
    ("--cgroup-parent --scope --slice --property", "limits have options of their own: --memory, --cpus, --pids"),
    ("-m", "say --memory SIZE"),
    ("--memory-swap", "say --swap SIZE, which is beside the memory, not with it"),
    ("--memory-reservation", "say --memory-low SIZE"),
    ("--cpu-shares -c", "say --cpu-weight 1-10000, of which others have 100"),
    ("--cpu-quota --cpu-period", "say --cpus NUMBER"),
    ("--cpuset-cpus", "say --cpuset LIST"),
    ("--pids-limit", "say --pids NUMBER"),
    ("--blkio-weight", "say --io-weight 1-10000, of which others have 100"),
    (
        "--device-read-bps --device-write-bps --device-read-iops --device-write-iops",
        "say --io PATH:read=RATE,write_ops=RATE",
    ),
    ("--rlimit-nofile --ulimit", "a profile has rlimits: sandbox profile keys limits"),
    ("--seccomp --cap-add --cap-drop", "a profile says so: sandbox profile keys security"),
)


def usage_error(error: TyperException, words: list[str], verbs: Container[str]) -> UsageError:
    """Return the error for what typer refused of the command line `words`, in our words."""
    context: Any = getattr(error, "ctx", None)
    # Of a value that is missing it does not say to which verb.
    known = " ".join(("sandbox", *(word for word in words[:1] if word in verbs)))
    where = context.command_path if context is not None else known
    option = getattr(error, "option_name", "")
    if option and context is not None and not hasattr(error, "param") and "No such option" in error.message:
        options = [
            name for row in context.command.params for name in (*row.opts, *row.secondary_opts) if name[0] == "-"
        ]
        return not_understood(option, options, where)
    message = error.format_message().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], where=_verb(where), hint=f"see {where} --help")


def _verb(path: str) -> str:
    """The program's name stands before every error anyway."""
    return path.partition(" ")[2]
