"""Machines: Ray itself, what machines offer, each trial's share of them, what a search will cost.

Uses the rooms up to `run`.
"""
