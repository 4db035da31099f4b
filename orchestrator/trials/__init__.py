"""What is known of a trial, and what one trial is better by.

Uses no other room.
"""
