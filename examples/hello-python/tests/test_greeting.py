from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from hello.greeting import greeting


class Greeting(unittest.TestCase):
    def test_a_name(self) -> None:
        self.assertEqual(greeting("Ada"), "Hello, Ada!")

    def test_nobody_is_the_world(self) -> None:
        for nobody in ("", "  "):
            with self.subTest(nobody=nobody):
                self.assertEqual(greeting(nobody), "Hello, world!")


class Surroundings(unittest.TestCase):
    """What test suites lean on: child processes, temporary files, shared memory, semaphores."""

    def test_the_program_by_its_name(self) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "hello", "Ada", "Grace"], capture_output=True, text=True, check=True
        )
        self.assertEqual(result.stdout, "Hello, Ada!\nHello, Grace!\n")

    def test_a_temporary_file(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "greeting")
            file.write_text(greeting())
            self.assertEqual(file.read_text(), "Hello, world!")

    def test_a_pool_of_processes(self) -> None:
        with multiprocessing.Pool(2) as pool:
            self.assertEqual(pool.map(greeting, ["Ada", "Grace"]), ["Hello, Ada!", "Hello, Grace!"])


if __name__ == "__main__":
    unittest.main()
