"""python -m hello [NAME…]"""

from __future__ import annotations

import sys

from hello.greeting import greeting


def main() -> None:
    for name in sys.argv[1:] or [""]:
        print(greeting(name))


if __name__ == "__main__":
    main()
