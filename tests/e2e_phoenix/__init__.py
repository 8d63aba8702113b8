"""A turn that a hook began, through `loom serve` into a real Phoenix, and read back from there.

Run on purpose (`uv run just e2e-phoenix`): it needs, once, the package index. It is no part of the guard.
"""
