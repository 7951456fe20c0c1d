"""Outlines of masks as regular footprints.

Polygons enter; polygons with right angles, circles, and walls that neighbours share leave.
"""
