"""Intro: notices what is worth remembering in what is said, with a small model (contracts section 7)."""

from loom_shell.intro.made import GROUP, intro
from loom_shell.intro.notebook import Pace
from loom_shell.intro.reader import Figures, Intro, Parts

__all__ = ["GROUP", "Figures", "Intro", "Pace", "Parts", "intro"]
