"""Pages and words: what a training learns from and a score is measured on."""
