"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A deadline an example measures the machine, which is shared and noisy, not the code.
settings.register_profile("kubemu", deadline=None)
settings.load_profile("kubemu")
