# One guard, the same for everyone: `uv run just ci`. Recipes run inside `uv run`, so tools are on PATH.

set positional-arguments

# two processes, each file's tests in one of them
parallel := "--numprocesses=2 --dist=loadfile"

# list the recipes
default:
    @"{{ just_executable() }}" --list

# the guard: format, lint, types, import direction, tests with branch coverage, specs compared
ci:
    ruff format --check .
    ruff check .
    mypy --strict -p loom_core -p loom_shell
    lint-imports --no-cache --no-logo
    pytest {{ parallel }} --cov --verify=check

# run some tests, or all: just test tests/core -k frame
test *args:
    pytest "$@"

# format, and mend what lint can mend by itself: in some paths, or everywhere
fix *paths:
    ruff check --fix --exit-zero "$@"
    ruff format "$@"

# write what is generated and compared: specs/transitions.md and verification.md
verify:
    python -m tests.support.transitions
    pytest {{ parallel }} --verify=write

# the properties with many random examples (the hypothesis profile `deep`)
soak:
    HYPOTHESIS_PROFILE=deep pytest -m hypothesis --timeout=1800

# CPU and latency of the relay beside a bare pass-through, in one run
bench *args:
    python -m benchmarks "$@"

# what weaving costs in prompt cache: sessions through the Loom to the simulator, with and without
bench-cache *args:
    python -m benchmarks.cache "$@"

# recall of the memory on a data file of yours, in LoCoMo's form, or on the small set that ships
bench-memory *args:
    python -m benchmarks.memory "$@"

# the recorded sessions of tests/recordings, made anew
recordings:
    python -m tests.support.recordings

# the real Claude Code through the Loom to the simulator (needs npm)
e2e *args:
    python -m tests.e2e "$@"

# a turn that a hook began into a real Phoenix, and read back from there (needs uv)
e2e-phoenix:
    python -m tests.e2e_phoenix

# what `loom inspect` writes, tried in a real Chromium (needs chromium): --shots FOLDER keeps pictures
inspect-page *args:
    python -m tests.inspect_page "$@"
