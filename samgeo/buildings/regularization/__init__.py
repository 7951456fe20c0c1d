"""Regularization of building outlines.

Polygons along pixel edges enter. Polygons with right angles, circles, and walls that neighbours share leave.
"""
