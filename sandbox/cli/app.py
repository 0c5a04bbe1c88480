"""The command line for people, by typer; a verb's work is imported when the verb is used."""

from __future__ import annotations

import inspect
import signal
import sys
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from sandbox.cli import detached_app, generate_app, running_app
from sandbox.cli.command_line import Call, request
from sandbox.cli.frame import App, Group, with_options
from sandbox.cli.profile_app import app as profile_app
from sandbox.errors import UsageError

_HELP = """Run a command in a container that you own: no root, no daemon.

Examples:

  sandbox run -- make check             build here; see and change nothing else

  sandbox run -p untrusted -- ./tool    a program that you do not trust

  sandbox profile list                  what else there is to be chosen
"""


app = App(
    name="sandbox",
    cls=Group,
    help=_HELP,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)
app.add_typer(profile_app, name="profile")

_COMMAND = inspect.Parameter(
    "command",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND [ARG]...", help="What to run inside.", show_default=False)
    ],
)
_OUTPUT = inspect.Parameter(
    "output",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None, typer.Option("--output", metavar="DIR", help="Write a bundle there instead.", show_default=False)
    ],
)
_OWN_IDS = inspect.Parameter(
    "own_ids",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--own-ids", help="Keep your ids inside; crun runs that, runc does not.", show_default=False)
    ],
)
_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="As JSON.", show_default=False)],
)
_RUN_HELP = """Run COMMAND inside, in the foreground, or with --detach without anybody who waits for it.

Its standard streams are the caller's, or go to a log (sandbox logs). \
Its exit status is the command's, 128+N for a signal N; 127 if it was not found, \
126 if it cannot be executed, 125 for a failure of our own.

Examples:

  sandbox run -- make check

  sandbox run -p untrusted -- ./tool

  sandbox run -p shell -- bash

  sandbox run -d --name web -- ./server
"""
# The command's own options are its own.
_STOP = {"allow_interspersed_args": False}


@app.command(context_settings=_STOP, help=_RUN_HELP)
@with_options("run", _COMMAND)
def run(**values: Any) -> None:
    from sandbox.cli.run import run as run_command

    run_command(values, values.pop("command") or [], Call(_program, _signals, b"", ""))


@app.command(context_settings=_STOP)
@with_options("spec", _OUTPUT, _OWN_IDS, _COMMAND)
def spec(**values: Any) -> None:
    """Print the OCI runtime spec that this run would use, or write a bundle that runc and crun run too.

    Examples:

      sandbox spec -p build -- make

      sandbox spec --output bundle -- sh && runc run -b bundle name
    """
    from sandbox.cli.spec import show, write_bundle

    output, own_ids = values.pop("output"), values.pop("own_ids")
    command = values.pop("command") or ["sh"]
    if output:
        write_bundle(request(values), command, output, own_ids=own_ids)
    else:
        show(request(values), command, own_ids=own_ids)


@app.command(context_settings=_STOP)
@with_options("explain", _JSON, _COMMAND)
def explain(**values: Any) -> None:
    """Say what a run would do, each operation with the profile line that it came from.

    Examples:

      sandbox explain -p untrusted -- ./tool

      sandbox explain --json | jq '.[].words'
    """
    from sandbox.cli import explain as verb
    from sandbox.runtime.compilation import compile_request

    as_json = values.pop("as_json")
    values.pop("command")  # `run` is easily changed into `explain`, and a plan holds for any command
    compilation = compile_request(request(values))
    if as_json:
        verb.show_json(compilation)
    else:
        verb.show(compilation)


@app.command()
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; docs/doctor.md has the schema.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say how each thing was tried.")] = False,
) -> None:
    """Say what this host allows, found by trying it, and what to do about the rest.

    Exit status 1 if no sandbox can run here, else 0; warnings are about what only some need.

    Examples:

      sandbox doctor

      sandbox doctor --json | jq -r '.. | .cure? // empty'
    """
    from sandbox.cli.doctor import doctor as verb

    raise typer.Exit(verb(_program, as_json=as_json, verbose=verbose))


_SANDBOX = inspect.Parameter(
    "sandbox",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[str, typer.Argument(metavar="ID", help="The sandbox, or the beginning of its name.")],
)
_SANDBOXES = inspect.Parameter(
    "sandboxes",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str], typer.Argument(metavar="ID...", help="Sandboxes, or the beginnings of their names.")
    ],
)
_REMOVED = inspect.Parameter(
    "sandboxes",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Sandboxes, or the beginnings of their names.", show_default=False),
    ],
)
_SIGNALLED = inspect.Parameter(
    "sandboxes",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str],
        typer.Argument(
            metavar="ID... [SIGNAL]",
            help="Sandboxes, or the beginnings of their names, and the signal: a name with or without SIG, or a number; TERM.",
        ),
    ],
)


def _perform(verb: str, values: dict[str, Any], operands: list[str]) -> None:
    from sandbox.cli.verb_line import perform

    given = {name: value for name, value in values.items() if value not in (None, False)}
    raise typer.Exit(perform(verb, given, operands, _program, _signals))


@app.command("exec", context_settings=_STOP)
@with_options("exec", _SANDBOX, _COMMAND)
def exec_(**values: Any) -> None:
    """Run COMMAND in a sandbox that is running, with its identity, filter and limits.

    Streams, signals, terminal and exit status are as those of `run`. Where the sandbox ends, the command does too.

    Examples:

      sandbox exec web -- ps ax

      sandbox exec --cwd /tmp --env DEBUG=1 web sh
    """
    operands = [values.pop("sandbox"), *(values.pop("command") or [])]
    _perform("exec", values, operands)


@app.command()
@with_options("ps")
def ps(**values: Any) -> None:
    """List what runs, containers of sandbox-oci too.

    Examples:

      sandbox ps

      sandbox kill $(sandbox ps --quiet)
    """
    _perform("ps", values, [])


@app.command()
@with_options("kill", _SIGNALLED)
def kill(**values: Any) -> None:
    """Signal the command of a sandbox.

    Examples:

      sandbox kill web

      sandbox kill web db KILL

      sandbox kill --all web INT
    """
    _perform("kill", values, values.pop("sandboxes"))


@app.command("inspect")
@with_options("inspect", _SANDBOXES)
def inspect_(**values: Any) -> None:
    """Print all that is known of a sandbox, as JSON.

    Example:

      sandbox inspect web
    """
    _perform("inspect", values, values.pop("sandboxes"))


running_app.add(app, _SANDBOX, _SANDBOXES, _perform)
detached_app.add(app, (_SANDBOX, _SANDBOXES, _REMOVED), _perform)
generate_app.add(app, lambda: _program)


@app.command("completion")
def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="The shell that is to complete.")],
) -> None:
    """Print a script by which a shell completes verbs, options, profiles and the names of what runs.

    The script starts no interpreter at a TAB. It is made from the verbs that there are: make it anew after an upgrade.

    Examples:

      eval "$(sandbox completion bash)"    in ~/.bashrc; in ~/.zshrc with zsh

      sandbox completion fish > ~/.config/fish/completions/sandbox.fish
    """
    from sandbox.cli.completion import SHELLS, script
    from sandbox.cli.manual import page

    if shell not in SHELLS:
        raise UsageError(f"{shell} is no shell that is known", where="completion", hint=f"write {', '.join(SHELLS)}")
    print(script(shell, page(typer.main.get_command(app))), end="")


def _version(wanted: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if wanted:
        import importlib.metadata  # late: takes as long as a run

        print(f"sandbox {importlib.metadata.version('sandbox')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _say_help(command: Any, arguments: list[str]) -> bool:
    """Print help where nothing else is asked for: once typer reads values it imports pydantic, which takes 70 ms."""
    *words, last = arguments or [""]
    if last not in ("--help", "-h"):
        return False
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return False
    from sandbox.cli.manual import help_text, page

    print(help_text(page(command, ("sandbox", *words))), end="")
    return True


_program = ""
_signals = "0"


def main(program: str, signals: str, arguments: list[str]) -> None:
    """Parse and execute; `program` is the launcher's path, `signals` what it has to put back after us."""
    global _program, _signals
    _program, _signals = program, signals
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `sandbox explain | head`
    command = typer.main.get_command(app)
    if _say_help(command, arguments):
        return
    try:
        status = command.main(args=arguments, prog_name="sandbox", standalone_mode=False)
    except TyperException as error:
        from sandbox.cli.usage import usage_error

        raise usage_error(error, arguments, getattr(command, "commands", {})) from error
    except typer.Abort:
        sys.exit(130)  # as for an interrupt
    sys.exit(status if isinstance(status, int) else 0)
