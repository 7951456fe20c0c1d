"""Rasters, windows and vectors."""
