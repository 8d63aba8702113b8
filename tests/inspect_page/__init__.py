"""`just inspect-page`: what `loom inspect` writes, opened and tried in a real Chromium."""
