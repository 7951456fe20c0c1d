"""Scenes that know their own truth: a town, and exact arrays of object ids."""

from samgeo.testing.scenes.generate import town
from samgeo.testing.scenes.ids import decode_ids, encode_ids, road, scattered, touching_grid
from samgeo.testing.scenes.scene import Scene

__all__ = ["Scene", "decode_ids", "encode_ids", "road", "scattered", "touching_grid", "town"]
