"""One window of a raster: read, encoded, kept in a store, and segmented.

A window's place enters; its embedding, or the pieces of objects that it shows, leave.
"""
