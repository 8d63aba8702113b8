"""The journal of what happened, and its replay through the core."""
