"""`report.html`: a whole run on one page, that needs no network.

`write` is the door: it gathers what a run has (`facts`), lets each section say its part in plain
blocks (`blocks`), and fills `page.html`. Sections know nothing of HTML, the page nothing of runs.

Uses the rooms up to `peers`.
"""
