"""The command line for people, by typer; a verb's work is imported when the verb is used."""

from __future__ import annotations

import importlib.metadata
import inspect
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sandbox.cli.command_line import Call, request
from sandbox.cli.options import OPTIONS
from sandbox.errors import EXIT_OWN_FAILURE, say_notes

app = typer.Typer(
    name="sandbox",
    help="Run a command in a container that you own: no root, no daemon.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)
profile_app = typer.Typer(help="See the profiles.", no_args_is_help=True)
app.add_typer(profile_app, name="profile")


def _with_options(verb: str, *extra: inspect.Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a function that takes **values the options of `verb` from the table, so that typer sees them."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = []
    for option in OPTIONS:
        if verb not in option.verbs:
            continue
        spelling = f"{option.names[0]}/{option.names[1]}" if option.negatable else option.name
        info = typer.Option(
            *([spelling, option.short] if option.short else [spelling]),
            help=option.help,
            metavar=option.metavar or None,
            show_default=False,
        )
        kind: Any = list[str] | None if option.repeat else str | None if option.metavar else bool | None
        default = None if option.metavar or option.negatable else False
        if not option.metavar and not option.negatable:
            kind = bool
        parameters.append(inspect.Parameter(option.field, keyword, default=default, annotation=Annotated[kind, info]))
    parameters += extra

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return function

    return decorate


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
_RUN_HELP = """Run COMMAND inside, in the foreground.

Its standard streams are the caller's. Its exit status is the command's, 128+N for a signal N; 127 if it was not found, \
126 if it cannot be executed, 125 for a failure of our own.

Examples:

  sandbox run -- make check

  sandbox run -p untrusted -- ./tool

  sandbox run -p shell -- bash
"""
USAGE_ERROR = 2
# The command's own options are its own.
_STOP = {"allow_interspersed_args": False}


@app.command(context_settings=_STOP, help=_RUN_HELP)
@_with_options("run", _COMMAND)
def run(**values: Any) -> None:
    from sandbox.cli.run import run as run_command

    run_command(values, values.pop("command") or [], Call(_program, _signals, b"", ""))


@app.command(context_settings=_STOP)
@_with_options("spec", _OUTPUT, _OWN_IDS, _COMMAND)
def spec(**values: Any) -> None:
    """Print the OCI runtime spec that this run would use, or write a bundle that runc and crun run too."""
    from sandbox.cli.spec import show, write_bundle

    output, own_ids = values.pop("output"), values.pop("own_ids")
    command = values.pop("command") or ["sh"]
    if output:
        write_bundle(request(values), command, output, own_ids=own_ids)
    else:
        show(request(values), command, own_ids=own_ids)


@app.command(context_settings=_STOP)
@_with_options("explain", _JSON, _COMMAND)
def explain(**values: Any) -> None:
    """Say what a run would do, each operation with the profile line that it came from."""
    from sandbox.cli import explain as verb
    from sandbox.runtime.compilation import compile_request

    as_json = values.pop("as_json")
    values.pop("command")  # `run` is easily changed into `explain`, and a plan holds for any command
    compilation = compile_request(request(values))
    say_notes(compilation.expansion.notes)
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
    """
    from sandbox.cli.doctor import doctor as verb

    raise typer.Exit(verb(_program, as_json=as_json, verbose=verbose))


@profile_app.command("list")
def profile_list() -> None:
    """List the profiles that can be named: yours and the shipped ones."""
    from sandbox.cli.profile import show_list

    show_list()


@profile_app.command("show")
def profile_show(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A profile's name or file.", show_default=False)
    ] = None,
) -> None:
    """Show a profile after inheritance, each value with where it comes from.

    Without NAME: what a run in this directory would use, a project's .sandbox.toml included.
    """
    from sandbox.cli.profile import show

    show(name)


@profile_app.command("trust")
def profile_trust(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A project's .sandbox.toml.", show_default=False)
    ] = None,
    *,
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", "-p", metavar="NAME|PATH", help="Approve it over this profile.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
    as_list: Annotated[bool, typer.Option("--list", help="Print what is trusted.", show_default=False)] = False,
) -> None:
    """Show what a project's .sandbox.toml asks for beyond your profile, and approve exactly this content.

    Without FILE: the one that a run in this directory would find. Any change to it asks anew.
    """
    from sandbox.cli import trust

    if as_list:
        trust.show_list()
    else:
        trust.trust(file, tuple(profile or ()), yes=yes)


@profile_app.command("untrust")
def profile_untrust(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A project's .sandbox.toml.", show_default=False)
    ] = None,
) -> None:
    """Take back every approval of a project's .sandbox.toml."""
    from sandbox.cli import trust

    trust.untrust(file)


def _version(wanted: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if wanted:
        print(f"sandbox {importlib.metadata.version('sandbox')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


_program = ""
_signals = "0"


def main(program: str, signals: str, arguments: list[str]) -> None:
    """Parse and execute; `program` is the launcher's path, `signals` what it has to put back after us."""
    global _program, _signals
    _program, _signals = program, signals
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `sandbox explain | head`
    try:
        app(args=arguments, prog_name="sandbox")
    except SystemExit as end:
        # typer's status for a command line that it does not understand could be the command's own.
        sys.exit(EXIT_OWN_FAILURE if end.code == USAGE_ERROR else end.code)
