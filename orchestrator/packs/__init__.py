"""A run as one file for colleagues and bug reports, and its reading back.

May use `run`, `results`, `report_page` and those below; knows no Ray.
"""
