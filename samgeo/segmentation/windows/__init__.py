"""Work on one window of a raster: reading, encoding, storing its embedding, and segmenting it.

The position of a window enters; its embedding, or the pieces of the objects that it shows, leave.
"""
