"""What the map shows of a raster and its objects.

The part in view enters; pictures and layers in the map's projection leave.
"""
