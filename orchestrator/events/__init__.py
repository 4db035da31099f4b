"""What happened in a search, told once: as lines of a file for programs, and for people.

Uses the room `trials`.
"""
