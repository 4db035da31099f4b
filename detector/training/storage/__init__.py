"""What a training keeps on disk: its state, the state before, and what it was made from."""
