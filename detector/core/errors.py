"""The two failures a command reports without a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used. Commands print the message and exit with 2.

    The message names the file or key, the rule, the value received and the remedy.
    """


class JobError(RuntimeError):
    """Valid input, but the job itself failed (non-finite loss, full disk). Exit code 1."""
