"""The real Claude Code, from the npm registry, through `loom serve` to the simulator.

Run on purpose (`uv run just e2e`): it needs npm and, once, the registry. It is no part of the guard.
"""
