"""Write `start.pack`, from which `packed.py` takes the modules of the start path; run when the project is built.

python sandbox/engine/packing.py start.pack
"""

from __future__ import annotations

import os
import sys
from marshal import dumps

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from sandbox.engine.packed import MAGIC  # noqa: E402 (needs the path above)

# With all that they import.
STARTS = ("sandbox.engine.compile", "sandbox.kernel.filters", "sandbox.kernel.state", "sandbox.runtime.bundle")
# Found before the pack is.
BEFORE = ("sandbox", "sandbox.engine", "sandbox.engine.packed")


def pack() -> bytes:
    """Return the bytes of the pack: all of this package that is imported by then."""
    for name in STARTS:
        __import__(name)
    modules = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "sandbox" and name not in BEFORE:
            assert module.__file__ is not None
            with open(module.__file__, "rb") as file:
                # The path is put right where it is loaded.
                code = compile(file.read(), name, "exec", dont_inherit=True)
            modules[name] = (hasattr(module, "__path__"), code)
    return MAGIC + dumps(modules)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as output:
        output.write(pack())
