"""The memory: what was said before, found again by its words. Embedded, or another's over HTTP."""

from loom_shell.memory.cortex import Cortex
from loom_shell.memory.port import TIMED_OUT, MemoryPort, MemoryTroubleError, NewMemory, TextRefusedError
from loom_shell.memory.remote import RemoteMemory

__all__ = [
    "TIMED_OUT",
    "Cortex",
    "MemoryPort",
    "MemoryTroubleError",
    "NewMemory",
    "RemoteMemory",
    "TextRefusedError",
]
