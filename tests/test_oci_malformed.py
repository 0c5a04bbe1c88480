"""`sandbox-oci` and documents as they come: those of podman are read the quick way, malformed ones leave nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BINARY
from needs import needs
from podman_world import IMAGE, Podman, engine
from test_oci_config import NO_DOCUMENTS, NOT_TOGETHER, WRONG_TYPES, changed
from test_oci_quick import agree

from sandbox.spec import quick
from sandbox.spec.check import check

SANDBOX_OCI = BINARY.with_name("sandbox-oci")


# --- podman's ---


@pytest.fixture(scope="module")
def storage() -> Iterator[Podman]:
    with engine() as podman:
        yield podman


PODMANS = {
    "plain": (),
    "everything": (
        *("--hostname=h", "--env=A=<&>", "--label=l=x", "--ulimit=nofile=100:200", "--cap-add=SYS_PTRACE", "--init"),
        *("--tmpfs=/t", "--volume=/usr:/u:ro", "--read-only", "--user=5:6", "--group-add=7", "--umask=027", "--tty"),
        *("--security-opt=no-new-privileges", "--sysctl=kernel.msgmax=1000", "--shm-size=1m", "--annotation=a=b"),
    ),
}


@needs("podman", "newuidmap", "userns")
@pytest.mark.parametrize("options", PODMANS.values(), ids=PODMANS.keys())
def test_podmans_documents_are_read_the_quick_way(storage: Podman, options: tuple[str, ...]) -> None:
    storage.runtime = "crun"
    try:
        name = storage("create", "--name=c", *options, IMAGE, "sh").stdout.strip()
        storage("init", "c")
        (path,) = storage.place.glob(f"root/*-containers/{name}/userdata/config.json")
        content = path.read_bytes()
    finally:
        storage.close()

    assert agree(content)
    spec = quick.spec(content)
    assert spec is not None
    assert not check(spec)


# --- malformed ones ---

DOCUMENTS = {
    **{name: content for name, (content, _) in NO_DOCUMENTS.items()},
    **{
        f"{place} {str(value)[:40]}": json.dumps(changed(place, value)).encode()
        for place, value, _ in (*WRONG_TYPES[::3], *NOT_TOGETHER[::5])
    },
}


@needs("userns")
@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_malformed_document_is_a_line_status_1_and_nothing_left(tmp_path: Path, verb: str, content: bytes) -> None:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_bytes(content)
    result = subprocess.run(
        [SANDBOX_OCI, "--root", tmp_path / "root", "--log", tmp_path / "log", "--log-format", "json", verb, "c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    assert result.returncode == 1
    assert not result.stdout
    assert result.stderr.startswith(f"sandbox-oci {verb} failed: config.json: ")
    assert result.stderr.count("\n") == 1
    assert [entry["level"] for entry in logged] == ["error"]
    assert os.listdir(tmp_path / "root/containers") == []
    assert os.listdir(tmp_path / "root/plans") == []


@needs("userns")
@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: None, "config.json not found"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.write_bytes(b" " * (2 << 20)), "bytes, of which"),
        (lambda path: path.symlink_to("config.json"), "too many levels of symbolic links"),
    ],
    ids=["absent", "a directory", "a fifo", "too large", "a loop"],
)
def test_what_is_no_file_is_said(tmp_path: Path, make: object, words: str) -> None:
    assert callable(make)
    make(tmp_path / "config.json")
    command = [SANDBOX_OCI, "--root", tmp_path / "root", "run", "c"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
