"""Several processes that share the batches of one training."""
