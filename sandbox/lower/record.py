"""What is written down of a container: its OCI state document and state.json."""

from __future__ import annotations

from sandbox.kernel.paths import is_bind
from sandbox.lower.cgroup import wanted
from sandbox.lower.namespaces import membership
from sandbox.plan.ops import Container, Step
from sandbox.spec.annotations import annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case
    from sandbox.spec.runtime import IdMapping

# As Go writes JSON, so that the output is runc's.
_ESCAPES = {
    **{number: f"\\u{number:04x}" for number in (*range(0x20), ord("<"), ord(">"), ord("&"), 0x2028, 0x2029)},
    ord("\b"): "\\b",
    ord("\f"): "\\f",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def json_text(text: str) -> str:
    """Return `text` as a JSON string, with its quotes.  Our own: the json package costs a millisecond."""
    return f'"{text.translate(_ESCAPES)}"'


def json_value(value: object) -> str:
    """Return texts, numbers, truth values, lists and dictionaries of those as JSON without blanks."""
    if isinstance(value, str):
        return json_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json_text(key)}:{json_value(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(json_value(entry) for entry in value)}]"
    return str(value)


def container(case: Case) -> Step:
    """Keep a directory for the container, and in it what is known of it beforehand; a sandbox is held by its monitor."""
    operation = Container(
        directory=f"{case.host.state_dir}/containers",
        oci_version=case.spec.oci_version,
        identity=_identity(case),
        record=_record(case),
        namespaces=membership(case),
        id="" if case.is_container else annotation(case.spec, "name"),
        held=int(not case.is_container),
        replace=int(not case.is_container and annotation(case.spec, "replace") == "true"),
    )
    return Step(operation, case.origins["$" if case.is_container else "annotations.name"])


def _rootfs(case: Case) -> str:
    assert case.spec.root is not None
    path = case.spec.root.path
    if annotation(case.spec, "root") == "fresh":
        return ""  # made in the namespace, and nowhere else
    return case.host.sources.get(path, path)


def _identity(case: Case) -> str:
    members = [f'  "bundle": {json_text(case.host.bundle)}', f'  "rootfs": {json_text(_rootfs(case))}']
    if case.spec.annotations:
        rows = (f"    {json_text(key)}: {json_text(value)}" for key, value in sorted(case.spec.annotations.items()))
        members.append('  "annotations": {\n' + ",\n".join(rows) + "\n  }")
    return ",\n".join(members)


def _record(case: Case) -> str:
    """Return what later commands, and a checkpoint, have to know, and would not find in the process."""
    linux = case.linux
    binds = [
        {"destination": mount.destination, "source": case.host.sources.get(mount.source, mount.source)}
        for mount in case.spec.mounts
        if is_bind(mount.type, mount.options)
    ]
    members: dict[str, object] = {
        "ociVersion": case.spec.oci_version,
        "bundle": case.host.bundle,
        "rootfs": _rootfs(case),
        "annotations": case.spec.annotations,
        "hostname": case.spec.hostname,
        "namespaces": [
            {"type": entry.type, "path": entry.path} if entry.path else {"type": entry.type}
            for entry in linux.namespaces
        ],
        "uidMappings": _mappings(linux.uid_mappings),
        "gidMappings": _mappings(linux.gid_mappings),
        "binds": binds,
        "seccomp": linux.seccomp is not None,
        "terminal": case.process.terminal,
        "cwd": case.process.cwd,
    }
    if case.is_container:
        members |= {"args": case.process.args, "limits": [str(setting) for setting in wanted(case)]}
    return json_value(members).removeprefix("{")


def _mappings(mappings: list[IdMapping]) -> list[object]:
    return [{"containerID": entry.container_id, "hostID": entry.host_id, "size": entry.size} for entry in mappings]
