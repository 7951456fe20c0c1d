"""Points, boxes, masks and polygons as prompts.

Prompts in any CRS enter; the windows that answer them are chosen and decoded, and one object for each prompt leaves.
"""
