"""What is known of a trial: its record, its job, how it was lost, what it is better by.

Uses no other room.
"""
