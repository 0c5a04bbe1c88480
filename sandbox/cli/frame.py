"""What all verbs of the command line have: help of ours, options from the table, words for what is not understood."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from sandbox.cli.options import OPTIONS


class Verb(TyperCommand):
    """A verb whose help is ours: at once, and in the same words as its man page."""

    def get_help(self, ctx: Any) -> str:
        return _help(self, ctx)


class Group(TyperGroup):
    """As Verb; without arguments it says what there is."""

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


class App(typer.Typer):
    """Gives each verb our help."""

    def command(self, *args: Any, cls: type[TyperCommand] | None = Verb, **settings: Any) -> Callable[[_F], _F]:
        return super().command(*args, cls=cls, **settings)


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


def with_options(verb: str, *extra: inspect.Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
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
