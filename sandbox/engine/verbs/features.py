"""`features`: what this runtime can do, runtime-spec, features.md."""

from __future__ import annotations

import json

from sandbox.engine.call import put
from sandbox.lower.features import features

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call


def run(call: Call) -> int:  # noqa: ARG001 (as all verbs)
    """Print the document."""
    put(json.dumps(features(), indent=4, ensure_ascii=False) + "\n")
    return 0
