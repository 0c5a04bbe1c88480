"""Where Python starts to compile: with the modules of the start path from one file.

There are forty, small ones, and to find and read them one after another takes as long as to execute them.  When the
project is built they are put into `start.pack` (`packing.py`), which is read here at once.  Whatever is not in there is
imported as usual; so is all, where the file is absent or another Python's.
"""

from __future__ import annotations

import gc
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import _fix_co_filename  # type: ignore[attr-defined] # importlib's own
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

MAGIC = b"SBXPACK1" + MAGIC_NUMBER
"""What the file starts with: bytecode is of one version of Python."""


class Pack:
    """A finder and loader of the modules in a pack, sys.meta_path."""

    def __init__(self, parent: str, modules: dict[str, tuple[bool, CodeType]]) -> None:
        self.parent = parent  # the directory in which the package `sandbox` lies
        self.modules = modules  # name: (is it a package?, code)

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        found = self.modules.get(name)
        if found is None:
            return None
        path = f"{self.parent}/{name.replace('.', '/')}"
        origin = f"{path}/__init__.py" if found[0] else f"{path}.py"
        # To be a Loader in name it would have to import importlib.abc.
        spec = ModuleSpec(name, self, origin=origin, is_package=found[0])  # type: ignore[arg-type]
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(path)  # for what is not in the pack
        return spec

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        code = self.modules[module.__name__][1]
        # So that a traceback shows the lines.
        _fix_co_filename(code, module.__file__)
        exec(code, module.__dict__)  # noqa: S102 (what every loader does)


def read_pack(path: str) -> dict[str, tuple[bool, CodeType]]:
    """Return the modules in a pack, {} where there is none for this Python."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    if not data.startswith(MAGIC):
        return {}
    modules: dict[str, tuple[bool, CodeType]] = loads(memoryview(data)[len(MAGIC) :])  # noqa: S302 (as a .pyc is)
    return modules


def main() -> None:
    """Compile, by sandbox.engine.compile."""
    gc.disable()  # we end before there is garbage worth the search
    engine = __file__.rpartition("/")[0]
    modules = read_pack(f"{engine}/start.pack")
    if modules:
        sys.meta_path.insert(0, Pack(engine.rpartition("/")[0].rpartition("/")[0], modules))
    from sandbox.engine.compile import main as compile_main  # late: from the pack

    compile_main()
