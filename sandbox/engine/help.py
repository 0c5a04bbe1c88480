"""The help of `sandbox-oci`, in the shape of runc's: `sandbox-oci --help`, `sandbox-oci VERB --help`."""

from __future__ import annotations

from sandbox.engine.options import GLOBAL, VERBS, Option, Verb

PROGRAM = "sandbox-oci"

_HELP = Option("help", "h", "flag", "show help")
_VERSION = Option("version", "v", "flag", "print the version")

_ABOUT = """\
sandbox-oci runs containers of the Open Container Initiative (OCI) for the user who calls it: it needs no root and
no daemon.  Its command line is runc's.

Containers are configured using bundles. A bundle for a container is a directory
that includes a specification file named "config.json" and a root filesystem.
The root filesystem contains the contents of the container.

To start a new instance of a container:

    # sandbox-oci run [ -b bundle ] <container-id>

Where "<container-id>" is your name for the instance of the container that you
are starting. The name you provide for the container instance must be unique on
your host. Providing the bundle directory using "-b" is optional. The default
value for "bundle" is the current directory."""

_NEW_ID = """<container-id>

Where "<container-id>" is your name for the instance of the container that you
are starting. The name you provide for the container instance must be unique on
your host."""
_ID = """<container-id>

Where "<container-id>" is the name for the instance of the container."""
_ID_TO_BE = """<container-id>

Where "<container-id>" is the name for the instance of the container to be
{}."""
_ARGS = """
is a directory with a specification file named "config.json" and a root
filesystem.

The specification file includes an args parameter. The args parameter is used
to specify command(s) that get run when the container is started. To change the
command(s) that get executed on start, edit the args parameter of the spec. See
"sandbox-oci spec --help" for more explanation."""

# What follows the verb in USAGE, and DESCRIPTION.
_TEXTS: dict[str, tuple[str, str]] = {
    "checkpoint": (
        _ID_TO_BE.format("checkpointed"),
        "The checkpoint command saves the state of the container instance.  It is not there yet.",
    ),
    "create": (
        _NEW_ID,
        f"The create command creates an instance of a container for a bundle. The bundle{_ARGS}",
    ),
    "delete": (
        f"""{_ID}

EXAMPLE:
For example, if the container id is "ubuntu01" and sandbox-oci list currently shows the
status of "ubuntu01" as "stopped" the following will delete resources held for
"ubuntu01" removing "ubuntu01" from the sandbox-oci list of containers:

       # sandbox-oci delete ubuntu01""",
        "",
    ),
    "events": (
        _ID,
        """The events command displays information about the container. By default the
information is displayed once every 5 seconds.""",
    ),
    "exec": (
        """<container-id> <command> [command options]  || -p process.json <container-id>

Where "<container-id>" is the name for the instance of the container and
"<command>" is the command to be executed in the container.
"<command>" can't be empty unless a "-p" flag provided.

EXAMPLE:
For example, if the container is configured to run the linux ps command the
following will output a list of processes running in the container:

       # sandbox-oci exec <container-id> ps""",
        "",
    ),
    "features": (
        "",
        """Show the enabled features.
The result is a document as the runtime specification has it (features.md).""",
    ),
    "kill": (
        """<container-id> [signal]

Where "<container-id>" is the name for the instance of the container and
"[signal]" is the signal to be sent to the init process.

EXAMPLE:
For example, if the container id is "ubuntu01" the following will send a "KILL"
signal to the init process of the "ubuntu01" container:

       # sandbox-oci kill ubuntu01 KILL""",
        "",
    ),
    "list": (
        """

Where the given root is specified via the global option "--root"
(default: {root}).

EXAMPLE 1:
To list containers created via the default "--root":
       # sandbox-oci list

EXAMPLE 2:
To list containers created using a non-default value for "--root":
       # sandbox-oci --root value list""",
        "",
    ),
    "pause": (
        _ID_TO_BE.format("paused"),
        """The pause command suspends all processes in the instance of the container.

Use sandbox-oci list to identify instances of containers and their current status.""",
    ),
    "ps": ("<container-id> [ps options]", ""),
    "restore": (
        _ID_TO_BE.format("restored"),
        """Restores the saved state of the container instance that was previously saved
using the sandbox-oci checkpoint command.  It is not there yet.""",
    ),
    "resume": (
        _ID_TO_BE.format("resumed"),
        """The resume command resumes all processes in the instance of the container.

Use sandbox-oci list to identify instances of containers and their current status.""",
    ),
    "run": (
        _NEW_ID,
        f"The run command creates an instance of a container for a bundle. The bundle{_ARGS}",
    ),
    "spec": (
        "",
        """The spec command creates the new specification file named "config.json" for
the bundle.

The spec generated is just a starter file. Editing of the spec is required to
achieve desired results. For example, the newly generated spec includes an args
parameter that is initially set to call the "sh" command when the container is
started. Calling "sh" may work for an ubuntu container or busybox, but will not
work for containers that do not include the "sh" program.

A container of one user has a user namespace, for which --rootless adapts the
specification. It is not needed as the root of a user namespace that is there already.""",
    ),
    "start": (_NEW_ID, "The start command executes the user defined process in a created container."),
    "state": (
        """<container-id>

Where "<container-id>" is your name for the instance of the container.""",
        """The state command outputs current state information for the
instance of a container.""",
    ),
    "update": (
        "<container-id>",
        """With --resources, whose file has the form of linux.resources (unchanged values can be omitted), all
other options are ignored:

{
  "memory": {
    "limit": 0,
    "reservation": 0,
    "swap": 0
  },
  "cpu": {
    "shares": 0,
    "quota": 0,
    "burst": 0,
    "period": 0,
    "cpus": "",
    "mems": "",
    "idle": 0
  },
  "blockIO": {
    "weight": 0
  }
}""",
    ),
}


def program_help(root: str, version: str) -> str:
    """Return the help of the program; `root` is the default of --root."""
    width = max(len(name) for name in VERBS) + 2
    verbs = "\n".join(f"   {verb.name:<{width}}{verb.summary}" for verb in VERBS.values())
    options = []
    for option in GLOBAL:
        if option.hidden:
            continue
        default = f'"{root}"' if option.long == "root" else option.default
        options.append(Option(option.long, option.short, option.kind, option.help, default=default))
    return f"""NAME:
   {PROGRAM} - Open Container Initiative runtime

{_ABOUT}

USAGE:
   {PROGRAM} [global options] command [command options] [arguments...]

VERSION:
   {version}

COMMANDS:
{verbs}
   {"help, h":<{width}}Shows a list of commands or help for one command

GLOBAL OPTIONS:
{_table([*options, _HELP, _VERSION])}
"""


def verb_help(verb: Verb, root: str) -> str:
    """Return the help of a verb."""
    usage, description = _TEXTS[verb.name]
    usage = usage.replace("{root}", f'"{root}"')
    shown = [option for option in verb.options if not option.hidden]
    words = f"{PROGRAM} {verb.name}{' [command options]' if shown else ''}"
    parts = [f"NAME:\n   {PROGRAM} {verb.name} - {verb.summary}", f"USAGE:\n   {words} {usage}".rstrip()]
    if description:
        parts.append(f"DESCRIPTION:\n   {description}")
    if shown:
        parts.append(f"OPTIONS:\n{_table(shown)}\n   ")
    return "\n\n".join(parts) + "\n"


def description(verb: Verb) -> tuple[str, list[str]]:
    """Return how a verb is called, and what is to be said of it, in paragraphs; those that are indented are literal."""
    usage, words = _TEXTS[verb.name]
    call, _, more = usage.replace("{root}", "$XDG_RUNTIME_DIR/sandbox").partition("\n")
    return call, [text for text in (more.strip("\n") + "\n\n" + words).split("\n\n") if text.strip()]


def _table(options: list[Option]) -> str:
    names = []
    for option in options:
        value = " value" if option.takes_value else ""
        names.append(", ".join([f"--{option.long}{value}", *([f"-{option.short}{value}"] if option.short else [])]))
    width = max(map(len, names))
    rows = []
    for option, name in zip(options, names, strict=True):
        default = f" (default: {option.default})" if option.default else ""
        rows.append(f"   {name:<{width}}  {option.help}{default}")
    return "\n".join(rows)
