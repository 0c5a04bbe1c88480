"""The command line for people, by typer; a verb's work is imported when the verb is used."""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from sandbox.cli.command_line import Call, request
from sandbox.cli.options import OPTIONS
from sandbox.errors import UsageError, say_notes

_HELP = """Run a command in a container that you own: no root, no daemon.

Examples:

  sandbox run -- make check             build here; see and change nothing else

  sandbox run -p untrusted -- ./tool    a program that you do not trust

  sandbox profile list                  what else there is to be chosen
"""


class _Verb(TyperCommand):
    """A verb whose help is ours: at once, and in the same words as its man page."""

    def get_help(self, ctx: Any) -> str:
        return _help(self, ctx)


class _Group(TyperGroup):
    """As _Verb; without arguments it says what there is."""

    def get_help(self, ctx: Any) -> str:
        return _help(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            from sandbox.cli.manual import help_text, page, short_help

            path = tuple(ctx.command_path.split())
            print((help_text if len(path) > 1 else short_help)(page(self, path)), end="")
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            from sandbox.cli.usage import not_understood

            raise not_understood(args[0], self.commands, ctx.command_path)
        return super().resolve_command(ctx, args)


def _help(command: TyperCommand | TyperGroup, context: Any) -> str:
    from sandbox.cli.manual import help_text, page

    return help_text(page(command, tuple(context.command_path.split()))).rstrip()


_F = TypeVar("_F", bound=Callable[..., Any])


class _App(typer.Typer):
    """Gives each verb our help."""

    def command(self, *args: Any, cls: type[TyperCommand] | None = _Verb, **settings: Any) -> Callable[[_F], _F]:
        return super().command(*args, cls=cls, **settings)


app = _App(
    name="sandbox",
    cls=_Group,
    help=_HELP,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)
profile_app = _App(cls=_Group, help="See, write and approve profiles.")
app.add_typer(profile_app, name="profile")

# Under which heading the help lists an option, by the section of its profile key.
_PANELS = {
    "": "This call",
    "filesystem": "Files",
    "environment": "Environment",
    "network": "Network",
    "limits": "Limits",
    "user": "Process",
    "process": "Process",
}


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
            rich_help_panel=_PANELS.get(option.key.partition(".")[0], "Others"),
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
@_with_options("explain", _JSON, _COMMAND)
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
@_with_options("exec", _SANDBOX, _COMMAND)
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
@_with_options("ps")
def ps(**values: Any) -> None:
    """List what runs, containers of sandbox-oci too.

    Examples:

      sandbox ps

      sandbox kill $(sandbox ps --quiet)
    """
    _perform("ps", values, [])


@app.command()
@_with_options("kill", _SIGNALLED)
def kill(**values: Any) -> None:
    """Signal the command of a sandbox.

    Examples:

      sandbox kill web

      sandbox kill web db KILL

      sandbox kill --all web INT
    """
    _perform("kill", values, values.pop("sandboxes"))


@app.command("inspect")
@_with_options("inspect", _SANDBOXES)
def inspect_(**values: Any) -> None:
    """Print all that is known of a sandbox, as JSON.

    Example:

      sandbox inspect web
    """
    _perform("inspect", values, values.pop("sandboxes"))


@profile_app.command("list")
def profile_list() -> None:
    """List the profiles that can be named: yours and the shipped ones.

    Example:

      sandbox profile list
    """
    from sandbox.cli.profile import show_list

    show_list()


@profile_app.command("show")
def profile_show(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A profile's name or file.", show_default=False)
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="With each path that the profile secrets hides.", show_default=False)
    ] = False,
) -> None:
    """Show a profile after inheritance, each value with where it comes from.

    Without NAME: what a run in this directory would use, a project's .sandbox.toml included.

    Examples:

      sandbox profile show untrusted

      sandbox profile show | grep write
    """
    from sandbox.cli.profile import show

    show(name, everything=everything)


@profile_app.command("check")
def profile_check(
    names: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help="Profiles.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.", show_default=False)] = False,
) -> None:
    """Say everything that is wrong with profiles and what they extend, and what is plainly weak.

    Exit status 1 if a run here would be refused; warnings do not count.

    Examples:

      sandbox profile check mine ./other.toml

      sandbox profile check --json .sandbox.toml
    """
    from sandbox.cli.check import check

    raise typer.Exit(check(names, as_json=as_json))


@profile_app.command("keys")
def profile_keys(
    section: Annotated[
        str | None, typer.Argument(metavar="[SECTION|KEY]", help="Such as filesystem.", show_default=False)
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.", show_default=False)] = False,
) -> None:
    """Say what may be written in a profile.

    Examples:

      sandbox profile keys

      sandbox profile keys filesystem.hide
    """
    from sandbox.cli.profile_keys import show

    show(section, as_json=as_json)


@profile_app.command("new")
def profile_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called.")],
    *,
    base: Annotated[str, typer.Option("--from", metavar="PROFILE", help="The profile that it extends.")] = "build",
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write it there instead.", show_default=False)
    ] = None,
) -> None:
    """Write a profile of your own to begin with, and print where it is. What is there already is never overwritten.

    Examples:

      sandbox profile new mine

      sandbox profile new --from untrusted --output ./strict.toml strict
    """
    from sandbox.cli.profile_new import new

    new(name, base=base, output=output)


@profile_app.command("edit")
def profile_edit(name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A profile.")]) -> None:
    """Change a profile with $VISUAL or $EDITOR; what is wrong with it is said before it is saved.

    Example:

      sandbox profile edit mine
    """
    from sandbox.cli.profile_edit import edit

    edit(name)


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

    Examples:

      sandbox profile trust

      sandbox profile trust -p ci ~/project/.sandbox.toml

      sandbox profile trust --list
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
    """Take back every approval of a project's .sandbox.toml.

    Example:

      sandbox profile untrust ~/project
    """
    from sandbox.cli import trust

    trust.untrust(file)


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
