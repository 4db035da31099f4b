"""What labelling tools write."""
