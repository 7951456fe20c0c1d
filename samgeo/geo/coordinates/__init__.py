"""Coordinates of any CRS, and the pixels of a raster.

Geometries and prompts in any CRS enter; geometries in the raster's CRS or in its pixels leave, with edges that are right to
a small part of a pixel, and areas and lengths on the ground.
"""
