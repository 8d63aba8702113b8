"""The Loom's core: pure state machines. It decides; `loom_shell` does."""
