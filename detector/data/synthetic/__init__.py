"""Receipts drawn and photographed by the package itself, for a machine that has no data."""
