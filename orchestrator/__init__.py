"""The search: a space of settings in, the best trained text detector out."""
