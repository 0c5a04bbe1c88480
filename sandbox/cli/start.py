"""Where Python starts, executed by the launcher:

    PROGRAM KEY_FD PLAN_NAME COMMAND_AT SIGNALS ARGUMENT…

With a key, the arguments are a `run` whose command begins at COMMAND_AT, and whose plan may be
kept.  Everything else is for typer.  SIGNALS is what nsinit has to put back after us
(`python_restore_signals`): SIGINT is blocked until then, as a start is too short to be interrupted.
"""

from __future__ import annotations

import os
import sys

from sandbox.cli.verb_line import VERBS
from sandbox.errors import EXIT_OWN_FAILURE, SandboxError, describe


def main() -> None:
    """Do what the command line asks, and exit."""
    try:
        try:
            _work()
        finally:
            sys.stdout.flush()  # at the interpreter's end it would be worded by that
    except OSError as error:
        if not _is_stuck():
            raise
        print(f"sandbox: standard output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_OWN_FAILURE)


def _is_stuck() -> bool:
    """Is it standard output that fails?  Tried, as after a long text it holds nothing more; else that is dropped."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return True
    return False


def _work() -> None:
    program, key_fd, plan_name, command_at, signals, *arguments = sys.argv[1:]
    try:
        if int(key_fd) >= 0:
            _run(program, int(key_fd), plan_name, arguments, int(command_at), signals)
        if arguments and arguments[0] != "run" and arguments[0] in VERBS:
            _perform(arguments[0], arguments[1:], program, signals)
        from sandbox.cli.app import main as app_main  # late: typer is slow to import

        app_main(program, signals, arguments)
    except SandboxError as error:
        print(describe(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)  # as the shell says it, 128 + SIGINT


def _perform(verb: str, words: list[str], program: str, signals: str) -> None:
    """Do it and exit; return where help is wanted."""
    from sandbox.cli.verb_line import parse_verb, perform

    line = parse_verb(verb, words)
    if line is not None:
        import signal

        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if verb != "exec":
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `sandbox ps | head`
        sys.exit(perform(verb, *line, program, signals))


def _run(program: str, key_fd: int, plan_name: str, arguments: list[str], command_at: int, signals: str) -> None:
    from sandbox.cli.command_line import Call
    from sandbox.cli.run import run
    from sandbox.cli.verb_line import parse_verb

    options = arguments[1:command_at]
    if options and options[-1] == "--":
        del options[-1]
    with os.fdopen(key_fd, "rb") as file:
        file.seek(0)
        key = file.read()
    line = parse_verb("run", options)
    assert line is not None, "the launcher knows no --help"
    run(line[0], arguments[command_at:], Call(program, signals, key, plan_name))
