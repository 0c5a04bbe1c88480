"""Reading `config.json`: what is refused, with the place in the document, in one line."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SpecError, describe
from sandbox.spec import runtime
from sandbox.spec.check import check, check_process
from sandbox.spec.document import decode, decode_leniently
from sandbox.spec.runtime import Process, Spec

BASE: dict[str, Any] = {
    "ociVersion": "1.0.2-dev",
    "process": {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    ],
    "annotations": {"org.example": "x"},
    "linux": {
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "user", "cgroup")],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
    },
}
GONE = "(gone)"


def changed(place: str, value: object) -> dict[str, Any]:
    """Return BASE with the member at the dotted `place` replaced, or GONE; a number is an index."""
    document = copy.deepcopy(BASE)
    *path, last = place.split(".")
    table: Any = document
    for part in path:
        table = table[int(part)] if isinstance(table, list) else table.setdefault(part, {})
    if value == GONE:
        del table[last]
    elif isinstance(table, list):
        table[int(last) :] = [value]
    else:
        table[last] = value
    return document


def refusal(content: bytes) -> str:
    """Return in which words `content` is refused, after seeing that they are one line and a hint."""
    with pytest.raises(SpecError) as caught:
        check(decode_leniently(content, Spec)[0])
    message = str(caught.value)
    assert message.startswith("config.json: ")
    assert len(describe(caught.value).split("\n")) == (2 if caught.value.hint else 1)
    return message.removeprefix("config.json: ")


def test_a_good_one_is_read() -> None:
    spec, warnings = decode_leniently(json.dumps(BASE).encode(), Spec)

    assert not warnings
    assert not check(spec)
    assert spec == runtime.decode(json.dumps(BASE).encode())
    assert spec.process is not None
    assert spec.process.rlimits[0].hard == 1024


NO_DOCUMENTS = {
    "empty": (b"", "is empty"),
    "space": (b" \n", "is not JSON: it ends too early"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "is not JSON: invalid character (line 1, byte 0)"),
    "cut short": (b'{"ociVersion": "1.0.2"', "is not JSON: it ends too early"),
    "two documents": (b'{}\n\n{"a": 1}', "is not JSON: trailing characters (line 3"),
    "an array": (b"[]", "expected an object, got an array"),
    "a text": (b'"x"', "expected an object, got a string"),
    "null": (b"null", "expected an object, got null"),
    "a comma too many": (b'{"ociVersion": "1",}', "is not JSON: trailing comma in object (line 1, byte 19)"),
    "a comment": (b"{} // x", "is not JSON: trailing characters (line 1"),
    "no UTF-8": (b'{"hostname": "\xff"}', "is not UTF-8: invalid start byte"),
    "a name that is no UTF-8": (b'{"\xff": 1}', "is not UTF-8: invalid start byte"),
    "a surrogate as UTF-8": (b'{"hostname": "\xed\xa0\x80"}', "is not UTF-8: invalid continuation byte"),
    "a lone surrogate": (b'{"hostname": "\\ud800x"}', "is not JSON: "),
    "a lone surrogate at the end": (b'{"hostname": "\\udc00"}', "is not JSON: invalid utf-16 surrogate pair"),
    "a control character": (b'{"hostname": "a\nb"}', "is not JSON: invalid character"),
    "a NUL byte": (b'{"hostname": "a\0b"}', "is not JSON: invalid character"),
    "deep arrays": (b'{"x": ' + b"[" * 100_000, "is nested too deeply"),
    "deep objects": (b'{"linux": ' * 100_000, "is nested too deeply"),
    "NaN": (b'{"hostname": NaN}', "is not JSON: invalid character"),
    "a leading zero": (b'{"process": {"user": {"uid": 01}}}', "is not JSON: invalid number"),
    "a number of 5000 digits": (b'{"x": ' + b"9" * 5000 + b"}", "integer value out of range"),
    "twice": (b'{"hostname": "a", "hostname": "b"}', "hostname: is there twice"),
    "twice below": (b'{"root": {"path": "/", "readonly": true, "readonly": false}}', "root.readonly: is there twice"),
    "twice in a map": (b'{"annotations": {"a": "1", "b": "2", "a": "1"}}', "annotations.a: is there twice"),
    "twice in an array": (b'{"mounts": [{"destination": "a", "destination": "b"}]}', "mounts[0].destination: is there"),
}


@pytest.mark.parametrize("content, words", NO_DOCUMENTS.values(), ids=NO_DOCUMENTS.keys())
def test_what_is_no_document_is_refused(content: bytes, words: str) -> None:
    assert refusal(content).startswith(words)


WRONG_TYPES = [
    ("ociVersion", 1, "ociVersion: expected a string, got an integer"),
    ("hostname", True, "hostname: expected a string, got true or false"),
    ("hostname", 1.5, "hostname: expected a string, got a number with a fraction"),
    ("hostname", [], "hostname: expected a string, got an array"),
    ("hostname", "a\0b", "hostname: holds a NUL character"),
    ("process.args", "sh", "process.args: expected an array, got a string"),
    ("process.args", ["sh", None], "process.args[1]: expected a string, got null"),
    ("process.args", ["sh", "-c", "a\0b"], "process.args[2]: holds a NUL character"),
    ("process.terminal", 1, "process.terminal: expected true or false, got an integer"),
    ("process.user.uid", 1.0, "process.user.uid: expected an integer, got a number with a fraction"),
    ("process.user.uid", -1, "process.user.uid: expected an integer >= 0"),
    ("process.user.uid", 2**32, "process.user.uid: expected an integer <= 4294967295"),
    ("process.user.uid", 10**400, "process.user.uid: expected an integer <= 4294967295"),
    ("process.user.uid", False, "process.user.uid: expected an integer, got true or false"),
    ("process.user.uid", "0", "process.user.uid: expected an integer, got a string"),
    ("process.user.umask", -1, "process.user.umask: expected an integer >= 0"),
    ("process.rlimits.0.hard", 2**64, "process.rlimits[0].hard: expected an integer <= 18446744073709551615"),
    ("process.rlimits.0.soft", -1, "process.rlimits[0].soft: expected an integer >= 0"),
    ("process.oomScoreAdj", 2**63, "process.oomScoreAdj: expected an integer <= 9223372036854775807"),
    ("process.capabilities", [], "process.capabilities: expected an object, got an array"),
    ("root", {}, "root.path: is missing"),
    ("root", "rootfs", "root: expected an object, got a string"),
    ("mounts", {}, "mounts: expected an array, got an object"),
    ("mounts.1", {"type": "tmpfs"}, "mounts[1].destination: is missing"),
    ("mounts.0.options", [["ro"]], "mounts[0].options[0]: expected a string, got an array"),
    ("annotations.x", 1, "annotations.x: expected a string, got an integer"),
    ("linux.namespaces", [{"path": "/x"}], "linux.namespaces[0].type: is missing"),
    ("linux.sysctl", {"net.ipv4.ip_forward": 1}, "linux.sysctl.net.ipv4.ip_forward: expected a string"),
    ("linux.uidMappings.0.size", "1", "linux.uidMappings[0].size: expected an integer, got a string"),
    ("linux.seccomp", {"syscalls": []}, "linux.seccomp.defaultAction: is missing"),
    ("linux.resources.pids", {"limit": 2**63}, "linux.resources.pids.limit: expected an integer <="),
    ("linux.resources.unified", {"a\0": "1"}, "linux.resources.unified: a name holds a NUL character"),
    ("linux.timeOffsets", {"boottime": 1}, "linux.timeOffsets.boottime: expected an object, got an integer"),
]


@pytest.mark.parametrize("place, value, words", WRONG_TYPES, ids=lambda value: str(value)[:40])
def test_a_wrong_type_is_named_with_its_place(place: str, value: object, words: str) -> None:
    assert refusal(json.dumps(changed(place, value)).encode()).startswith(words)


NOT_TOGETHER = [
    ("ociVersion", GONE, "ociVersion: is missing"),
    ("ociVersion", "2.0.0", "ociVersion: 2.0.0 is not supported"),
    ("ociVersion", "0.1.0", "ociVersion: 0.1.0 is not supported"),
    ("ociVersion", "1.0", "ociVersion: '1.0' is no version"),
    ("ociVersion", "1.0.02", "ociVersion: '1.0.02' is no version"),
    ("ociVersion", "v1.0.0", "ociVersion: 'v1.0.0' is no version"),
    ("ociVersion", "1.0.0-", "ociVersion: '1.0.0-' is no version"),
    ("ociVersion", "\uff11.0.0", "ociVersion: '\uff11.0.0' is no version"),
    ("root", GONE, "root: is missing"),
    ("root.path", "", "root.path: is empty"),
    ("linux", GONE, "linux: is missing"),
    ("process", GONE, "process: is missing"),
    ("process.args", GONE, "process.args: must not be empty"),
    ("process.args", None, "process.args: must not be empty"),
    ("process.args", [], "process.args: must not be empty"),
    ("process.cwd", GONE, "process.cwd: must not be empty"),
    ("process.cwd", "tmp", "process.cwd: tmp is not an absolute path"),
    ("process.env", ["A=1", "B"], "process.env[1]: 'B' is not NAME=VALUE"),
    ("process.env", ["=1"], "process.env[0]: '=1' is not NAME=VALUE"),
    ("process.commandLine", "sh", "process.commandLine: is for Windows"),
    ("process.rlimits.1", BASE["process"]["rlimits"][0], "process.rlimits[1]: RLIMIT_NOFILE is there twice"),
    ("process.rlimits.0.soft", 1025, "process.rlimits[0]: soft, 1025, is more than hard, 1024"),
    ("process.scheduler", {"policy": ""}, "process.scheduler.policy: must not be empty"),
    ("process.scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice: 20 is not -20 to 19"),
    ("process.scheduler", {"policy": "SCHED_BATCH", "priority": 1}, "process.scheduler.priority: is for SCHED_FIFO"),
    ("process.scheduler", {"policy": "SCHED_FIFO", "runtime": 1}, "process.scheduler: runtime, deadline and period"),
    ("process.ioPriority", {"class": "X"}, "process.ioPriority.class: 'X' is unknown"),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8}, "process.ioPriority.priority: 8 is not 0 to 7"),
    ("hooks.prestart", [{"path": "true"}], "hooks.prestart[0].path: 'true' is not an absolute path"),
    ("hooks.poststop", [{"path": "/a", "timeout": 0}], "hooks.poststop[0].timeout: 0 is not greater than zero"),
    ("hooks.createRuntime", [{"path": "/a", "env": ["A"]}], "hooks.createRuntime[0].env[0]: 'A' is not NAME=VALUE"),
    ("linux.namespaces.6", {"type": "pid"}, "linux.namespaces[6]: pid is there twice"),
    ("linux.namespaces.6", {"type": "net"}, "linux.namespaces[6]: 'net' is no namespace"),
    ("linux.namespaces.6", {"type": "network", "path": "x"}, "linux.namespaces[6].path: 'x' is not an absolute path"),
    ("linux.namespaces", [{"type": "uts"}], "linux.maskedPaths: needs a mount namespace"),
    ("linux.namespaces", [{"type": "mount"}], "hostname: needs a uts namespace"),
    ("linux.namespaces", [{"type": "mount"}, {"type": "uts"}], "linux.uidMappings: needs a user namespace"),
    ("linux.timeOffsets", {"boottime": {"secs": 1}}, "linux.timeOffsets: needs a time namespace"),
    ("linux.netDevices", {"eth0": {}}, "linux.netDevices: needs a network namespace"),
    ("linux.uidMappings.0.size", 0, "linux.uidMappings[0].size: must not be 0"),
    (
        "linux.uidMappings.0.size",
        2**32 - 1,
        "linux.uidMappings[0].hostID: 1000 and 4294967295 ids from there are no ids",
    ),
    ("linux.gidMappings.1", {"containerID": 0, "hostID": 5, "size": 1}, "linux.gidMappings[1]: maps ids that [0] maps"),
    ("linux.gidMappings.1", {"containerID": 9, "hostID": 999, "size": 2}, "linux.gidMappings[1]: maps to ids that [0]"),
    ("linux.devices", [{"type": "x", "path": "/dev/x"}], "linux.devices[0].type: 'x' is no type of device"),
    ("linux.devices", [{"type": "c", "path": "x"}], "linux.devices[0].path: 'x' is not an absolute path"),
    ("linux.maskedPaths", ["proc"], "linux.maskedPaths[0]: 'proc' is not an absolute path"),
    ("linux.personality", {"domain": "LINUX", "flags": ["x"]}, "linux.personality.flags: there are none"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}, "linux.seccomp.listenerMetadata:"),
    ("mounts.0.destination", "", "mounts[0].destination: is empty"),
    ("mounts.0.uidMappings", BASE["linux"]["uidMappings"], "mounts[0]: uidMappings and gidMappings go together"),
    ("annotations", {"": "x"}, "annotations: has a member without a name"),
    ("vm", {"kernel": {"path": "/vmlinuz"}}, "vm: is for a virtual machine"),
    ("windows", {"layerFolders": []}, "windows: is for Windows"),
    ("solaris", {}, "solaris: is for Solaris"),
    ("zos", {}, "zos: is for z/OS"),
    ("freebsd", {"jail": {"parent": "x"}}, "freebsd: is for FreeBSD"),
]


@pytest.mark.parametrize("place, value, words", NOT_TOGETHER, ids=lambda value: str(value)[:40])
def test_what_does_not_fit_together_is_named_with_its_place(place: str, value: object, words: str) -> None:
    assert refusal(json.dumps(changed(place, value)).encode()).startswith(words)


@pytest.mark.parametrize(
    "version", ["1.0.0", "1.0.2-dev", "1.0.0-rc5", "1.3.0", "1.99.0", "1.2.1+dev", "1.0.0-a.0.b+c-d"]
)
def test_every_minor_version_is_read(version: str) -> None:
    assert not check(decode(json.dumps(changed("ociVersion", version)).encode(), Spec))


IGNORED = {
    "rot": "config.json: rot: is no property of the specification, and not in force",
    "process.argv": "config.json: process.argv: is no property of the specification, and not in force",
    "mounts.0.selinux": "config.json: mounts[0].selinux: is no property of the specification, and not in force",
}


@pytest.mark.parametrize("place, words", IGNORED.items())
def test_an_unknown_member_is_a_warning_for_engines_and_an_error_in_a_profile(place: str, words: str) -> None:
    content = json.dumps(changed(place, {"path": ["x", None, 1.5]})).encode()

    assert decode_leniently(content, Spec) == (decode(json.dumps(BASE).encode(), Spec), [words])
    with pytest.raises(SpecError, match=words.partition(",")[0].replace("[", r"\[")):
        decode(content, Spec)


@pytest.mark.parametrize("place", ["hooks", "process.capabilities", "linux.seccomp", "mounts.0.options", "annotations"])
def test_null_is_as_good_as_absent(place: str) -> None:
    spec, warnings = decode_leniently(json.dumps(changed(place, None)).encode(), Spec)

    assert not warnings
    assert not check(spec)


def test_what_has_no_meaning_here_is_said() -> None:
    relative = runtime.decode(json.dumps(changed("mounts.0.destination", "proc")).encode())
    windows = runtime.decode(json.dumps(changed("process.user.username", "root")).encode())

    assert check(relative) == [
        "config.json: mounts[0].destination: proc is not absolute, which is deprecated; it is taken from the root"
    ]
    assert check(windows) == ["config.json: process.user.username: is for Windows, and not in force"]


def test_the_process_of_an_exec_is_checked_by_itself() -> None:
    process = decode(json.dumps(BASE["process"]).encode(), Process, name="process.json")
    bare = decode(b'{"args": ["sh"], "cwd": "x"}', Process, name="process.json")

    assert not check_process(process)
    with pytest.raises(SpecError, match=r"^process.json: cwd: x is not an absolute path$"):
        check_process(bare)


# --- whatever it is ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _places(value: Any, prefix: str = "") -> list[str]:
    """Return the places of all members in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    found = []
    for name, inner in items:
        found += [f"{prefix}{name}", *_places(inner, f"{prefix}{name}.")]
    return found


@given(st.sampled_from([place for place in _places(BASE) if not place.startswith("annotations.")]), JSON)
def test_a_document_with_anything_anywhere_is_read_or_refused_in_a_line(place: str, value: Any) -> None:
    content = json.dumps(changed(place, value)).encode()
    try:
        check(decode_leniently(content, Spec)[0])
    except SpecError as error:
        assert str(error).startswith("config.json: ")
        assert len(describe(error).split("\n")) == (2 if error.hint else 1)


@given(st.binary())
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(SpecError, match=r"^config\.json: "):
        check(decode_leniently(content, Spec)[0])


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_document_is_read_or_refused(at: int, damage: bytes) -> None:
    content = json.dumps(BASE).encode()
    at %= len(content)
    try:
        check(decode_leniently(content[:at] + damage + content[at + len(damage) :], Spec)[0])
    except SpecError as error:
        assert str(error).startswith("config.json: ")
