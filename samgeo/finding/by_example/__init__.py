"""A prompt source that is learned from a few outlines: more objects like the given ones.

Outlines and a raster enter. A classifier of pixels is fitted to the features of the model inside and around the outlines,
and its peaks are the prompts.
"""
