"""A validation: maps by this process, pages scored by others beside it, the figures of both."""
