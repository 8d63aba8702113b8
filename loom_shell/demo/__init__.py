"""The demonstration: a small conversation through the real `loom serve`, and what became of it."""
