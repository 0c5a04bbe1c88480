"""Man pages, from the definition of the command line, the schema of profiles and the tables of `sandbox-oci`.

Run when the project is built:

    python -P sandbox/cli/man.py VERSION --names          the names of all pages, one a line
    python -P sandbox/cli/man.py VERSION DIRECTORY        write them there, and the scripts of completion
"""

from __future__ import annotations

import os
import re
import sys
import time

if __name__ == "__main__":  # by the build
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from sandbox.cli.manual import Page, Row, exit_statuses, runs_a_command

FILES = (
    (".sandbox.toml", "A project's own profile: see sandbox-profile(5)."),
    ("$XDG_CONFIG_HOME/sandbox/profiles/NAME.toml", "Your profiles; ~/.config where the variable is not set."),
    ("$XDG_CONFIG_HOME/sandbox/trusted/", "What you have approved: see sandbox-profile(1)."),
    ("$XDG_RUNTIME_DIR/sandbox/", "Kept plans, and the state of what runs."),
)
ENVIRONMENT = (
    ("NO_COLOR", "If set, nothing is bold or coloured."),
    ("XDG_CONFIG_HOME, XDG_RUNTIME_DIR", "Where profiles and state lie."),
)


def write(version: str) -> dict[str, str]:
    """Return the text of each page by its name, `sandbox-run.1`."""
    import typer.main  # late: for those who only read this module

    from sandbox.cli.app import app
    from sandbox.cli.manual import page

    top = page(typer.main.get_command(app))
    others = [f"sandbox-{verb.path[-1]}" for verb in top.verbs]
    pages = {"sandbox.1": _program(top, version, [*others, "sandbox-oci"])}
    for verb in top.verbs:
        pages[f"{'-'.join(verb.path)}.1"] = _verb(verb, version)
    pages["sandbox-oci.1"] = _engine(version)
    pages["sandbox-profile.5"] = _profiles(version)
    return pages


# --- roff ---


def escape(text: str) -> str:
    """Return `text` so that roff takes none of it for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti").replace("…", "...").replace("→", "->")
    return re.sub(r"(?m)^\.", r"\\&.", text)


def _quoted(text: str) -> str:
    return '"' + escape(text).replace('"', "\\(dq") + '"'


class _Roff:
    """A page that grows."""

    def __init__(self, name: str, section: int, summary: str, version: str) -> None:
        date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))
        self.lines = [f'.TH {name.upper()} {section} "{date}" "sandbox {version}" "sandbox"', ".SH NAME"]
        self.lines.append(f"{escape(name)} \\- {escape(summary)}")

    def heading(self, title: str) -> None:
        # The name of a table is written as it is.
        self.lines.append(f".SH {_quoted(title if title.startswith('[') else title.upper())}")

    def subheading(self, title: str) -> None:
        self.lines.append(f".SS {_quoted(title)}")

    def paragraph(self, text: str) -> None:
        if not self.lines[-1].startswith((".SH", ".SS")):
            self.lines.append(".PP")
        self.text(text)

    def text(self, text: str) -> None:
        self.lines += [line for line in escape(text).splitlines() if line.strip()]

    def entry(self, label: str, words: str) -> None:
        """A term and what it means."""
        self.lines += [".TP", f"\\fB{escape(label)}\\fR"]
        self.text(words or "\\&")

    def literal(self, lines: list[str]) -> None:
        if not self.lines[-1].startswith((".SH", ".SS")):
            self.lines.append(".PP")
        self.lines += [".RS 4", ".nf", *(escape(line) or "\\&" for line in lines), ".fi", ".RE"]

    def document(self) -> str:
        return "\n".join(self.lines) + "\n"


def _synopsis(roff: _Roff, shown: Page) -> None:
    name = " ".join(shown.path)
    roff.lines.append(f"\\fB{escape(name)}\\fR {escape(shown.usage.removeprefix(name).strip())}".rstrip())
    roff.lines.append(".br")


def _rows(roff: _Roff, rows: tuple[Row, ...]) -> None:
    for group in dict.fromkeys(row.group for row in rows):
        if group:
            roff.subheading(group)
        for row in rows:
            if row.group == group:
                roff.entry(row.label, row.words)


def _described(roff: _Roff, shown: Page) -> None:
    for text in (shown.summary, *shown.body):
        roff.paragraph(text)


def _see_also(roff: _Roff, names: list[str]) -> None:
    roff.heading("See also")
    roff.lines.append(
        ",\n".join(f".BR {escape(name)} ({section})" for name, section in map(_split, names)).replace(",\n", " ,\n")
    )


def _split(name: str) -> tuple[str, str]:
    name, _, section = name.rpartition(".")
    return name, section


def _program(top: Page, version: str, others: list[str]) -> str:
    roff = _Roff("sandbox", 1, "run a command in a container that you own", version)
    roff.heading("Synopsis")
    for verb in top.verbs:
        _synopsis(roff, verb)
    roff.lines.pop()  # no break behind the last
    roff.heading("Description")
    _described(roff, top)
    roff.paragraph(
        "What the command may see is said in a profile; the rest of your files, your keys and the network are not there."
    )
    roff.heading("Verbs")
    for verb in top.verbs:
        roff.entry(verb.path[-1], verb.summary)
    roff.heading("Options")
    _rows(roff, top.options)
    roff.heading("Examples")
    roff.literal(list(top.examples))
    _statuses(roff, top)
    for title, rows in (("Environment", ENVIRONMENT), ("Files", FILES)):
        roff.heading(title)
        for label, words in rows:
            roff.entry(label, words)
    _see_also(roff, [f"{name}.1" for name in others] + ["sandbox-profile.5"])
    return roff.document()


def _statuses(roff: _Roff, shown: Page) -> None:
    roff.heading("Exit status")
    for label, words in exit_statuses(shown):
        roff.entry(label, words)


def _verb(shown: Page, version: str) -> str:
    summary = re.split(r"(?<=[.:])\s", shown.summary, maxsplit=1)[0].rstrip(".:")
    roff = _Roff("-".join(shown.path), 1, summary[:1].lower() + summary[1:], version)
    roff.heading("Synopsis")
    for verb in shown.verbs or (shown,):
        _synopsis(roff, verb)
    roff.lines.pop()
    roff.heading("Description")
    _described(roff, shown)
    for verb in shown.verbs:
        roff.heading(verb.path[-1])
        _described(roff, verb)
        for row in (*verb.arguments, *verb.options):
            roff.entry(row.label if row.names else row.metavar, row.words)
        if verb.examples:
            roff.paragraph("For example:")
            roff.literal(list(verb.examples))
    if shown.arguments:
        roff.heading("Arguments")
        for row in shown.arguments:
            roff.entry(row.metavar, row.words)
    if shown.options:
        roff.heading("Options")
        _rows(roff, shown.options)
    if shown.examples:
        roff.heading("Examples")
        roff.literal(list(shown.examples))
    if runs_a_command(shown):
        _statuses(roff, shown)
    _see_also(roff, ["sandbox.1", "sandbox-profile.5"])
    return roff.document()


# --- sandbox-oci ---


def _engine(version: str) -> str:
    from sandbox.engine.help import description
    from sandbox.engine.options import GLOBAL, VERBS

    roff = _Roff("sandbox-oci", 1, "run OCI containers for one user, with runc's command line", version)
    roff.heading("Synopsis")
    roff.lines.append(f"\\fB{escape('sandbox-oci')}\\fR [GLOBAL OPTIONS] VERB [OPTIONS] [ARGUMENT ...]")
    roff.heading("Description")
    roff.paragraph(
        "An OCI runtime for one user, for engines such as podman: it needs no root and no daemon. Verbs, options, output and "
        "exit statuses are runc's. A container is configured by a bundle: a directory with a config.json and a root file system."
    )
    roff.heading("Global options")
    for option in GLOBAL:
        if not option.hidden:
            roff.entry(_spelled(option), option.help)
    for verb in VERBS.values():
        roff.heading(verb.name)
        roff.paragraph(verb.summary[:1].upper() + verb.summary[1:] + ".")
        usage, words = description(verb)
        roff.literal([f"sandbox-oci {verb.name} {usage}".rstrip()])
        for text in words:
            roff.paragraph(text)
        for option in verb.options:
            if not option.hidden:
                roff.entry(_spelled(option), option.help)
    roff.heading("Exit status")
    roff.paragraph(
        "That of the command for run and exec; otherwise 0, or 1 for a failure, and 255 for one of exec's own."
    )
    _see_also(roff, ["sandbox.1", "podman.1", "runc.8"])
    return roff.document()


def _spelled(option: object) -> str:
    value = " VALUE" if getattr(option, "takes_value") else ""  # noqa: B009 (its type is not imported at the top)
    short = getattr(option, "short")  # noqa: B009 (as above)
    return (f"-{short}, " if short else "") + f"--{getattr(option, 'long')}{value}"  # noqa: B009 (as above)


# --- profiles ---


def _profiles(version: str) -> str:
    """Return the reference of profiles, whose source is Markdown of few forms."""
    from sandbox.profile.reference import document

    roff = _Roff("sandbox-profile", 5, "what a sandboxed command sees and may do", version)
    roff.heading("Description")
    text = re.sub(r"<!--.*?-->\n*", "", document(), flags=re.DOTALL)
    for number, part in enumerate(re.split(r"```[a-z]*\n(.*?)```", text.partition("\n")[2], flags=re.DOTALL)):
        if number % 2:
            roff.literal(part.splitlines())
            continue
        for block in re.split(r"\n{2,}", part):
            _block(roff, block.strip("\n"))
    _see_also(roff, ["sandbox.1", "sandbox-run.1", "sandbox-profile.1"])
    return roff.document()


def _block(roff: _Roff, block: str) -> None:
    lines = block.splitlines()
    if not lines:
        return
    if lines[0].startswith("### "):
        roff.subheading(_plain(lines[0][4:]))
        _block(roff, "\n".join(lines[1:]).strip("\n"))
    elif lines[0].startswith("## "):
        roff.heading(_plain(lines[0][3:]))
        _block(roff, "\n".join(lines[1:]).strip("\n"))
    elif lines[0].startswith("    "):
        roff.literal([line[4:] for line in lines])
    elif lines[0].startswith("- "):
        for entry in re.split(r"(?m)^- ", block)[1:]:
            roff.lines += [".IP \\(bu 2"]
            roff.text(_plain(" ".join(entry.split())))
    else:
        roff.paragraph(_plain(block))


def _plain(text: str) -> str:
    """Leave out the marks of Markdown: on a terminal they say nothing."""
    return re.sub(r"(?<![`*])\*(\w[^*\n]*)\*(?![`*])", r"\1", text).replace("`", "")


def _completion() -> dict[str, str]:
    import typer.main  # late: as above

    from sandbox.cli.app import app
    from sandbox.cli.completion import script
    from sandbox.cli.manual import page

    top = page(typer.main.get_command(app))
    return {"sandbox.bash": script("bash", top), "_sandbox": script("zsh", top), "sandbox.fish": script("fish", top)}


def main() -> None:
    """Write the pages, or say their names."""
    _, version, target = sys.argv
    pages = write(version)
    if target == "--names":
        print("\n".join(pages))
        return
    for name, text in (pages | _completion()).items():
        with open(os.path.join(target, name), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
