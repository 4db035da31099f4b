"""Every setting with its default, range and meaning; commands and their `--help` are made from
them.
"""
