"""From masks to polygons."""
