"""What to try next: points, twins, new seeds.

Uses the rooms up to `compare`.
"""
