"""How good detections are: CLEval in both dialects, and IoU of whole boxes."""
