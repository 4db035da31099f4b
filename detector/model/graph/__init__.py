"""Whole detectors that a training may start from: read from ONNX, and trained as they are."""
