"""Training samples: augmented crops, their label maps, and batches of them."""
