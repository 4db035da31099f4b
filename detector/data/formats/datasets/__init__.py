"""How published datasets are laid out."""
