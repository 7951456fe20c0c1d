"""The view of the map: pictures of the raster, and layers of its objects, in the map's projection."""
