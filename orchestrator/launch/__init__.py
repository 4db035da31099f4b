"""Cluster files for `ray up`: what would only fail once machines run and are paid for.

See docs/architecture.md.
"""
