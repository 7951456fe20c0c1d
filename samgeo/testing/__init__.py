"""Scenes that know their own truth, an oracle model, rasters of every kind."""
