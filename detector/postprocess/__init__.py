"""From a probability map to polygons: regions, scores, growth, and every setting from kept maps."""
