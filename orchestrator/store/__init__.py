"""Where things are kept: databases, buckets, copies of them on the machine's own disk.

Uses no other room.
"""
