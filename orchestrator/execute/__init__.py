"""Trials at work: jobs of Ray Tune, the processes they run in, failures, what is recorded as they
report.

Uses all rooms but `report_page`.
"""
