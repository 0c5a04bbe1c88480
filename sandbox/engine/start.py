"""Where Python starts for what nsinit does not do itself of `sandbox-oci`:

    PROGRAM ARGUMENT…

That are the verbs that engines do not call all the time, and of those that they do whatever was not
plainly right: an odd spelling, a wrong one, a container that is not there.
"""

from __future__ import annotations

import os
import sys

from sandbox.engine.call import Call, failure_status, put
from sandbox.engine.command_line import HelpWanted, WrongUsage, parse_global, parse_verb
from sandbox.engine.log import Log, printable
from sandbox.engine.options import VERBS
from sandbox.errors import HostError, SandboxError, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.options import Verb

EXIT_USAGE = 1
EXIT_NO_TOPIC = 3
EXIT_INTERRUPTED = 130

# The module of each verb, which has a function `run`.
_MODULES = {
    "checkpoint": "checkpoint",
    "create": "create",
    "delete": "delete",
    "events": "events",
    "exec": "execute",
    "features": "features",
    "kill": "kill",
    "list": "listing",
    "pause": "pause",
    "ps": "ps",
    "restore": "checkpoint",
    "resume": "pause",
    "run": "create",
    "spec": "spec",
    "start": "start",
    "state": "state",
    "update": "update",
}


def main() -> None:
    """Do what the command line asks, and exit."""
    program, *arguments = sys.argv[1:]
    try:
        status = run(program, arguments)
    except BrokenPipeError:
        status = 1  # whoever read has seen enough
    except HostError as error:  # help, which is no verb's and has no log
        sys.stderr.write(f"{describe(error)}\n")
        status = EXIT_USAGE
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    # Nothing is buffered, and an orderly end of the interpreter takes 3 ms.
    sys.stderr.flush()
    os._exit(status)


def run(program: str, arguments: list[str]) -> int:
    """Do what `arguments` ask, and return the exit status."""
    log = Log()
    try:
        part = parse_global(arguments)
    except WrongUsage as error:
        put(f"Incorrect Usage. {printable(str(error))}\n\n{_program_help()}")
        log.fail(error)
        return EXIT_USAGE
    if part.version:
        from sandbox.engine.version import version_text  # late: 40 ms

        put(f"sandbox-oci version {version_text()}\n")
        return 0
    if part.help or not part.rest:
        put(_program_help())
        return 0
    settings = part.settings
    try:
        log = Log.of(settings)
    except SandboxError as error:
        log.fail(error)
        return EXIT_USAGE
    name, *rest = part.rest
    if name in ("help", "h"):
        return _help(rest, log)
    if name not in VERBS:
        return _no_topic(name, log)
    verb = VERBS[name]
    try:
        line = parse_verb(verb, rest, settings, program)
    except HelpWanted:
        put(_verb_help(verb))
        return 0
    except WrongUsage as error:
        put(f"Incorrect Usage{'.' if error.count else f': {printable(str(error))}'}\n\n{_verb_help(verb)}")
        log.fail(error)
        return EXIT_USAGE
    call = Call(program, arguments, line, log)
    if line.setting("criu"):
        log.warning("--criu is ignored: there is no checkpointing yet")
    return perform(call)


def perform(call: Call) -> int:
    """Do a call that is understood, and log its failure."""
    from sandbox.engine.call import PREFIXES

    verb = call.line.verb.name
    call.log.debug(f"{verb} {' '.join(call.line.operands)}".rstrip())
    try:
        # A verb is imported when it is used, and nothing else is.
        module = __import__(f"sandbox.engine.verbs.{_MODULES[verb]}", fromlist=["run"])
        status: int = module.run(call)
    except SandboxError as error:
        call.log.fail(error, PREFIXES.get(verb, ""))
        return failure_status(verb)
    return status


def _help(rest: list[str], log: Log) -> int:
    if not rest:
        put(_program_help())
        return 0
    if rest[0] not in VERBS:
        return _no_topic(rest[0], log)
    put(_verb_help(VERBS[rest[0]]))
    return 0


def _no_topic(name: str, log: Log) -> int:
    log.fail(UsageError(f"No help topic for '{name}'"))
    return EXIT_NO_TOPIC


def _program_help() -> str:
    from sandbox.engine.help import program_help
    from sandbox.engine.version import version_text

    return program_help(_root(), version_text())


def _verb_help(verb: Verb) -> str:
    from sandbox.engine.help import verb_help

    return verb_help(verb, _root())


def _root() -> str:
    """Return the default of --root; to ask for help is no reason to make it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime if runtime.startswith('/') else f'/run/user/{os.geteuid()}'}/sandbox"
