"""One run: its settings, study, data and files, and the command that goes on with it.

Uses the rooms up to `space`.
"""
