"""Keys that nobody knows, with the names that were probably meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from detector.config.settings import TrainConfig


def unknown_key(key: str, names: Sequence[str]) -> str:
    """The message for a key that does not exist: close matches, or the keys of its section."""
    near = get_close_matches(key, names, n=3, cutoff=0.5)
    section = [n for n in names if n.startswith(f"{key.partition('.')[0]}.")]
    if key in TrainConfig.model_fields:
        return f"{key}: is a section; set one of its keys: {', '.join(section)}"
    if near:
        return f"{key}: unknown key; did you mean {' or '.join(near)}?"
    return f"{key}: unknown key; valid keys: {', '.join(section or names)}"
