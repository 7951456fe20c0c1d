"""Scenes that know their own truth: a town, and exact arrays of object ids."""

from samgeo.testing.scenes.ids import decode_ids, encode_ids, road, scattered, touching_grid

__all__ = ["decode_ids", "encode_ids", "road", "scattered", "touching_grid"]
