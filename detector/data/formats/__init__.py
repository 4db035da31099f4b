"""The formats that labels come in: one module each, found by its name."""
