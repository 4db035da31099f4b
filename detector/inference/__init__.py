"""A trained detector at work: image in, polygons out; scored on a split; written as ONNX."""
