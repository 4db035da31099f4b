"""Machines that differ: which job goes to which kind of them.

May use `place` and those below; see docs/placement.md.
"""
