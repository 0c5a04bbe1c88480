"""Small projects of each kind, and registries of their own on the loopback device, from which they fetch one dependency."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Cache-Control", "max-age=3600")  # pip caches nothing else
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve the files below `directory`; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write(directory: Path, files: dict[str, str]) -> None:
    """Write text files below `directory`."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tarball(files: dict[str, str]) -> bytes:
    """Return a .tar.gz with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def python_index(directory: Path, sdist: Path) -> None:
    """Lay out a package index with the source distribution that lies unpacked in `sdist`: markupsafe 2.1.5."""
    place = directory / "simple/markupsafe"
    place.mkdir(parents=True)
    with tarfile.open(place / "markupsafe-2.1.5.tar.gz", "w:gz") as archive:
        archive.add(sdist, "MarkupSafe-2.1.5")
    (place / "index.html").write_text('<a href="markupsafe-2.1.5.tar.gz">markupsafe-2.1.5.tar.gz</a>')


NODE_PROJECT = {
    "package.json": json.dumps(
        {"name": "demo", "version": "1.0.0", "scripts": {"test": "node test.js"}, "dependencies": {"greet": "1.0.0"}}
    ),
    "test.js": "require('assert').strictEqual(require('greet')('you'), 'hello you'); console.log('tested');\n",
}


def node_registry(directory: Path, address: str) -> None:
    """Lay out a registry with one package, greet 1.0.0."""
    package = {"name": "greet", "version": "1.0.0", "main": "index.js"}
    files = {
        "package/package.json": json.dumps(package),
        "package/index.js": "module.exports = name => 'hello ' + name;\n",
    }
    content = tarball(files)
    (directory / "greet-1.0.0.tgz").write_bytes(content)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    dist = {"tarball": f"{address}/greet-1.0.0.tgz", "integrity": integrity}
    versions = {"1.0.0": {**package, "dist": dist}}
    document = {"name": "greet", "dist-tags": {"latest": "1.0.0"}, "versions": versions}
    (directory / "greet").write_text(json.dumps(document))


RUST_PROJECT = {
    "Cargo.toml": '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n',
    "src/main.rs": 'fn greeting() -> &\'static str { "hello" }\n\nfn main() { println!("{}", greeting()); }\n\n'
    '#[test]\nfn greets() { assert_eq!(greeting(), "hello"); }\n',
}

GO_PROJECT = {
    "go.mod": "module example.com/demo\n\ngo 1.19\n\nrequire example.com/greet v1.0.0\n",
    "demo_test.go": 'package demo\n\nimport (\n\t"testing"\n\n\t"example.com/greet"\n)\n\n'
    'func TestGreeting(t *testing.T) {\n\tif greet.Hello != "hello" {\n\t\tt.Fatal(greet.Hello)\n\t}\n}\n',
}


def go_proxy(directory: Path) -> None:
    """Lay out a module proxy with one module, example.com/greet v1.0.0."""
    place = directory / "example.com/greet/@v"
    module = "module example.com/greet\n\ngo 1.19\n"
    write(place, {"list": "v1.0.0\n", "v1.0.0.info": '{"Version":"v1.0.0"}', "v1.0.0.mod": module})
    with zipfile.ZipFile(place / "v1.0.0.zip", "w") as archive:
        archive.writestr("example.com/greet@v1.0.0/go.mod", module)
        archive.writestr("example.com/greet@v1.0.0/greet.go", 'package greet\n\nconst Hello = "hello"\n')


JAVA_PROJECT = {
    "Greeting.java": 'class Greeting {\n    static String text() { return "hello"; }\n}\n',
    "GreetingTest.java": "import static org.junit.Assert.assertEquals;\n\npublic class GreetingTest {\n"
    '    @org.junit.Test public void greets() { assertEquals("hello", Greeting.text()); }\n}\n',
}
JUNIT = "/usr/share/java/junit4.jar:/usr/share/java/hamcrest-core.jar:/usr/share/java/hamcrest.jar"
