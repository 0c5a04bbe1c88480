"""The command lines of the verbs for which typer would take longer than their work; it is asked for `--help`.

Parsed by the table of options, and `run` by the same rules as in the launcher (`find_command()` in nsinit/launch.c).
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.cli.options import OPTIONS
from sandbox.cli.usage import not_understood
from sandbox.errors import UsageError

# Does the command line end at the first word that is no option?  Behind it is a command.
VERBS = {"run": True, "exec": True} | dict.fromkeys(
    ("ps", "kill", "inspect", "pause", "resume", "stats", "top", "events", "update", "logs", "attach", "wait", "rm"),
    False,
)

Values = dict[str, object]


def parse_verb(verb: str, words: Sequence[str]) -> tuple[Values, list[str]] | None:
    """Return option values and operands, None where help is wanted.  Raises UsageError."""
    spelled = {
        name: option for option in OPTIONS if verb in option.verbs for name in (*option.names, option.short) if name
    }
    values: Values = {}
    operands: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return values, [*operands, *waiting]
        if not word.startswith("-") or word == "-":
            operands.append(word)
            if not VERBS[verb]:
                continue
            return values, [*operands, *(waiting[1:] if waiting[:1] == ["--"] else waiting)]
        if word in ("--help", "-h"):
            return None
        name, attached, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        option = spelled.get(name)
        if option is not None and attached and not option.metavar and not word.startswith("--"):
            waiting.insert(0, f"-{attached}")  # as podman's users write: -af
            attached = ""
        if option is None or (attached and not option.metavar):
            raise not_understood(name, spelled, f"sandbox {verb}")
        if not option.metavar:
            values[option.field] = not name.startswith("--no-")
            continue
        if not attached:
            if not waiting:
                raise UsageError(
                    f"{name} needs a value: {option.metavar}", where=verb, hint=f"see sandbox {verb} --help"
                )
            value = waiting.pop(0)
        if option.repeat:
            former = values.setdefault(option.field, [])
            assert isinstance(former, list)
            former.append(value)
        else:
            values[option.field] = value
    return values, operands


def perform(verb: str, values: Values, operands: list[str], program: str, signals: str) -> int:
    """Do what a verb for what runs already asks for; return the exit status."""
    if verb == "exec":
        from sandbox.cli.exec import run

        run(values, operands, program, signals)
    if verb == "ps":
        from sandbox.cli.ps import show

        return show(values, operands)
    if verb == "kill":
        from sandbox.cli.kill import kill

        return kill(values, operands)
    if verb in ("stats", "top", "events", "update"):
        module = __import__(f"sandbox.cli.{verb}", fromlist=[verb])
        status: int = getattr(module, verb)(values, operands)
        return status
    if verb in ("pause", "resume"):
        from sandbox.cli import pause as pausing

        return pausing.pause(operands) if verb == "pause" else pausing.resume(operands)
    if verb == "logs":
        from sandbox.cli.logs import show as show_log

        return show_log(values, operands)
    if verb == "attach":
        from sandbox.cli.attach import attach

        return attach(values, operands)
    if verb == "wait":
        from sandbox.cli.wait import wait

        return wait(operands)
    if verb == "rm":
        from sandbox.cli.wait import remove

        return remove(values, operands)
    from sandbox.cli.inspect import inspect

    return inspect(operands)
