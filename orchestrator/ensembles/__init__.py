"""Which trials to average: chosen greedily from their kept probability maps.

May use `run`, `results` and those below; knows no Ray.
"""
