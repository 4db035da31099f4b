"""How long a running search still takes, and what going on is expected to bring.

Knows no Ray: trials and rules in, seconds and H-means out.
"""
