# The recipes behind ./dev, which first installs what they need.

# A pattern that was quoted is handed on as it is.
set positional-arguments

# List the recipes.
help:
    @just --list --unsorted

# Build and test a real project inside the sandbox, and show what can be seen from there.
demo:
    tests/as_user examples/demo

# Run the tests as an unprivileged user: ./dev test [PYTEST-ARGUMENT…]
test *arguments:
    tests/fetch_source hello
    tests/fetch_sdist markupsafe 2.1.5
    tests/as_user pytest -n 2 "$@"

# The same in full size, for an hour or so: every call of every plan fails, 10,000 sandboxes in turn and 500 at once.
soak *arguments:
    SANDBOX_SOAK=1 tests/as_user pytest -n 2 tests/test_faults_operations.py tests/test_faults_scale.py {{ arguments }}

# Run those tests as root, as far as root is not refused less anyway: it must work too.
test-root:
    pytest -n 2 -q tests/test_run.py tests/test_terminal.py

# Check style: ruff's rules and its format.
lint:
    ruff check .
    ruff format --check .

# Check types, strictly.
types:
    mypy --strict sandbox

# Build and install the program into .venv (./dev did it before it came here).
build:
    @sandbox --version

# Build nsinit with ASan and UBSan and run the tests with it: ./dev sanitize [PYTEST-ARGUMENT…]
sanitize *arguments:
    tests/sanitize "$@"

# Feed the plan decoder with made-up plans for SECONDS: ./dev fuzz [SECONDS]
fuzz seconds="60":
    tests/fuzz/run {{ seconds }}

# Compare times and memory with those of bubblewrap, crun, runc and firejail: ./dev bench [GROUP…]; all land in .build/results/bench.json.
bench *arguments:
    @mkdir -p .build/results
    @tests/fetch_source gawk
    @tests/as_user python tests/bench/bench.py --json-fd 3 {{ arguments }} 3>.build/results/bench.json

# Boot Debian with systemd under QEMU, the program installed in it, and give a shell there (docs/guest.md).
guest:
    tests/guest/run

# Run tests there, a chosen part, or all, or those named: ./dev guest-test [--all] [PYTEST-ARGUMENT…]
guest-test *arguments:
    tests/fetch_source hello
    tests/fetch_sdist markupsafe 2.1.5
    tests/guest/run tests/guest/test "$@"

# Make its image, where it is not there yet.
guest-image:
    tests/guest/build

# Compare there what a start with limits costs with that of crun, runc and podman: ./dev bench limits; it lands in .build/results/limits.json.
bench-limits *arguments:
    tests/guest/bench "$@"

# Write anew what is generated from declarations: docs/profiles.md, and the table by which a config.json is read quickly.
docs:
    python -m sandbox.profile.reference > docs/profiles.md
    @mkdir -p .build
    python -m sandbox.spec.tabulate > .build/table.py && mv .build/table.py sandbox/spec/table.py

# Remove the environment and everything built.
clean:
    rm -rf .venv .build .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
