"""What all rooms need: polygons, files that are whole or not at all, errors, text from strangers,
the device.
"""
