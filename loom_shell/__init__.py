"""The Loom's shell: turns the world into events and performs the core's actions in order."""
