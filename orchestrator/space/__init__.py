"""What to search: space files, their layers merged and checked, the space as a whole.

Uses the rooms up to `config`.
"""
