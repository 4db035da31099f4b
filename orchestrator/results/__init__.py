"""What came out: ranks, ties, intervals, the leaderboard and its table.

Uses the rooms up to `run`.
"""
