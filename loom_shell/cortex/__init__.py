"""The Cortex: the embedded memory over HTTP, as its callers know it (contracts section 6)."""

from loom_shell.cortex.announcer import Announcer
from loom_shell.cortex.key import CortexKey
from loom_shell.cortex.pages import cortex_pages

__all__ = ["Announcer", "CortexKey", "cortex_pages"]
