"""The best settings of a run trained again on parts of its pages: fewer, or all but one part.

Tells what more training pages would bring, and what to expect on pages that no choice has seen. May
use the rooms up to `execute`.
"""
