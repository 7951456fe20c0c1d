"""Shared parts of the readers of annotation formats.

Text, XML, CSV and JSON that nobody vouches for enter; checked rows leave, with the place of every fault. Polygons are repaired
in one way for all formats.
"""
