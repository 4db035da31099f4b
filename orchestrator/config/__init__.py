"""What a search can be asked for, checked when it is read.

Uses `trials` and `store`.
"""
