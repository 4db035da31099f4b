"""How trials stand beside each other: which go on, how far, and which are given up.

Uses the rooms up to `results`.
"""
