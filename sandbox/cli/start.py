"""Where Python starts, executed by the launcher:

    PROGRAM KEY_FD PLAN_NAME COMMAND_AT ARGUMENT…

With a key, the arguments are a `run` whose command begins at COMMAND_AT, and whose plan may be
kept.  Everything else is for typer.
"""

from __future__ import annotations

import os
import signal
import sys

from sandbox.errors import SandboxError, describe


def main() -> None:
    """Do what the command line asks, and exit."""
    program, key_fd, plan_name, command_at, *arguments = sys.argv[1:]
    # The interpreter ignores these; the command must not inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        if int(key_fd) >= 0:
            _run(program, int(key_fd), plan_name, arguments, int(command_at))
        from sandbox.cli.app import main as app_main  # late: typer is slow to import

        app_main(program, arguments)
    except SandboxError as error:
        print(describe(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _run(program: str, key_fd: int, plan_name: str, arguments: list[str], command_at: int) -> None:
    from sandbox.cli.command_line import Call, parse_options
    from sandbox.cli.run import run

    options = arguments[1:command_at]
    if options and options[-1] == "--":
        del options[-1]
    with os.fdopen(key_fd, "rb") as file:
        file.seek(0)
        key = file.read()
    run(parse_options(options), arguments[command_at:], Call(program, key, plan_name))
