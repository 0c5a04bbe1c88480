"""The command line of `sandbox profile`; a verb's work is imported when the verb is used."""

from __future__ import annotations

from typing import Annotated

import typer

from sandbox.cli.frame import App, Group

app = App(cls=Group, help="See, write and approve profiles.")


@app.command("list")
def profile_list() -> None:
    """List the profiles that can be named: yours and the shipped ones.

    Example:

      sandbox profile list
    """
    from sandbox.cli.profile import show_list

    show_list()


@app.command("show")
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


@app.command("check")
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


@app.command("keys")
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


@app.command("new")
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


@app.command("edit")
def profile_edit(name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A profile.")]) -> None:
    """Change a profile with $VISUAL or $EDITOR; what is wrong with it is said before it is saved.

    Example:

      sandbox profile edit mine
    """
    from sandbox.cli.profile_edit import edit

    edit(name)


@app.command("trust")
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


@app.command("untrust")
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
