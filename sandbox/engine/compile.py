"""Where Python starts when a container has no kept plan, and for an `exec` that the container's own does not serve:

    PROGRAM KEY_FD PLAN_NAME SIGNALS ARGUMENT…

The key is that of the plan, with the content of config.json in it (`sandbox.runtime.bundle.Key`); there is none (-1) for
`exec`.  Without a PLAN_NAME the plan is not kept.  nsinit has understood the arguments, which are the command line.  When
the plan is made nsinit takes our place: no interpreter stays behind.  On the start path.
"""

from __future__ import annotations

import os
import sys

from sandbox.engine.call import PREFIXES, failure_status
from sandbox.engine.command_line import HelpWanted, parse_global, parse_verb
from sandbox.engine.log import Log
from sandbox.engine.options import VERBS
from sandbox.errors import SandboxError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.command_line import CommandLine
    from sandbox.runtime.bundle import Compilation


def main() -> None:
    """Make a plan and execute it by nsinit, or say why not."""
    program, key_fd, plan_name, signals, *words = sys.argv[1:]
    try:
        part = parse_global(words)
        settings = part.settings
        log = Log.of(settings)
        line = parse_verb(VERBS[part.rest[0]], part.rest[1:], settings, program)
    except (SandboxError, HelpWanted):
        from sandbox.engine.start import run  # late: it has the words for what is not understood

        os._exit(run(program, words))
    try:
        descriptor = _container(int(key_fd), plan_name, line, log) if int(key_fd) >= 0 else _process(line, log)
        os.set_inheritable(descriptor, True)  # noqa: FBT003 (its only way)
        os.execv(program, ["sandbox-oci-plan", str(descriptor), signals, *words])
    except SandboxError as error:
        log.fail(error, PREFIXES[line.verb.name])
    # An orderly end of the interpreter takes 3 ms.
    os._exit(failure_status(line.verb.name))


def _container(key_fd: int, plan_name: str, line: CommandLine, log: Log) -> int:
    """Return a descriptor open on the plan of the container that the key describes."""
    from sandbox.kernel.state import keep_plan, make_root
    from sandbox.lower.host import Call
    from sandbox.plan.encode import encode
    from sandbox.runtime.bundle import Key, compile_bundle

    with os.fdopen(key_fd, "rb") as file:
        file.seek(0)
        key = Key(file.read())
    make_root(key.root)
    notify = os.environ.get("NOTIFY_SOCKET", "")
    call = Call(
        keyring=not line.flag("no_new_keyring"),
        notify_directory=f"{key.root}/containers/{line.operands[0]}/notify" if notify else "",
        notify_host=notify,
        systemd=key.systemd,
        id=line.operands[0],
    )
    if line.flag("no_pivot"):
        log.warning("--no-pivot is ignored: the root is left by pivot_root(2), or the container does not start")
    compilation = compile_bundle(key, call)
    if not plan_name or not compilation.keeps:
        return _in_memory(compilation, log)
    return keep_plan(key.root, plan_name, encode(compilation.plan))


def _in_memory(compilation: Compilation, log: Log) -> int:
    from sandbox.kernel.state import plan_in_memory
    from sandbox.plan.encode import encode

    for warning in compilation.warnings:
        log.warning(warning)
    return plan_in_memory(encode(compilation.plan))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SpecError(f"open {path}: {os.strerror(error.errno or 0).lower()}") from error


def _process(line: CommandLine, log: Log) -> int:
    """Return a descriptor open on the plan of a process that joins a container."""
    from sandbox.runtime.joining import Wish, compile_process
    from sandbox.runtime.state import state_root

    name, *args = line.operands
    wish = Wish(
        args,
        process=_content(line.text("process")) if line.text("process") else None,
        cwd=line.text("cwd"),
        env=line.texts("env"),
        user=line.text("user"),
        additional_gids=line.numbers("additional_gids"),
        caps=line.texts("cap"),
        no_new_privs=line.flag("no_new_privs"),
        apparmor=line.text("apparmor"),
        label=line.text("process_label"),
        cgroup=line.texts("cgroup"),
        tty=line.flag("tty"),
    )
    compilation = compile_process(state_root(line.setting("root") or None), name, wish)
    return _in_memory(compilation, log)
