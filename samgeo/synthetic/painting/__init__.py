"""Painting of a generated town.

The input is a plan of buildings, ground, traffic and plants. The output is colour, height and slope of each sub-pixel. The
image is computed from these with light and shadows of the sun.
"""
