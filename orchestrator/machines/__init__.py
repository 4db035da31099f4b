"""What the machines of a cluster are like, and whether a search can run on all of them.

May use `run` and those below; only `ask` knows Ray.
"""
