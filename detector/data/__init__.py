"""Pages and words: reading, checking, augmenting, label maps and batches."""
