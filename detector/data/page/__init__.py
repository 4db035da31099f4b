"""Pixels of a page: read, prepared, cropped, resized to what the network sees, and cached."""
