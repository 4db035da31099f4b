"""What to try next: points, rungs, twins, new seeds.

Uses the rooms up to `results`.
"""
