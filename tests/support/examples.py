"""How many inputs a property test draws: a fifth by default, all of them in the full run.

The two are hypothesis profiles, `quick` and `thorough`, which `selection.py` chooses between
before a test is imported. None has a deadline: machines are as fast as they are.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

PROFILES = {"quick": 20, "thorough": 100}
_SHARED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
_SHARE = PROFILES["thorough"] // PROFILES["quick"]
FEWEST = 5


def load(profile: str) -> None:
    """Make a profile the one that tests without a number of their own draw by."""
    for name, count in PROFILES.items():
        settings.register_profile(name, max_examples=count, **_SHARED)
    settings.load_profile(profile)


def examples(count: int) -> settings:
    """A test draws `count` inputs in the full run, a fifth of them by default."""
    thorough = settings.default.max_examples >= PROFILES["thorough"]
    return settings(max_examples=count if thorough else max(FEWEST, count // _SHARE))
