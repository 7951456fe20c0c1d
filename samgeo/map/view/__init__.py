"""The view of the map.

The part of the raster in view enters; pictures and layers of objects in the projection of the map leave.
"""
