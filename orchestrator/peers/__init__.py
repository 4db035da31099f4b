"""What a run has found beside a detector from elsewhere: one in use already, or a published one.

Both are scored on the validation pages of the run. May use the rooms up to `page_parts`.
"""
